"""Values of another type or out of range, and names that occur twice: refused in one line, never misread."""

import json

import pytest

from minibert.tasks.registry import OwnColumns
from tests.tasks.shapes import lines_of, read, refusal

SENTENCE = {"text": "a", "label": "x"}
PAIR = {"sentence1": "a", "sentence2": "b"}
SPAN = {"id": "q", "context": "ann saw tom", "question": "who?"}
CHOICE = {"text": "a", "endings": ["b", "c"]}
NAMED = {"text": "a", "ending0": "b", "ending1": "c", "label": 0}


def answer(**fields):
    return {**SPAN, "answers": [{"text": "saw", "answer_start": 4, **fields}]}


def one(label):
    return {"words": ["a", "b"], "labels": ["O", label]}


WRONG = {  # what: (task, record, words of the message)
    "a null among labels of words": ("tokens", one(None), "line 1: the label is missing"),
    "an empty label of a word": ("tokens", one(" "), "line 1: the label is missing"),
    "a number among strings": ("tokens", one(1), "the label 1 is a number, but the label before it is a string"),
    "a boolean among strings": ("tokens", one(True), "the label true is a boolean, but the label before it is a st"),
    "a list among labels": ("tokens", one(["O"]), 'line 1: the label is ["O"]; expected a string or a number'),
    "NaN among labels of words": ("tokens", one(float("nan")), "line 1: the label is nan; expected a string or a fin"),
    "infinity among labels of words": ("tokens", one(float("inf")), "line 1: the label is inf; expected a string or"),
    "half a surrogate pair as a label": ("tokens", one("\ud800"), "line 1: the label contains half of a surrogate"),
    "a class that is infinity": ("sentence", {"text": "a", "label": float("-inf")}, "line 1: the label is -inf; expec"),
    "an infinite target": ("regression", {"text": "a", "label": float("inf")}, "line 1: the label is inf; expected"),
    "a target of NaN": ("regression", {"text": "a", "label": float("nan")}, "line 1: the label is nan; expected"),
    "a target that is infinite in 32 bits": ("regression", {"text": "a", "label": -1e39}, "finite number of 32 bits"),
    "an infinite target as a string": ("regression", {"text": "a", "label": "-Infinity"}, "finite number of 32 bits"),
    "a boolean target": ("regression", {"text": "a", "label": True}, "the label is 'True'; expected a number"),
    "a target in digits of another script": ("regression", {"text": "a", "label": "٣"}, "expected a number, as in"),
    "a number between the numbers of classes": ("rte", {**PAIR, "label": 0.5}, "a name, or a number from 0 to 1"),
    "a number below the numbers of classes": ("rte", {**PAIR, "label": -1}, "a name, or a number from 0 to 1"),
    "a number above the numbers of classes": ("mnli", {**PAIR, "label": 3}, "a name, or a number from 0 to 2"),
    "a number of a class in another script": ("rte", {**PAIR, "label": "١"}, "a name, or a number from 0 to 1"),
    "a class that the task lacks": ("sst2", {"sentence": "a", "label": 2}, "the label is '2'; expected 0 or 1"),
    "is_impossible as a string": ("squad2", {**answer(), "is_impossible": "false"}, "is_impossible is 'false'; expec"),
    "is_impossible as a number": ("squad2", {**answer(), "is_impossible": 0}, "is_impossible is 0; expected true or"),
    "an answer before the text": ("span", answer(answer_start=-1), 'the "answer_start" of the answer'),
    "an answer after the text": ("span", answer(answer_start=11), "the context has '' at 11, not the answer 'saw'"),
    "an answer beside its place": ("span", answer(answer_start=5), "the answer occurs at 4"),
    "a fraction of a character": ("span", answer(answer_start=4.5), "is 4.5; expected the number of characters"),
    "a boolean start": ("span", answer(answer_start=True), "is True; expected the number of characters"),
    "a start as a string": ("span", answer(answer_start="4"), "is '4'; expected the number of characters"),
    "an infinite start": ("span", answer(answer_start=float("inf")), "is inf; expected the number of characters"),
    "two starts": ("span", answer(start=8), 'an answer has "start" 8 and "answer_start" 4; expected one of the two'),
    "an answer of blanks": ("span", answer(text=" ", answer_start=3), "the \"text\" of an answer is ' '; expected"),
    "an answer that is a number": ("span", answer(text=7), 'the "text" of an answer is 7; expected some words'),
    "half a surrogate pair in an id": ("span", {**answer(), "id": "\udfff"}, "the id contains half of a surrogate"),
    "a choice between two endings": ("choice", {**CHOICE, "label": 1.7}, "the label is 1.7; expected the number of an"),
    "a choice below the first": ("choice", {**CHOICE, "label": -1}, "the label is -1; expected the number of an"),
    "a choice above the last": ("choice", {**CHOICE, "label": 2}, "the label is 2; expected the number of an ending"),
    "a boolean choice": ("choice", {**CHOICE, "label": True}, "the label is True; expected the number of an ending"),
    "a choice of NaN": ("choice", {**CHOICE, "label": float("nan")}, "the label is nan; expected the number of an"),
    "two endings of one number": ("choice", {**NAMED, "ending01": "d"}, "ending1, ending01 have the same number"),
    "a text that is a boolean": ("sentence", {"text": False, "label": "x"}, "line 1: the text is False; expected some"),
    "a text that is a fraction": ("sentence", {"text": 0.5, "label": "x"}, "line 1: the text is 0.5; expected some w"),
    "a text that is a list": ("sentence", {"text": ["a"], "label": "x"}, "line 1: the text is ['a']; expected some w"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_value_of_the_wrong_kind_is_refused_with_its_line(tmp_path, what):
    task, record, words = WRONG[what]
    message = refusal(
        tmp_path, task, "a.jsonl", lines_of([record]).replace("\ud800", "\\ud800").encode("ascii", "backslashreplace")
    )
    assert "a.jsonl, line 1: " in message and words in message
    if task in ("squad2", "span"):
        entry = {key: value for key, value in record.items() if key != "context"}
        article = {"paragraphs": [{"context": record["context"], "qas": [entry]}]}
        assert words in refusal(tmp_path, task, "b.json", json.dumps({"data": [article]}, indent=1))


def test_null_is_not_false(tmp_path):
    entry = {"id": "q", "question": "who?", "answers": [], "is_impossible": None}
    article = {"paragraphs": [{"context": "a", "qas": [entry]}]}
    assert "is_impossible is null; expected true or" in refusal(
        tmp_path, "squad2", "a.json", json.dumps({"data": [article]})
    )


def test_infinity_among_numbers_and_among_names(tmp_path):
    message = refusal(tmp_path, "sentence", "a.csv", "text,label\na,1\nb,-inf\nc,0\n")
    assert "line 3: the label is -inf, not a number, among numbers" in message
    found = read(tmp_path, "sentence", "a.csv", "text,label\na,fin\nb,inf\n")  # finite verbs and infinitives
    assert [example.label for example in found] == ["fin", "inf"]


TABLES = {  # columns that occur twice: (task, header)
    "text": ("sentence", "text,label,text"),
    "label": ("sentence", "label,text,label"),
    "sentence2": ("rte", "sentence1,sentence2,sentence2,label"),
    "ending0": ("choice", "text,ending0,ending0,ending1,label"),
    "sent2": ("swag", "sent1,sent2,sent2,ending0,ending1,label"),
    "id": ("span", "id,id,context,question,answers"),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("mark", [",", "\t"])
def test_a_column_that_is_read_occurs_once(tmp_path, name, mark):
    task, header = TABLES[name]
    names = header.split(",")
    content = "".join(mark.join(row) + "\n" for row in (names, ["1"] * len(names)))
    file = "a.csv" if mark == "," else "a.tsv"
    assert f"{file}, line 1: 2 columns '{name}'; expected one" in refusal(tmp_path, task, file, content)
    assert f"2 columns '{name}'" in refusal(
        tmp_path, task, file, content.replace(f"{mark}{name}", f"{mark} {name} ", 1)
    )


def test_a_column_that_is_not_read_may_occur_twice(tmp_path):
    assert len(read(tmp_path, "sentence", "a.csv", "x,text,x,label\n1,a,2,b\n")) == 1


def test_columns_of_parquet_and_of_conll_u_plus_and_keys_occur_once(tmp_path):
    content = "# global.columns = ID FORM NE NE\n1\tin\tO\tO\n"
    own = OwnColumns(None, None, "NE")
    assert "a.conllup, line 1: 2 columns 'NE'; expected one" in refusal(tmp_path, "tokens", "a.conllup", content, own)
    nested = '{"context": "a", "question": "b", "answers": [{"text": "a", "text": "a", "answer_start": 0}]}'
    assert "line 1: not valid JSON (the key 'text' occurs twice)" in refusal(tmp_path, "span", "a.jsonl", nested)
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra `parquet`")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = [pyarrow.array(["a"])] * 3
    parquet.write_table(pyarrow.Table.from_arrays(columns, ["text", "label", "text"]), tmp_path / "a.parquet")
    message = refusal(tmp_path, "sentence", "a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert "a.parquet is not a valid parquet file (2 columns 'text'; expected one)" in message
