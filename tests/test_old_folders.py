"""Folders that earlier versions wrote are read, resumed and asked; those of a later version are refused in one line.

tests/fixtures/before-formats was written by the last version without format numbers: a run that was killed after step 8
of 12, a model fine-tuned on sentences, and a frozen one on words, with a model of one layer, 8 wide.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from minibert import cli
from minibert.base.formats import FORMAT, without_format
from minibert.models import PRESETS, BertForPreTraining
from minibert.tasks.predict import read_input
from minibert.tasks.task import Task, predictions_of
from minibert.text import Tokenizer
from minibert.training import PretrainConfig, config
from minibert.training.metrics import read_metrics

OLD = Path(__file__).parent / "fixtures" / "before-formats"


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the old folders; its runs have a size of their own."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.setitem(PRESETS, "tiny", (1, 8, 2))
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def test_an_old_run_is_resumed_to_the_losses_it_would_have_had(old):
    assert "format" not in json.loads((old / "run" / "pretrain.json").read_text())
    assert cli.main(["pretrain", "--out", "run", "--resume"]) == 0
    expected = json.loads((old / "expected.json").read_text())
    for ours, theirs in zip(read_metrics("run"), expected, strict=True):
        assert (ours["kind"], ours["step"]) == (theirs["kind"], theirs["step"])
        assert ours["mlm_loss"] == pytest.approx(theirs["mlm_loss"], rel=1e-4)  # another processor rounds otherwise
    state = json.loads((old / "run" / "checkpoints" / "step-00000012" / "state.json").read_text())
    assert state["format"] == FORMAT
    assert BertForPreTraining.from_pretrained("run").config.hidden_size == 8


@pytest.mark.parametrize("name", ["finetuned", "frozen"])
def test_an_old_fine_tuned_model_answers_as_it_did(old, name):
    task = Task.load(name)
    model, codec = task.model_class.from_pretrained(name), task.codec(Tokenizer.load(name))
    file = "sentence.jsonl" if name == "finetuned" else "tokens.jsonl"
    got = predictions_of(model, codec, read_input(task, file))
    expected = [json.loads(line) for line in (old / f"{name}.predictions.jsonl").read_text().splitlines()]
    assert [list(p.answer) if name == "frozen" else p.answer for p in got] == [line["answer"] for line in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert np.allclose(ours.probability, theirs["probability"], rtol=1e-4)


def test_what_is_written_now_has_a_format(old):
    PretrainConfig.load("run").save(old)
    assert json.loads((old / "pretrain.json").read_text())["format"] == FORMAT
    Task.load("finetuned").save(old, {"accuracy": 1.0})
    assert json.loads((old / "task.json").read_text())["format"] == FORMAT
    assert Task.load(old) == Task.load("finetuned") and PretrainConfig.load(old) == PretrainConfig.load("run")


@pytest.mark.parametrize(
    "file, words",
    [
        ("run/pretrain.json", ["pretrain", "--out", "run", "--resume"]),
        ("finetuned/task.json", ["predict", "finetuned", "sentence.jsonl"]),
        ("frozen/features.json", ["predict", "frozen", "tokens.jsonl"]),
        ("run/checkpoints/step-00000008/state.json", ["pretrain", "--out", "run", "--resume"]),
    ],
)
def test_a_later_format_is_refused_in_one_line(old, capsys, file, words):
    path = old / file
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "format": FORMAT + 1}))
    assert cli.main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"has format {FORMAT + 1}; this version reads formats only up to {FORMAT}; upgrade minibert" in said


def test_an_option_that_got_another_name_is_read_under_its_old_one(old, monkeypatch):
    path = old / "run" / "pretrain.json"
    values = json.loads(path.read_text())
    values["clipping"] = values.pop("clip")
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="damaged"):
        PretrainConfig.load("run")
    monkeypatch.setitem(config.RENAMED, "clipping", "clip")
    assert PretrainConfig.load("run").clip == 1.0


def test_names_and_formats():
    assert without_format({"a": 1, "b": 2}, "x", {"a": "c"}) == {"c": 1, "b": 2}
    with pytest.raises(ValueError, match="x has format 'new'"):
        without_format({"format": "new"}, "x")
    with pytest.raises(ValueError, match="got list"):
        without_format([], "x")
