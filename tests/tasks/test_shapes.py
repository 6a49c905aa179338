"""Every kind of task is read the same from every form of file; what cannot be read is one line with file and line."""

import io
import json
import re
import sys
from collections import Counter

import pytest

from minibert.tasks.codecs import labels_of
from minibert.tasks.examples import Answer, ChoiceExample, SentenceExample, WordsExample
from minibert.tasks.readers import open_file, open_standard_input, read_examples
from minibert.tasks.readers.files import lines_of as lines_in
from minibert.tasks.readers.report import skipped
from minibert.tasks.readers.tables import label_names
from minibert.tasks.registry import OwnColumns, task_info
from tests.tasks.shapes import EXAMPLES, lines_of, read, records_of, refusal, renamed, shapes

MATRIX = [(kind, shape) for kind in EXAMPLES for shape in shapes(kind)]


@pytest.mark.parametrize(("kind", "shape"), MATRIX)
def test_every_form_of_file_gives_the_same_examples(tmp_path, kind, shape):
    assert read(tmp_path, kind, *shapes(kind)[shape]) == EXAMPLES[kind]


@pytest.mark.parametrize(("kind", "shape"), MATRIX)
def test_no_labels_are_read_for_prediction(tmp_path, kind, shape):
    """Not even malformed ones: files to predict have placeholders, such as -1."""
    name, content, own = shapes(kind)[shape]
    if isinstance(content, str):
        content = re.sub('"label": ("[^"]*"|[^,}]*)', '"label": -1', content).replace("B-place", "?")
        content = re.sub(r'"answer_start": (\[[^]]*\]|\d+)', '"answer_start": -1', content)
    examples = read(tmp_path, kind, name, content, own, labelled=False)
    assert len(examples) == 2
    for example in examples:
        assert getattr(example, "label", None) is getattr(example, "labels", None) is None
        assert not getattr(example, "answers", ())


@pytest.mark.parametrize("kind", EXAMPLES)
def test_fields_that_the_user_names_must_be_there(tmp_path, kind):
    name, content, _ = shapes(kind)["lines"]
    assert "; the line has" in refusal(tmp_path, kind, name, content, renamed(kind))


# ------------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize("rows", [[1.0, 0, 1, 0.0], [1e17, 3, 10**17, 3.0], [1, 0.0, 1.0, 0], ["1", "0", "1.0", "0.0"]])
def test_equal_numbers_are_one_class(tmp_path, rows):
    examples = read(tmp_path, "sentence", "a.jsonl", lines_of({"text": "a", "label": label} for label in rows))
    one, other = ("1" + "0" * 17, "3") if 3 in rows else ("1", "0")
    assert [example.label for example in examples] == [one, other, one, other]


def test_labels_that_are_numbers_are_sorted_as_numbers():
    def labels(*given):
        return labels_of("sentence", [SentenceExample("a", None, label) for label in given], None)

    assert labels("10", "9", "-1", "0.5") == ("-1", "0.5", "9", "10")
    assert labels("10", "9", "x") == ("10", "9", "x")


@pytest.mark.parametrize("label", ["NaN", "null", '""', '" "', "[1]", "{}"])
@pytest.mark.parametrize("task", ["sentence", "regression", "mnli"])
def test_what_is_no_label_is_named_with_its_line(tmp_path, task, label):
    record = '{"text": "a", "sentence1": "a", "sentence2": "b", "label": %s}\n'
    content = record % ("0.5" if task == "regression" else '"x"' if label.startswith('"') else 1) + record % label
    assert re.search(r"line 2: the label is ", refusal(tmp_path, task, "a.jsonl", content))


def test_a_table_with_nan_among_numbers(tmp_path):
    for task in ("regression", "sentence"):
        message = refusal(tmp_path, task, "a.csv", "text,label\na,1\nb,nan\nc,0\n")
        assert "line 3: the label is nan, not a number" in message
    examples = read(tmp_path, "sentence", "a.csv", "text,label\na,yue\nb,nan\n")  # languages: Cantonese, Min Nan
    assert [example.label for example in examples] == ["yue", "nan"]
    for number in ("inf", "1e39", "1_000"):
        assert f"line 2: the label is {number}" in refusal(
            tmp_path, "regression", "a.csv", f"text,label\na,{number}\n"
        ).replace("'", "")


