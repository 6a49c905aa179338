"""No option is ignored: one that cannot act on the task, or on the file, is refused by name."""

import io
import json
import re

import pytest

from minibert import cli
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.examples import Answer, ChoiceExample, SentenceExample, SpanExample, WordsExample
from minibert.tasks.finetune import make_task
from minibert.tasks.options import check_options
from minibert.tasks.predict import as_json, read_input
from minibert.tasks.readers import read_examples
from minibert.tasks.registry import TASKS, OwnColumns, task_info
from minibert.tasks.task import Prediction, Task

COLUMNS = {"text_column": "a", "pair_column": "b", "label_column": "c"}
SPANS = {"stride": 64, "max_answer": 5, "n_best": 3, "null_threshold": 1.0}
NAMES = {"label_names": "no,yes"}
CLASSES_WITHOUT_NAMES = {"mnli", "qnli", "rte", "sick", "sentence", "conll", "wnut", "tokens"}


def config_of(task, **options):
    offline = task.startswith("sotu-")
    return FinetuneConfig("anywhere", task, **{"train": None if offline else "train.tsv", **options})


@pytest.mark.parametrize("task", TASKS)
def test_options_that_cannot_act_on_a_task_are_refused(task):
    kind, offline = TASKS[task].kind, task.startswith("sotu-")
    check_options(config_of(task))
    for name, value in {**COLUMNS, **SPANS, **NAMES}.items():
        acts = kind == "span" if name in SPANS else not offline
        acts = acts and not (name == "pair_column" and kind == "tokens")
        acts = acts and not (name == "label_names" and task not in CLASSES_WITHOUT_NAMES)
        config = config_of(task, **{name: value})
        if acts:
            check_options(config)
        else:
            option = "--" + name.replace("_", "-")
            with pytest.raises(ValueError, match=rf"{option} cannot act on --task {task}: .*; omit it"):
                check_options(config)


def test_examples_are_held_out_in_one_way():
    check_options(config_of("sst2", dev="dev.tsv", tune=True, dev_examples=5))
    for options in ({"dev": "dev.tsv", "dev_examples": 5}, {"dev": "dev.tsv", "dev_share": 0.2}):
        with pytest.raises(ValueError, match="cannot act on --task sst2: --dev has the examples for evaluation"):
            check_options(config_of("sst2", **options))
    with pytest.raises(ValueError, match="--dev-share cannot act .*: --dev-examples says how many"):
        check_options(config_of("sst2", dev_examples=5, dev_share=0.2))


@pytest.mark.parametrize("names", ["", "one", "one,one", "one,two,one", "one,,two", "one,two,"])
def test_names_of_labels_are_different(names):
    with pytest.raises(ValueError, match=f"--label-names is '{names}'; expected"):
        check_options(config_of("sentence", label_names=names))


@pytest.mark.parametrize("name", ["weight_decay", "clip", "null_threshold", "temperature", "learning_rate", "warmup"])
def test_numbers_are_finite(name):
    for value in (float("nan"), float("-inf"), *[float("inf")] * (name != "clip")):
        with pytest.raises(ValueError, match="expected|must be"):
            config_of("span", **{name: value})
    assert config_of("span", clip=float("inf")).clip == float("inf")  # never clip


def test_stored_options_of_earlier_versions_load(tmp_path):
    """They could hold an option that was ignored."""
    config_of("sentence", stride=64).save(tmp_path)
    assert FinetuneConfig.stored(tmp_path)["stride"] == 64


class Shape:
    max_position_embeddings = 64


def test_what_only_all_examples_show():
    span = [SpanExample("1", "a?", "b", (Answer("b", 0),))]
    with pytest.raises(ValueError, match="--null-threshold cannot act: every training question has an answer"):
        make_task(config_of("span", null_threshold=1.0), span, [], Shape)
    assert make_task(config_of("span", null_threshold=1.0), [*span, SpanExample("2", "a?", "b")], [], Shape).may_lack
    choices = [
        ChoiceExample("a", ("b", "c"), 0, "x.csv, line 2"),
        ChoiceExample("a", ("b", "c", "d"), 0, "x.csv, line 3"),
    ]
    with pytest.raises(ValueError, match="x.csv, line 3: 3 endings; expected 2, as in the first example"):
        make_task(config_of("choice"), choices[:1], choices[1:], Shape)
    tags = [WordsExample(("a", "b"), ("U-x", "S-x"))]
    with pytest.raises(ValueError, match="the tags mix BILOU and BIOES"):
        make_task(config_of("wnut"), tags, [], Shape)


# ------------------------------------------------------------------------------------------------ predict


def inputs(folder, task, name, content, **options):
    path = folder / name
    path.write_bytes(content.encode())
    return read_input(task, str(path), OwnColumns(**options))


def test_files_to_predict_have_the_columns_of_training_or_others(tmp_path):
    task = Task("sentence", ("good", "bad"), columns=("review", None, "mood"))
    assert inputs(tmp_path, task, "a.csv", "review,mood\nfine,?\n") == [SentenceExample("fine")]
    assert inputs(tmp_path, task, "a.csv", "text\nfine\n", text="text") == [SentenceExample("fine")]
    with pytest.raises(ValueError, match="a.csv, line 1: no column 'review'; the columns are text"):
        inputs(tmp_path, task, "a.csv", "text\nfine\n")
    for option in ({"text": "x"}, {"pair": "x"}):
        with pytest.raises(ValueError, match="column cannot act"):
            inputs(tmp_path, task, "a.txt", "fine\n", **option)
    with pytest.raises(ValueError, match="--pair-column cannot act: --task conll has no second text"):
        inputs(tmp_path, Task("conll", ("O",)), "a.conll", "a\n", pair="x")


