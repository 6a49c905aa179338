"""`minibert compare`: each shape of a curve is named with its cause, and the closest reference is chosen."""

import dataclasses
import json
import math

import pytest

from minibert import cli
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.reference_runs import write_reference as write_task_reference
from minibert.training import reference_runs
from minibert.training.config import PretrainConfig
from minibert.training.diagnosis import Curve, Run, diagnose, stuck
from minibert.training.reference_runs import Reference, closest, curves_of, read_reference, recipe_of, write_reference

STEPS = tuple(range(10, 2010, 10))


def falling(start=9.0, end=4.0, steps=STEPS):
    """A loss that falls as losses do."""
    return [end + (start - end) * math.exp(-4 * step / 2000) for step in steps]


def run_with(loss, held_out=None, nsp=None, diverged=None) -> Run:
    training = {"mlm_loss": Curve(STEPS[: len(loss)], tuple(loss))}
    if nsp is not None:
        training["nsp_loss"] = Curve(STEPS[: len(nsp)], tuple(nsp))
    held = held_out or [loss[len(loss) * part // 4 - 1] for part in range(1, 5)]
    return Run(training, {"mlm_loss": Curve((500, 1000, 1500, 2000), tuple(held))}, "mlm_loss", diverged)


REFERENCE = run_with(falling(), nsp=[0.69] * 100 + [0.5] * 100)
RISING = falling()[:100] + [falling()[99] + 0.01 * number for number in range(100)]
CASES = {
    "on track": (run_with(falling()), True, "on track: 4.1"),
    "on track, half-way": (run_with(falling()[:100]), True, "on track: 4.7"),
    "a little noise": (run_with([loss + 0.1 for loss in falling()]), True, "on track"),
    "ahead": (run_with(falling(end=3.5)), True, "ahead of the reference: 3.6"),
    "behind": (run_with(falling(start=9.5, end=4.6)), False, "behind the reference: 4.7"),
    "plateau": (run_with([*falling()[:40], *[6.0] * 160]), False, "stopped falling at 6.00 nats; the reference was at"),
    "rose": (run_with(RISING), False, "has risen to 5.6"),
    "rose from a plateau": (
        run_with([6.2] * 10 + [6.0] * 150 + [6 + 0.02 * step for step in range(40)]), False, "has risen to 6.6"
    ),
    "diverged": (run_with(falling()[:50], diverged=501), False, "became NaN or infinite at step 501"),
    "overfitted": (run_with(falling(), held_out=[5.0, 4.6, 4.7, 5.1]), False, "risen to 5.10 nats from 4.60"),
    "no pairs": (run_with(falling(), nsp=[0.69] * 200), False, "still guessed: 0.69 nats, beside 0.50"),
    "pairs in time": (run_with(falling(), nsp=[0.69] * 100), True, "on track"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_shape_of_a_curve_is_named(case):
    run, fine, words = CASES[case]
    findings = diagnose(run, REFERENCE)
    assert len(findings) == 1 and findings[0].fine == fine and words in findings[0].seen
    assert fine or findings[0].cause


def test_four_losses_are_too_few_to_be_stuck():
    early = Run({"mlm_loss": Curve(STEPS, (4.0,) * len(STEPS))}, {}, "mlm_loss")
    assert [len(list(stuck(run_with([6.0] * count), early))) for count in (4, 5)] == [0, 1]


def reference_of(**options) -> Reference:
    config = PretrainConfig(**options)
    return Reference("one", "minibert pretrain", recipe_of(config), "a machine", "2026-01-01", REFERENCE)


def nearest(config, among):
    return closest(recipe_of(config), "model", "size", among)


def test_the_closest_reference_is_that_of_the_model_and_size_with_the_fewest_differences():
    base, short, mini = reference_of(), reference_of(steps=500, learning_rate=1.0), reference_of(size="mini")
    gpt = reference_of(model="gpt")
    assert nearest(PretrainConfig(seed=5, eval_every=7), [gpt, mini, short, base]) == (base, {})
    found, differences = nearest(PretrainConfig(steps=500), [gpt, mini, base])
    assert found is base and differences == {"steps": (500, 10_000)}
    assert nearest(PretrainConfig(size="mini", steps=500), [base, mini])[0] is mini
    with pytest.raises(ValueError, match="there is no reference run of --model elmo, only of bert, gpt"):
        nearest(PretrainConfig(model="elmo"), [base, gpt])


def test_curves_are_thinned_by_means():
    records = [{"step": step, "mlm_loss": float(step), "nsp_loss": None} for step in range(1, 11)]
    curves = curves_of(records, ["mlm_loss", "nsp_loss"], points=5)
    assert curves == {"mlm_loss": Curve((2, 4, 6, 8, 10), (1.5, 3.5, 5.5, 7.5, 9.5))}


@pytest.fixture
def run(tmp_path):
    """A run's folder, without a model."""
    folder = tmp_path / "run"
    folder.mkdir()
    PretrainConfig(out=str(folder), steps=2000).save(folder)
    lines = [
        {"kind": "train", "step": step, "length": 8, "mlm_loss": loss, "mlm_accuracy": 0.1, "nsp_loss": None}
        for step, loss in zip(STEPS, falling(), strict=True)
    ]
    lines.append({"kind": "evaluation", "step": 2000, "mlm_loss": 4.1, "mlm_accuracy": 0.3, "nsp_loss": 0.6})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_run_is_compared_with_a_reference_made_of_itself(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference_runs, "FOLDER", tmp_path / "references")
    write_reference(run, tmp_path / "references" / "itself.json")
    found = read_reference(tmp_path / "references" / "itself.json")
    assert found.command == "minibert pretrain --steps 2000" and found.run.loss == "mlm_loss"
    assert len(found.run.training["mlm_loss"].steps) == 200
    assert cli.main(["compare", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "BERT tiny, step 2,000 of 2,000" in printed and "on track: 4.1" in printed and "different" not in printed
    assert (run / "compare.png").read_bytes().startswith(b"\x89PNG")
    config = dataclasses.replace(PretrainConfig.load(run), learning_rate=1e-4)
    config.save(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "diverged", "step": 2001}\n')
    assert cli.main(["compare", str(run), "--out", str(tmp_path / "picture.png")]) == 1
    printed = capsys.readouterr().out
    assert "--learning-rate 0.0001, in the reference 0.002" in printed and "NaN or infinite at step 2,001" in printed
    assert (tmp_path / "picture.png").exists()


def tuned_with(loss, score) -> Run:
    steps = STEPS[: len(loss)]
    scores = Curve((steps[len(steps) // 2 - 1], steps[-1]), (0.5, score))
    return Run({"loss": Curve(steps, tuple(loss))}, {"accuracy": scores}, "loss", score="accuracy")


TUNED = tuned_with(falling(0.7, 0.4), 0.73)
TUNED_CASES = {
    "on track": (tuned_with(falling(0.7, 0.4), 0.715), True, "on track: accuracy 71.5%, beside 73.0%"),
    "half-way": (tuned_with(falling(0.7, 0.4)[:100], 0.49), True, "on track: accuracy 49.0%, beside 50.0%"),
    "behind": (tuned_with(falling(0.7, 0.6), 0.55), False, "the training loss is behind too, 0.60 nats beside 0.41"),
    "by heart": (tuned_with(falling(0.7, 0.1), 0.6), False, "while the training loss is not behind, 0.11 nats"),
    "rose": (tuned_with([*falling(0.7, 0.4)[:100], *[1.5] * 100], 0.73), False, "has risen to 1.50 nats"),
}  # fmt: skip


@pytest.mark.parametrize("case", TUNED_CASES)
def test_each_shape_of_a_fine_tuning_is_named(case):
    run, fine, words = TUNED_CASES[case]
    findings = diagnose(run, TUNED)
    assert len(findings) == 1 and findings[0].fine == fine and words in findings[0].seen
    assert fine or findings[0].cause


@pytest.fixture
def fine_tuned(tmp_path):
    """The folder of a fine-tuning, without a model."""
    folder = tmp_path / "fine-tuned"
    folder.mkdir()
    FinetuneConfig("runs/001", "sotu-shuffled", learning_rate=3e-4).save(folder)
    (folder / "task.json").write_text("{}")
    lines = [
        {"kind": "train", "seed": seed, "step": step, "loss": loss + seed}
        for seed in (0, 1)
        for step, loss in zip(STEPS, falling(0.7, 0.4), strict=True)
    ]
    lines.append({"kind": "evaluation", "seed": 0, "step": 2000, "epoch": 3.0, "accuracy": 0.73})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_fine_tuning_is_compared_with_a_reference_of_its_task(fine_tuned, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference_runs, "FOLDER", tmp_path / "references")
    (tmp_path / "references").mkdir()
    assert cli.main(["compare", str(fine_tuned)]) == 2
    assert "there is no reference run of --task sotu-shuffled" in capsys.readouterr().err
    write_task_reference(fine_tuned, tmp_path / "references" / "shuffled.json")
    found = read_reference(tmp_path / "references" / "shuffled.json")
    assert found.command == "minibert finetune runs/001 --task sotu-shuffled --learning-rate 0.0003"
    assert found.run.score == "accuracy" and max(found.run.training["loss"].values) < 0.7  # the first seed's
    assert cli.main(["compare", str(fine_tuned)]) == 0
    printed = capsys.readouterr().out
    assert "sotu-shuffled, 2,000 steps from runs/001" in printed and "on track: accuracy 73.0%" in printed
    assert "different" not in printed and (fine_tuned / "compare.png").read_bytes().startswith(b"\x89PNG")
    FinetuneConfig("runs/002", "sotu-shuffled", learning_rate=1e-3, epochs=1).save(fine_tuned)
    assert cli.main(["compare", str(fine_tuned)]) == 0
    printed = capsys.readouterr().out
    assert "--learning-rate 0.001, in the reference 0.0003" in printed and "--epochs 1, in the reference 3" in printed


def test_a_fine_tuning_without_its_options_is_refused_in_one_line(fine_tuned, capsys):
    (fine_tuned / "finetune.json").write_text('{"format": 1, "run": "a", "task": "nothing"}')
    assert cli.main(["compare", str(fine_tuned)]) == 2
    assert "is damaged" in capsys.readouterr().err
    (fine_tuned / "finetune.json").unlink()
    assert cli.main(["compare", str(fine_tuned)]) == 2
    assert "fine-tuned by an earlier version" in capsys.readouterr().err


def test_what_is_no_run_is_refused_in_one_line(run, tmp_path, capsys):
    for folder, message in ((tmp_path, "contains no pre-training run"), (run, "nothing to compare")):
        (run / "metrics.jsonl").unlink(missing_ok=True)
        assert cli.main(["compare", str(folder)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    (run / "metrics.jsonl").write_text("")
    assert cli.main(["compare", str(run)]) == 2
    assert "has not recorded any step yet" in capsys.readouterr().err


def test_the_references_of_the_package_can_be_read():
    found = reference_runs.references()
    assert found
    for reference in found:
        assert reference.run.training and reference.run.held_out and reference.command.startswith("minibert ")
        assert diagnose(reference.run, reference.run)[0].fine
