"""Files with mistakes: whatever is wrong with a file, the answer is a ValueError with the file and the line."""

import json
import random
import re
from collections import Counter

import pytest

from minibert.tasks.readers import read_examples
from minibert.tasks.registry import task_info
from tests.tasks.shapes import EXAMPLES, refusal, shapes, squad_file

FUZZES = 15  # damaged files of each form
SEED = 1
MALFORMED = [  # task, name, content, words of the message
    ("sentence", "a.jsonl", '{"text": "a", "text": "b", "label": 1}', "line 1: not valid JSON (the key 'text' occurs"),
    ("sentence", "a.jsonl", '{"text": "\\ud800", "label": 1}', "line 1: the text contains half of a surrogate pair"),
    ("sentence", "a.jsonl", "[" * 100_000, "line 1: the JSON is nested too deeply"),
    ("sentence", "a.jsonl", '{"text": "a", "label": %s}' % ("1" * 5000), "line 1: not valid JSON (Exceeds the limit"),
    ("sentence", "a.json", '[{"text": "a", "label": 1},\n 7]', "item 2: 7; expected a JSON object"),
    ("sentence", "a.json", '[\n{"text": "a", "label": 1},\n{"text": 1.5, "label": 1}]', "line 3: the text is 1.5; ex"),
    ("sentence", "a.jsonl", '[{"text": "a", "label": 1}]', "line 1: a list begins; expected one JSON object"),
    ("sentence", "a.jsonl", '\n[\n{"text": "a", "label": 1}]', "line 2: a list begins; expected one JSON obj"),
    ("sentence", "a.csv", 'text,label\n"a,1\nb,0\n', "line 2: a quoted field does not end"),
    ("sentence", "a.csv", 'text,label\n"a"b,1\n', "line 2: ',' expected after"),
    ("sentence", "a.csv", "text,label,text\na,1,b\n", "line 1: 2 columns 'text'; expected one"),
    ("sentence", "a.csv", "text;label\na;1\n", "are text;label (separated by semicolons?); expected commas in a .csv"),
    ("sentence", "a.tsv", "text,label\na,1\n", "(separated by commas?); expected commas in a .csv file and tabs in"),
    ("tokens", "a.csv", "words,labels\na,1\n", "line 2: the words are 'a'; expected a list of 1 or more texts"),
    ("tokens", "a.jsonl", '{"words": [], "labels": []}', "line 1: the words are 0 of them; expected a list of"),
    ("tokens", "a.jsonl", '{"words": ["a"], "labels": "O"}', "line 1: the labels are 'O'; expected a list with one"),
    ("span", "a.jsonl", '{"context": "a", "question": "b", "answers": "a"}', "the answers are 'a'; expected [{"),
    ("span", "a.jsonl", '{"context": "a", "question": "b", "answers": ["a"]}', "an answer is 'a'; expected {"),
    ("span", "a.jsonl", '{"context": "a", "question": "b", "answers": [{"text": "a"}]}', 'the "answer_start" of'),
    ("span", "a.jsonl", '{"context": "ab", "question": "b", "answers": [{"text": "b", "start": -1}]}', "is -1"),
    ("span", "a.jsonl", '{"context": "a", "question": "b", "answers": {"text": ["a"]}}', "with one start"),
    ("span", "a.jsonl", '{"context": "ab", "question": "c", "answers": [{"text": "b", "start": true}]}', "is True"),
    ("span", "a.jsonl", '{"id": {"a": 1}, "context": "a", "question": "b", "answers": []}', "the id is {"),
    ("span", "a.csv", "context,question,answers\na,b,a\n", "line 2: the answers are 'a'; expected"),
    ("squad", "a.json", squad_file(1).replace('"answer_start": 53', '"answer_start": null'), "line 24, question q2"),
    ("squad", "a.json", squad_file(1).replace('"qas"', '"questions"'), "'qas' is missing (expected"),
    ("squad", "a.json", '{"data": {"paragraphs": []}}', "line 1: 'data' is {'paragraphs': []}; expected a list"),
    ("choice", "a.jsonl", '{"text": "a", "endings": ["b", null], "label": 0}', "one of the endings (endings) is"),
    ("choice", "a.jsonl", '{"text": "a", "endings": ["b", "c"], "label": 0.5}', "the label is 0.5; expected"),
    ("choice", "a.jsonl", '{"text": "a", "endings": ["b", "c"], "label": true}', "the label is True; expected"),
    ("choice", "a.jsonl", '{"text": "a", "label": 0}', "line 1: no endings; expected a list 'endings' or 'ending', or"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "content", "words"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_records_are_named_with_their_line(tmp_path, task, name, content, words):
    assert words in refusal(tmp_path, task, name, content)


VALUES = [None, True, 3, -1, 0.5, float("nan"), float("inf"), 10**30, "", " ", "x", "\ud800", [], ["x"], [None], [[]]]
VALUES += [{}, {"text": "x"}, {"text": [], "answer_start": []}, {"text": ["x"], "answer_start": ["x"]}, [{"text": 1}]]


def changed(random_of, value):
    """A JSON value with one random change: a part that is deleted, repeated, or replaced by something else."""
    if isinstance(value, dict) and value and random_of.random() < 0.85:
        key = random_of.choice(list(value))
        rest = {name: inner for name, inner in value.items() if name != key}
        action = random_of.random()
        if action < 0.15:
            return rest
        return {**rest, random_of.choice([key, key, key, key + "x"]): changed(random_of, value[key])}
    if isinstance(value, list) and value and random_of.random() < 0.85:
        at = random_of.randrange(len(value))
        return value[:at] + random_of.choice([[], [value[at]] * 2, [changed(random_of, value[at])]]) + value[at + 1 :]
    return random_of.choice(VALUES)


def damaged(random_of, text):
    """A text with one random change: a line or a column that is cut, deleted, repeated or added, or a character."""
    lines = text.split("\n")
    at = random_of.randrange(len(lines))
    line = lines[at]
    cut = random_of.randrange(len(line) + 1)
    mark = random_of.choice(
        ["\t", ",", '"', " ", "\r", "\0", "#", "-", "}", "]", "\u2028", "[", "nan", "1e999", "²", "٣"]
    )
    lines[at : at + 1] = random_of.choice(
        [
            [line[:cut]],
            [line[cut:]],
            [],
            [line, line],
            [line[:cut] + mark + line[cut:]],
            [mark],
            [line[:cut], line[cut:]],
        ]
    )
    return "\n".join(lines)


def check_outcome(task, path, own):
    """Either examples, or one line with the file and the line; returns whether there were examples."""
    try:
        examples = read_examples(task_info(task), path, own)
    except ValueError as error:
        message = str(error)
        assert type(error) is ValueError and "\n" not in message and str(path) in message, message
        assert re.search(r", (line|item) \d+|is empty|contains no examples|is UTF-16", message), message
        return False
    assert examples
    return True


TASKS = {
    "sentence": ["sentence"],
    "regression": ["regression"],
    "tokens": ["tokens", "conll"],
    "span": ["squad", "span"],
    "choice": ["choice", "swag"],
}


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("kind", EXAMPLES)
def test_no_damage_to_a_file_raises_anything_but_a_value_error_with_its_line(tmp_path, kind):
    random_of = random.Random(f"{SEED} {kind}")
    outcomes = Counter()
    for name, content, own in shapes(kind).values():
        if isinstance(content, bytes):
            continue
        for _ in range(FUZZES):
            path = tmp_path / name
            if name.endswith(".jsonl") and random_of.random() < 0.7:
                records = [json.loads(line) for line in re.split("[\r\n]+", content.removeprefix("\ufeff")) if line]
                at = random_of.randrange(len(records))
                records[at] = changed(random_of, records[at])
                text = "\n".join(map(json.dumps, records))
            elif name.endswith(".json") and random_of.random() < 0.7 and is_json(content):
                text = json.dumps(changed(random_of, json.loads(content)), indent=random_of.choice([None, 1]))
            else:
                text = content
                for _ in range(random_of.choice([1, 1, 2, 5])):
                    text = damaged(random_of, text)
            path.write_text(text, encoding="utf-8", errors="replace", newline="")
            outcomes[check_outcome(random_of.choice(TASKS[kind]), path, own)] += 1
    assert min(outcomes[True], outcomes[False]) > 20