def test_a_text_file_in_the_form_of_the_data_set_is_read_as_such(tmp_path):
    sick = Task("sick", ("NEUTRAL", "ENTAILMENT"), pairs=True)
    table = "pair_ID\tsentence_A\tsentence_B\n1\tone\ttwo\n"
    assert inputs(tmp_path, sick, "SICK.txt", table) == [SentenceExample("one", "two")]
    assert inputs(tmp_path, sick, "a.txt", "one\ttwo\n") == [SentenceExample("one", "two")]
    conll = Task("conll", ("O", "B-LOC"))
    assert inputs(tmp_path, conll, "a.txt", "-DOCSTART- -X- O\n\nThun X O\n") == [WordsExample(("Thun",))]
    assert inputs(tmp_path, conll, "a.txt", "Thun X O\n") == [WordsExample(("Thun", "X", "O"))]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\r"])
def test_standard_input_has_as_many_lines_as_the_file(tmp_path, monkeypatch, separator):
    text = f"a fine{separator}day\nno\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "ascii"))
    task = Task("sentence", ("good", "bad"))
    given = read_input(task, "-")
    assert given == inputs(tmp_path, task, "a.txt", text) and len(given) == 2


def test_questions_with_answers_are_printed_as_json(tmp_path):
    line = '{"id": "q", "question": "a?", "context": "b c", "answers": [{"text": "c", "start": 2}]}'
    example = inputs(tmp_path, Task("span", ()), "a.jsonl", line)[0]
    printed = json.loads(next(as_json(example, Prediction("b", 0.5))))
    assert printed["question"] == "a?" and printed["answer"] == "b" and "answers" not in printed


def test_the_number_of_answers_acts_or_is_refused(tmp_path, capsys):
    shares = [("x", 0.5), ("y", 0.3), ("z", 0.2)]
    prediction = Prediction(*shares[0], shares[1:])
    counts = [next(as_json(SentenceExample("a"), prediction, n)).count('"answer"') for n in (None, 1, 2, 9)]
    assert counts == [3, 1, 2, 3]
    for name in ("conll", "regression"):
        Task(name, ("O",)).save(tmp_path, {})
        assert cli.main(["predict", str(tmp_path), "--n-best", "2"]) == 2
        assert f"--n-best cannot act: --task {name} has one answer" in capsys.readouterr().err


def test_columns_that_the_user_names_are_different_and_are_there(tmp_path):
    """An option that cannot act is refused; a label that is read as the text would give a perfect score."""

    def told(task, name, content, words, labelled=True, **options):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=re.escape(words)):
            read_examples(task_info(task), tmp_path / name, OwnColumns(**options), labelled)

    both = "--text-column and --label-column are both 'label'; expected different columns"
    for options in ({"text": "label"}, {"text": "label", "label": "label"}):
        told("sentence", "a.csv", "text,label\na,1\n", both, **options)
    told("rte", "a.csv", "a,label\nb,1\n", "--text-column and --pair-column are both 'a'", text="a", pair="a")
    told("rte", "a.csv", "a\nb\n", "--text-column and --pair-column are both 'a'", labelled=False, text="a", pair="a")
    (tmp_path / "b.csv").write_text("label\nfine\n")
    found = read_examples(task_info("sentence"), tmp_path / "b.csv", OwnColumns(text="label"), labelled=False)
    assert found == [SentenceExample("fine")]
    for options in ({"text": "2"}, {"label": "1"}):
        told("conll", "a.conll", "Thun\tB-x\n", "line 1: the words and the labels are both in column", **options)
    headerless = "gj04\t0\t*\tIt rain.\n"
    told("cola", "a.tsv", headerless, "line 1: no column 'phrase'; the columns are gj04", text="phrase")
    told("cola", "a.tsv", headerless, "line 1: no column 'sentence'; the columns are gj04", label="judgement")


def test_jsonl_is_read_as_such_under_any_name(tmp_path, monkeypatch):
    """As `pretrain` does; as plain text, each line of JSON would be taken for a text."""
    records = {
        "sentence": ('{"text": "fine", "label": -1}\n', SentenceExample("fine")),
        "conll": ('{"tokens": ["in", "Thun"]}\n', WordsExample(("in", "Thun"))),
        "span": ('{"id": "q", "context": "b c", "question": "a?"}\n', SpanExample("q", "a?", "b c")),
    }
    for name, (line, expected) in records.items():
        task = Task(name, ("O",))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(("\n" + line).encode())))
        assert read_input(task, "-") == inputs(tmp_path, task, "a.txt", line) == [expected]
    with pytest.raises(ValueError, match="a.txt, line 1: 'text' is missing; the line has body"):
        inputs(tmp_path, Task("sentence", ("O",)), "a.txt", '{"body": "fine"}\n')
    assert inputs(tmp_path, Task("sentence", ("O",)), "a.txt", '{"fine"}\n') == [SentenceExample('{"fine"}')]
