"""Examples of each kind of task, and files that have them in every form in which such files are written."""

import csv
import gzip
import io
import json

import pytest

from minibert.tasks.examples import Answer, ChoiceExample, SentenceExample, SpanExample, WordsExample
from minibert.tasks.readers import read_examples
from minibert.tasks.registry import OwnColumns, task_info

CONTEXT = "The Aare leaves Lake Thun near the town, and \u2028 turns north."
EXAMPLES = {
    "sentence": [SentenceExample('a "fine"\u2028day, she said', None, "1"), SentenceExample("no", None, "0")],
    "regression": [SentenceExample("a warm day", None, 21.5), SentenceExample("frost", None, -3.0)],
    "tokens": [WordsExample(("in", "1990", "Thun"), ("O", "O", "B-place")), WordsExample(("no",), ("O",))],
    "span": [
        SpanExample("q1", "Which lake?", CONTEXT, (Answer("Lake Thun", 16), Answer("Thun", 21))),
        SpanExample("q2", "Which way?", CONTEXT, (Answer("north", 53),)),
    ],
    "choice": [
        ChoiceExample("Two and two", ("4", "are 4", "5"), 1),
        ChoiceExample("He, sat", ("down", "4", "up"), 0),
    ],
}
FIELDS = {
    "sentence": ("text", None, "label"),
    "regression": ("text", None, "label"),
    "tokens": ("words", None, "labels"),
    "span": ("context", "question", "answers"),
    "choice": ("text", "endings", "label"),
}


def read(folder, task, name, content, own=OwnColumns(), **options):  # noqa: B008
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_examples(task_info(task), path, own, **options)


def refusal(folder, task, name, content, own=OwnColumns()):  # noqa: B008
    with pytest.raises(ValueError) as caught:
        read(folder, task, name, content, own)
    message = str(caught.value)
    assert str(folder / name) in message and "\n" not in message
    return message


def renamed(kind):
    return OwnColumns("eins", "zwei" if FIELDS[kind][1] else None, "drei")


def records_of(kind, names=None, datasets=False):
    """The examples as dictionaries; names: other field names; datasets: as the library `datasets` writes them."""
    text, pair, label = names or (("tokens", None, "ner_tags") if datasets and kind == "tokens" else FIELDS[kind])
    records = []
    for example in EXAMPLES[kind]:
        if kind == "tokens":
            records.append({text: list(example.words), label: list(example.labels)})
        elif kind == "span":
            answers = [{"text": answer.text, "answer_start": answer.start} for answer in example.answers]
            if datasets:
                answers = {name: [answer[name] for answer in answers] for name in ("text", "answer_start")}
            records.append(
                {"id": example.identity, text: example.context, pair: example.question, label: answers, "title": "t"}
            )
        elif kind == "choice":
            records.append({text: example.text, pair: list(example.endings), label: example.label})
        else:
            records.append({text: example.text, label: example.label})
    return records


def lines_of(records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def table_of(kind, comma):
    rows = records_of(kind)
    if kind == "choice":
        for row in rows:
            row |= {f"ending{number}": ending for number, ending in enumerate(row.pop("endings"))}
    if not comma:
        return "\n".join("\t".join(map(str, row)) for row in [rows[0].keys(), *(row.values() for row in rows)]) + "\n"
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def squad_file(indent):
    entries = [{key: r[key] for key in ("id", "question", "answers")} for r in records_of("span")]
    article = {"title": "t", "paragraphs": [{"context": CONTEXT, "qas": entries}]}
    return json.dumps({"version": "1.1", "data": [article]}, indent=indent)


def shapes(kind):
    """Name of a form -> (file name, contents, OwnColumns)."""
    usual, plain = OwnColumns(), lines_of(records_of(kind))
    made = {
        "lines": ("a.jsonl", plain, usual),
        "lines in upper case": ("A.JSONL", plain, usual),
        "windows": ("a.jsonl", "\ufeff" + plain.replace("\n", "\r\n"), usual),
        "old macintosh": ("a.jsonl", plain.replace("\n", "\r"), usual),
        "no last line end": ("a.jsonl", plain.rstrip(), usual),
        "empty lines": ("a.jsonl", "\n" + plain.replace("\n", "\n\n"), usual),
        "compressed": ("a.jsonl.gz", gzip.compress(plain.encode()), usual),
        "renamed": ("a.jsonl", lines_of(records_of(kind, ("eins", "zwei", "drei"))), renamed(kind)),
        "lines as .json": ("a.json", plain, usual),
        "list": ("a.json", json.dumps(records_of(kind)), usual),
        "indented list": ("a.json", json.dumps(records_of(kind), indent=2), usual),
        "datasets": ("a.jsonl", lines_of(records_of(kind, datasets=True)), usual),
    }
    if kind in ("sentence", "regression", "choice"):
        made |= {
            "csv": ("a.csv", table_of(kind, True), usual),
            "csv in upper case": ("a.CSV", table_of(kind, True), usual),
            "tsv": ("a.tsv", table_of(kind, False), usual),
        }
    if kind == "tokens":
        made |= {
            "conll": ("a.conll", "in\tO\n1990\tO\nThun\tB-place\n\nno\tO\n", usual),
            "spaces": ("a.txt", "-DOCSTART- -X- O\n\nin x O\n1990 x O\nThun x B-place\n\n\nno x O", usual),
            "germeval": (
                "a.tsv",
                "#\thttp://example.org\n1\tin\tO\tO\n2\t1990\tO\tO\n3\tThun\tB-place\tO\n\n#\tb\n1\tno\tO\tO\n\n",
                OwnColumns("2", None, "3"),
            ),
            "conllu": ("a.conllu", CONLL_U, OwnColumns(None, None, "MISC")),
            "conllu by number": ("a.conllu", CONLL_U, OwnColumns("2", None, "10")),
            "conllu plus": (
                "a.conllup",
                "# global.columns = ID FORM NE\n1\tin\tO\n2-3\tbeides\t_\n2\t1990\tO\n3\tThun\tB-place\n\n1\tno\tO\n",
                OwnColumns(None, None, "NE"),
            ),
        }
    if kind == "span":
        made |= {"squad": ("a.json", squad_file(None), usual), "indented squad": ("a.txt", squad_file(1), usual)}
    return made


CONLL_U = """# text = in 1990 Thun
1\tin\tin\tADP\t_\t_\t0\troot\t_\tO
2-3\tbeides\t_\t_\t_\t_\t_\t_\t_\t_
2\t1990\t1990\tNUM\t_\t_\t1\tnmod\t_\tO
2.1\tleft\tout\t_\t_\t_\t_\t_\t_\t_
3\tThun\tThun\tPROPN\t_\t_\t1\tflat\t_\tB-place

# text = no
1\tno\tno\tINTJ\t_\t_\t0\troot\t_\tO
"""
