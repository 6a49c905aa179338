"""Damaged files in a run's folder: one line that names the file and the line, and nothing is dropped."""

import json
import shutil

import pytest

from minibert import cli
from minibert.training.checkpoints import list_checkpoints, read_state
from minibert.training.config import PretrainConfig
from minibert.training.metrics import Metrics, as_line, read_metrics

from .tiny import losses_of, tiny_config  # noqa: F401  (the corpus and the model's size come from conftest)

GOOD = '{"kind": "train", "step": %d, "mlm_loss": 2.5, "nsp_loss": null, "length": 8}\n'
BAD_LINES = [
    ("[]", "a JSON list; expected an object"),
    ("3", "a JSON int; expected an object"),
    ('"text"', "a JSON str; expected an object"),
    ("{", "not JSON"),
    ('{"kind": "train", "st', "not JSON"),
    ("\x00\x00\x00", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ('{"kind": "tr\ud800in", "step": 1}', "not JSON"),  # half of a surrogate pair
    ('{"step": 2}', "the kind is None; expected a string"),
    ('{"kind": 1, "step": 2}', "the kind is 1; expected a string"),
    ('{"kind": "train"}', "the step is None; expected an integer of at least 0"),
    ('{"kind": "train", "step": "2"}', "the step is '2'; expected an integer"),
    ('{"kind": "train", "step": 2.5}', "the step is 2.5; expected an integer"),
    ('{"kind": "train", "step": true}', "the step is True; expected an integer"),
    ('{"kind": "train", "step": -1}', "the step is -1; expected an integer"),
    ('{"kind": "train", "step": Infinity}', "Infinity is not a JSON number"),
    ('{"kind": "train", "step": 2, "mlm_loss": NaN}', "NaN is not a JSON number"),
    ('{"kind": "train", "step": 2, "mlm_loss": "low"}', "mlm_loss is 'low'; expected a number or null"),
    ('{"kind": "train", "step": 2, "mlm_loss": [1]}', "mlm_loss is [1]; expected a number or null"),
    ('{"kind": "train", "step": 2, "mlm_loss": 1e999}', "mlm_loss is inf; expected a number or null"),
    ('{"kind": "train", "step": 2, "mlm_loss": 1' + "0" * 400 + "}", "expected a number or null"),
]


@pytest.mark.parametrize(("line", "words"), BAD_LINES)
def test_a_damaged_line_is_named_and_what_follows_is_not_dropped(tmp_path, line, words):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes((GOOD % 1 + line + "\n" + GOOD % 3).encode("utf-8", "surrogatepass"))
    before = path.read_bytes()
    for read in (lambda: read_metrics(tmp_path), lambda: Metrics(tmp_path, 3)):
        with pytest.raises(ValueError, match="restore or delete the line to go on") as caught:
            read()
        assert f"{path}, line 2: " in str(caught.value) and words in str(caught.value)
    assert path.read_bytes() == before
    path.write_bytes(
        (GOOD % 1 + GOOD % 3 + "\n" + line).encode("utf-8", "surrogatepass")
    )  # cut short in a crash, as the last line may be
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 3]


def test_several_damaged_lines_are_counted(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("[]\n" + GOOD % 1 + "{\n")
    with pytest.raises(ValueError, match=r"line 1: .* \(and 1 more lines\)"):
        read_metrics(tmp_path)


def test_a_record_of_nan_is_written_as_null():
    assert json.loads(as_line({"kind": "evaluation", "loss": float("nan"), "bits": float("inf"), "share": 0.5})) == {
        "kind": "evaluation",
        "loss": None,
        "bits": None,
        "share": 0.5,
    }


@pytest.fixture
def run(tmp_path, whole_run):
    shutil.copytree(whole_run, tmp_path / "run")
    return tmp_path / "run"


def refused(run, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert cli.main(["pretrain", "--out", str(run), "--resume"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return said


def test_a_resume_with_damaged_metrics_changes_nothing(run, capsys):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], "[]\n", *lines[4:]]))
    assert f"{path}, line 5: a JSON list" in refused(run, capsys)


@pytest.mark.parametrize(
    "change",
    [
        '"step": Infinity', '"step": -12', '"step": "12"', '"step": 12.0', '"step": null', '"step": true',
        '"sha256": []', '"sha256": {"model.safetensors": "0"}', '"loss_scale": 1', '"loss_scale": {"value": -1}',
        '"loss_scale": {"good_steps": 0.5}', '"options": 3', '"format": [1]',
    ],
)  # fmt: skip
def test_a_damaged_state(run, capsys, change):
    path = list_checkpoints(run)[-1] / "state.json"
    name = change.split(":")[0]
    text = "".join(f"{line}\n" for line in path.read_text().splitlines() if not line.startswith(f"  {name}"))
    path.write_text("{" + change + "," + text.lstrip()[1:] if "sha256" not in change else path.read_text().replace(
        '"sha256"', '"was"').replace("{", "{" + change + ",", 1))  # fmt: skip
    assert "state.json" in refused(run, capsys)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 5), ("learning_rate", 0.5), ("optimizer", "muon"), ("steps", 11), ("lengths", ["8:1"]),
     ("whole_word", True), ("held_out", 0.1)],
)  # fmt: skip
def test_an_option_that_was_edited_is_named(run, capsys, name, value):
    path = run / "pretrain.json"
    values = json.loads(path.read_text())
    was, values[name] = values[name], value
    path.write_text(json.dumps(values))
    said = refused(run, capsys)
    assert f'{path} has "{name}": {json.dumps(value)}, but checkpoint step-00000012 was made with' in said
    assert f"{json.dumps(was)}; restore it to resume the run" in said


def test_options_that_no_model_depends_on_may_be_edited_and_steps_raised(run):
    path = run / "pretrain.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "keep": 3, "log_every": 1}))
    assert cli.main(["pretrain", "--out", str(run), "--resume", "--steps", "13"]) == 0
    assert read_state(list_checkpoints(run)[-1])["options"]["steps"] == 13


def test_checkpoints_of_earlier_versions_have_no_options(run):
    path = list_checkpoints(run)[-1] / "state.json"
    state = json.loads(path.read_text())
    del state["options"]
    path.write_text(json.dumps(state))
    assert cli.main(["pretrain", "--out", str(run), "--resume"]) == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("steps", 12.5, "steps is 12.5; expected int"),
        ("steps", True, "steps is True; expected int"),
        ("learning_rate", 10**400, "learning_rate is 1000"),
        ("lengths", "8:1", "lengths is '8:1'; expected a list of str"),
        ("model", "robot", "model is 'robot'; expected 'bert' | 'gpt'"),
        ("from_", ["x"], "from_ is ['x']; expected str | None"),
    ],
)
def test_an_option_of_another_type_is_named(tmp_path, name, value, words):
    PretrainConfig(steps=20).save(tmp_path)
    assert PretrainConfig.load(tmp_path).steps == 20
    path = tmp_path / "pretrain.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(ValueError, match="pretrain.json is damaged") as caught:
        PretrainConfig.load(tmp_path)
    assert words in str(caught.value)