def test_numbered_labels_have_names(tmp_path):
    record = {"tokens": ["Ida", "in", "Thun"], "ner_tags": [1, 0, 5]}
    content = lines_of([record])
    assert read(tmp_path, "conll", "a.jsonl", content)[0].labels == ("B-PER", "O", "B-LOC")
    assert read(tmp_path, "wnut", "a.jsonl", content)[0].labels == ("B-corporation", "O", "B-group")
    assert read(tmp_path, "tokens", "a.jsonl", content)[0].labels == ("1", "0", "5")
    named = OwnColumns(label_names=("none", "a", "b", "c", "d", "e"))
    assert read(tmp_path, "tokens", "a.jsonl", content, named)[0].labels == ("a", "none", "e")
    own = OwnColumns(label_names=("O", "B-x"))
    assert "line 1: the label is '5'; expected a number from 0 to 1" in refusal(
        tmp_path, "conll", "a.jsonl", content, own
    )
    other = lines_of([{"tokens": ["Ida"], "pos_tags": [3]}])  # numbers of another column have other names
    message = refusal(tmp_path, "conll", "a.jsonl", other, OwnColumns(label="pos_tags"))
    assert "the tag '3' is neither O nor like B-person; use --task tokens" in message


def test_parquet_has_the_names_of_its_labels():
    features = {
        "label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
        "ner_tags": {"feature": {"names": ["O", "B-x"], "_type": "ClassLabel"}, "_type": "Sequence"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    found = label_names(json.dumps({"info": {"features": features}}).encode())
    assert found == {"label": ("neg", "pos"), "ner_tags": ("O", "B-x")}
    for damaged in (
        b"",
        b"{",
        b"[]",
        b'{"info": 3}',
        b'{"info": {"features": [1]}}',
        b'{"info": {"features": {"a": 1}}}',
    ):
        assert label_names(damaged) == {}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_parquet(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra `parquet`")
    parquet = pytest.importorskip("pyarrow.parquet")
    records = records_of(kind, datasets=True)
    if kind == "tokens":
        records = [{**record, "ner_tags": [int(tag != "O") for tag in record["ner_tags"]]} for record in records]
    table = pyarrow.Table.from_pylist(records)
    names = {"ner_tags": {"feature": {"names": ["O", "B-place"], "_type": "ClassLabel"}, "_type": "Sequence"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": names}})})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert read_examples(task_info(kind), tmp_path / "a.parquet") == EXAMPLES[kind]
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(ValueError, match="b.parquet is not a valid parquet file"):
        read_examples(task_info(kind), tmp_path / "b.parquet")


def test_parquet_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"requires the package pyarrow: pip install -e \"\.\[parquet\]\""):
        read(tmp_path, "sentence", "a.parquet", b"PAR1")


# ------------------------------------------------------------------------------------------------ data sets


def test_rows_that_are_passed_over_are_counted(tmp_path):
    counted: Counter = Counter()
    table = "index\tsentence1\tsentence2\tgold_label\n0\ta\tb\tneutral\n1\tc\td\t-\n2\te\tf\tentailment\n"
    examples = read(tmp_path, "mnli", "a.tsv", table, passed_over=counted)
    assert [example.label for example in examples] == ["neutral", "entailment"] and counted == {
        "without a label (-)": 1
    }
    assert len(read(tmp_path, "mnli", "a.tsv", table, labelled=False)) == 3  # all of them are to be predicted
    table = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\twhy?\twhat?\t0\n1\t3\t4\tWas he\n\there?\t1\n"
    counted.clear()
    examples = read(
        tmp_path, "qqp", "a.tsv", table + "2\t5\t6\t\twho?\t0\n3\t7\t8\twho?\thow?\t1\n", passed_over=counted
    )
    assert [example.pair for example in examples] == ["what?", "how?"]
    assert counted == {"lines of broken rows": 2, "without a text": 1}
    assert skipped(counted) == "3 rows (lines of broken rows: 2; without a text: 1)"
    assert skipped(Counter(comments=1)) == "1 row (comments: 1)"
    assert "line 2: 7 columns; expected 6" in refusal(
        tmp_path, "qqp", "a.tsv", table.splitlines()[0] + "\n0\t1\t2\ta\tb\t0\t0\n"
    )
    with pytest.raises(ValueError, match="contains no examples"):
        read(tmp_path, "mnli", "a.tsv", "sentence1\tsentence2\tgold_label\na\tb\t-\n")


GLUE = {  # task: (header of its test file, a row, the example)
    "cola": ("index\tsentence", "0\tone", SentenceExample("one")),
    "sst2": ("index\tsentence", "0\tone", SentenceExample("one")),
    "mrpc": ("index\t#1 ID\t#2 ID\t#1 String\t#2 String", "0\t1\t2\tone\ttwo", SentenceExample("one", "two")),
    "qqp": ("id\tquestion1\tquestion2", "0\tone\ttwo", SentenceExample("one", "two")),
    "stsb": ("index\tgenre\tsentence1\tsentence2", "0\tg\tone\ttwo", SentenceExample("one", "two")),
    "mnli": ("index\tpairID\tsentence1\tsentence2", "0\tp\tone\ttwo", SentenceExample("one", "two")),
    "qnli": ("index\tquestion\tsentence", "0\tone\ttwo", SentenceExample("one", "two")),
    "rte": ("index\tsentence1\tsentence2", "0\tone\ttwo", SentenceExample("one", "two")),
}


@pytest.mark.parametrize("task", GLUE)
def test_the_test_files_of_glue_have_no_labels(tmp_path, task):
    header, row, example = GLUE[task]
    assert read(tmp_path, task, "test.tsv", f"{header}\n{row}\n", labelled=False) == [example]
    with pytest.raises(ValueError, match="line 1: no column"):
        read(tmp_path, task, "test.tsv", f"{header}\n{row}\n")


AS_DATASETS_HAS_IT = {  # task: (record, label)
    "cola": ({"sentence": "a", "label": 1, "idx": 0}, "acceptable"),
    "sst2": ({"sentence": "a", "label": 0, "idx": 0}, "negative"),
    "mrpc": ({"sentence1": "a", "sentence2": "b", "label": 1, "idx": 0}, "paraphrase"),
    "qqp": ({"question1": "a", "question2": "b", "label": 0, "idx": 0}, "different"),
    "stsb": ({"sentence1": "a", "sentence2": "b", "label": 2.5, "idx": 0}, 2.5),
    "mnli": ({"premise": "a", "hypothesis": "b", "label": 2, "idx": 0}, "contradiction"),
    "qnli": ({"question": "a", "sentence": "b", "label": 1, "idx": 0}, "not_entailment"),
    "rte": ({"sentence1": "a", "sentence2": "b", "label": 0, "idx": 0}, "entailment"),
    "sick": ({"sentence_A": "a", "sentence_B": "b", "label": 1, "relatedness_score": 4.5}, "NEUTRAL"),
    "sick-relatedness": ({"sentence_A": "a", "sentence_B": "b", "label": 1, "relatedness_score": 4.5}, 4.5),
}


@pytest.mark.parametrize("task", AS_DATASETS_HAS_IT)
def test_named_tasks_as_the_library_datasets_writes_them(tmp_path, task):
    record, label = AS_DATASETS_HAS_IT[task]
    table = ",".join(record) + "\n" + ",".join(map(str, record.values()))
    for name, content in (("a.jsonl", lines_of([record])), ("a.csv", table)):
        example = read(tmp_path, task, name, content)[0]
        assert example.label == label and example.text == "a" and example.pair == (None if len(record) == 3 else "b")


def test_swag_as_the_library_datasets_writes_it(tmp_path):
    record = {"sent1": "She sits.", "sent2": "She", "ending0": "sings.", "ending1": "runs.", "label": 1}
    expected = ChoiceExample("She sits.", ("She sings.", "She runs."), 1)
    assert read(tmp_path, "swag", "a.jsonl", lines_of([record])) == [expected]
    assert "sent2 is missing" in refusal(tmp_path, "swag", "a.jsonl", lines_of([{**record, "sent2": None}]))
    own = OwnColumns("ctx", "choice", "answer")
    record = {"ctx": "She", "choice10": "c", "choice2": "b", "choices": "not one of them", "answer": "1"}
    assert read(tmp_path, "choice", "a.jsonl", lines_of([record]), own) == [ChoiceExample("She", ("b", "c"), 1)]


def test_whole_numbers_are_read_as_text(tmp_path):
    record = {"text": 3, "endings": [4, 5], "label": 1.0}
    assert read(tmp_path, "choice", "a.jsonl", lines_of([record])) == [ChoiceExample("3", ("4", "5"), 1)]
    record = {"words": ["in", 1990], "labels": ["O", "O"]}
    assert read(tmp_path, "tokens", "a.jsonl", lines_of([record])) == [WordsExample(("in", "1990"), ("O", "O"))]
    for ending in (4.5, True, None, ["4"]):
        message = refusal(tmp_path, "choice", "a.jsonl", lines_of([{"text": "a", "endings": [4, ending], "label": 0}]))
        assert "line 1: one of the endings (endings) is " in message


def test_sick_as_published_and_with_a_column_of_ones_own(tmp_path):
    table = "pair_ID\tsentence_A\tsentence_B\tentailment_label\trelatedness_score\torder\n7\ta\tb\tNEUTRAL\t3.5\tAB\n"
    assert read(tmp_path, "sick", "SICK.txt", table) == [SentenceExample("a", "b", "NEUTRAL")]
    assert read(tmp_path, "sick-relatedness", "SICK.txt", table) == [SentenceExample("a", "b", 3.5)]
    swapped = OwnColumns("sentence_B", "sentence_A", "order")
    assert read(tmp_path, "sick", "SICK.txt", table, swapped) == [SentenceExample("b", "a", "AB")]


def test_answers_to_a_question_that_has_none(tmp_path):
    record = {"id": "1", "context": "a b", "question": "c?", "answers": {"text": [], "answer_start": []}}
    assert read(tmp_path, "squad2", "a.jsonl", lines_of([record]))[0].answers == ()
    found = {"text": ["b"], "answer_start": [2.0]}  # as a table with missing numbers has it
    assert read(tmp_path, "squad2", "a.jsonl", lines_of([{**record, "answers": found}]))[0].answers == (Answer("b", 2),)
    article = {"paragraphs": [{"context": "a b", "qas": [{"id": "1", "question": "c?", "answers": found}]}]}
    assert read(tmp_path, "squad", "a.json", json.dumps({"data": [article]}))[0].answers == (Answer("b", 2),)
    both = lines_of([{**record, "answers": found, "is_impossible": True}])
    assert "is_impossible is true, but there are answers" in refusal(tmp_path, "squad2", "a.jsonl", both)


def test_quotes_between_tabs(tmp_path):
    """pandas and csv write them where a text has a quote; GLUE's tables have none, whatever a text looks like."""
    table = '{}\tlabel\n"a ""fine"" day"\t1\n"a\ttab"\t0\n'
    examples = read(tmp_path, "sentence", "a.tsv", table.format("text"))
    assert [example.text for example in examples] == ['a "fine" day', "a\ttab"]
    assert "line 3: 3 columns; expected 2" in refusal(tmp_path, "sst2", "a.tsv", table.format("sentence"))
    examples = read(tmp_path, "sst2", "a.tsv", 'sentence\tlabel\n"a ""fine"" day"\t1\n')
    assert examples[0].text == '"a ""fine"" day"'
    assert read(tmp_path, "sentence", "a.tsv", 'text\tlabel\n"so" good\t1\n"so"\t0\n')[1].text == '"so"'
    mixed = 'text\tlabel\n"a ""fine"" day"\t1\n"so" good\t1\n'
    assert "line 3: '\t' expected after '\"'" in refusal(tmp_path, "sentence", "a.tsv", mixed)


# ------------------------------------------------------------------------------------------------ words in columns


def test_a_number_sign_can_be_a_word(tmp_path):
    """WNUT's texts have hash tags: a line with as many columns as the others is a word."""
    counted: Counter = Counter()
    examples = read(tmp_path, "wnut", "a.conll", "#\tO\nThun\tB-x\n\n# id 7\n#fun\tO\n", passed_over=counted)
    assert [example.words for example in examples] == [("#", "Thun"), ("#fun",)] and counted == {"comments": 1}
    assert read(tmp_path, "wnut", "a.conll", "#a\tO\n#b\tO\n")[0].words == ("#a", "#b")


def test_the_numbers_of_words_are_not_taken_for_words(tmp_path):
    content = "# text\n1\tin\tO\tO\n2\tThun\tB-x\tO\n"
    message = refusal(tmp_path, "conll", "a.tsv", content)
    assert "a.tsv, line 2: the first column numbers the words; choose" in message and "--text-column 2" in message
    assert "--label-column is 5; expected the number of a column, 1 to 4" in refusal(
        tmp_path, "conll", "a.tsv", content, OwnColumns("2", None, "5")
    )
    assert "--text-column is word; expected the number" in refusal(
        tmp_path, "conll", "a.tsv", content, OwnColumns("word", None, "3")
    )
    counted: Counter = Counter()
    name, content, own = shapes("tokens")["conllu"]
    read(tmp_path, "tokens", name, content, own, passed_over=counted)
    assert counted == {"comments": 2, "lines of CoNLL-U that are not one word (such as 3-4 or 5.1)": 2}
    assert (
        "--label-column is missing; expected the number of a column, 1 to 10, or a name; the columns are ID, FORM"
        in (refusal(tmp_path, "tokens", name, content))
    )


def test_an_empty_word_and_an_empty_label(tmp_path):
    assert "line 2: the word is empty; expected a word in column 1 of 2" in refusal(
        tmp_path, "conll", "a.conll", "in\tO\n\tO\nThun\tB-x\n"
    )
    assert "line 2: the label is missing in column 2 of 2" in refusal(tmp_path, "conll", "a.conll", "in\tO\nThun\t\n")


def test_only_tabs_and_spaces_separate_columns(tmp_path):
    """CoNLL files write figures with no-break spaces in one column."""
    examples = read(tmp_path, "conll", "a.conll", "10\u00a0000 O\nfrancs  O\n")
    assert examples == [WordsExample(("10\u00a0000", "francs"), ("O", "O"))]
    assert "line 2: the word is empty" in refusal(tmp_path, "conll", "a.conll", "a O\n\u3000 O\n")


@pytest.mark.parametrize("tag", ["NOUN", "B_per", "b-per", "per-B", "I-", "-"])
def test_tasks_with_entities_have_tags_of_entities(tmp_path, tag):
    assert f"line 2: the tag {tag!r}" in refusal(tmp_path, "wnut", "a.conll", f"in\tO\nThun\t{tag}\n")
    if tag != "I-":
        assert read(tmp_path, "tokens", "a.conll", f"in\tO\nThun\t{tag}\n") == [
            WordsExample(("in", "Thun"), ("O", tag))
        ]


# ------------------------------------------------------------------------------------------------ bytes

NOT_TEXT = {
    "UTF-16": "text,label\n".encode("utf-16"),
    "UTF-16 without a byte order mark": "text,label\n".encode("utf-16-be"),
    "UTF-32": "text,label\n".encode("utf-32"),
    "compressed with xz": b"\xfd7zXZ\x00abc",
    "compressed with Zstandard": b"\x28\xb5\x2f\xfdabc",
    "a zip archive or an Excel workbook": b"PK\x03\x04abc",
    "damaged gzip data": b"\x1f\x8b\x08\x00abc",
    "not UTF-8": "text,label\ngrün,1\n".encode("latin-1"),
}


@pytest.mark.parametrize("what", NOT_TEXT)
def test_data_that_is_not_text_is_named(tmp_path, what, monkeypatch):
    assert f"a.csv is {what}" in refusal(tmp_path, "sentence", "a.csv", NOT_TEXT[what])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(NOT_TEXT[what])))
    with pytest.raises(ValueError, match=f"standard input is {what}"):
        lines_in(open_standard_input())


LINES = {  # text: its lines
    "a\u2028b\x0bc\x1cd\x85e\nf\n": ["a\u2028b\x0bc\x1cd\x85e", "f"],
    "\ufeffa\r\nb\r\n": ["a", "b"],
    "a\rb": ["a", "b"],
    "a\rb\n": ["a\rb"],
    "a\n\n b ": ["a", "", " b "],
}


@pytest.mark.parametrize("data", LINES)
def test_standard_input_is_read_as_a_file_is(tmp_path, monkeypatch, data):
    (tmp_path / "a.txt").write_bytes(data.encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data.encode()), "latin-1"))
    for source in (open_standard_input(), open_file(tmp_path / "a.txt")):
        assert list(lines_in(source)) == LINES[data]
