"""Experiments: cells are named by their options, run once, resumed and shared; tables say what was found."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from minibert import cli
from minibert.commands.options import read_options
from minibert.experiments import speeds, student
from minibert.experiments.catalogue import EXPERIMENTS
from minibert.experiments.cells import FINETUNE, PRETRAIN, Cell, Store, folder_of, make_models, reference
from minibert.experiments.plan import RATES, RATES_OF_FROZEN, TASKS, Budget, Plan, metric_of
from minibert.experiments.report import Column, Row, Table, interval, share
from minibert.experiments.runner import Runner
from minibert.experiments.speeds import Speed
from minibert.tasks.config import FinetuneConfig
from minibert.training.config import PretrainConfig


def act_as_minibert(words) -> None:
    """Leave what `minibert pretrain` or `minibert finetune` leaves."""
    command, *words = words
    value = lambda name: words[words.index(name) + 1]  # noqa: E731
    out = Path(value("--out"))
    out.mkdir(parents=True, exist_ok=True)
    if command == FINETUNE:
        score = float(value("--learning-rate")) * 100 + int(value("--seed")) / 1000
        scores = {metric_of(value("--task")): score}
        (out / "task.json").write_text(json.dumps({"scores": scores}))
        return
    save_file({"a": np.zeros((2, 3), np.float32)}, out / "model.safetensors")
    for name in ("config.json", "vocab.txt", "tokenizer_config.json", "pretrain.json"):
        (out / name).write_text("{}")
    steps, every, seed = (int(value(f"--{name}")) for name in ("steps", "save-every", "seed"))
    for step in {steps, *range(every, steps + 1, every)}:
        folder = out / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.json").write_text("{}")
        (folder / "model.safetensors").write_text(str(step))
    losses = {"mlm_loss": 4.0 + seed, "mlm_accuracy": 0.25, "lm_loss": 5.0, "forward_loss": 5.5}
    records = {"kind": "train", "step": 1, "tokens_per_second": 900}, {"kind": "evaluation", "step": steps, **losses}
    (out / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


class Ended:
    """A process that has done its work."""

    def __init__(self, returncode):
        self.returncode = returncode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        raise AssertionError("the process has ended")


class Stage(Runner):
    """A runner whose processes are functions; keeps their calls."""

    def __init__(self, folder, jobs=2, fails="nothing", **options):
        super().__init__(Store(folder / "cells"), folder / "work", jobs, threads=1, program=("minibert",), **options)
        self.calls, self.fails = [], fails

    def launch(self, words, log):
        words = words[1:]
        self.calls.append(words)
        log.write_text("minibert: error: no luck\n")
        if self.fails in words:
            return Ended(2)
        act_as_minibert(words)
        return Ended(0)

    def plan(self, name, budget) -> Plan:
        made = Plan(self.store, budget)
        EXPERIMENTS[name].table(made)
        return made

    def finish_all(self, name, budget) -> tuple[bool, Table]:
        ended = self.run(lambda: self.plan(name, budget))
        return ended, EXPERIMENTS[name].table(Plan(self.store, budget))


WITH_A_TABLE = [name for name, experiment in EXPERIMENTS.items() if experiment.table]
SMALL = Budget(steps=10, seeds=2, tasks=("sotu-punctuation",))


class TestCells:
    def test_a_cell_is_named_by_all_of_its_options(self):
        cell = Cell.of(PRETRAIN, steps=5, seed=1, model="gpt")
        assert cell == Cell.of(PRETRAIN, model="gpt", seed=1, steps=5)
        assert cell.key.startswith("gpt-tiny-seed1-") and cell.sources == []
        assert len({Cell.of(PRETRAIN, steps=5, seed=1, model="gpt", **more).key for more in ({}, {"cased": True})}) == 2
        tuned = Cell.of(FINETUNE, run=reference(cell.key, 3), task="sotu-shuffled", seed=0)
        assert tuned.key.startswith("gpt-tiny-sotu-shuffled-seed0-") and tuned.sources == [cell.key]

    def test_the_words_of_a_cell_are_understood_by_the_command(self, tmp_path):
        options = dict(steps=7, masked_as=(0.8, 0.2, 0.0), nsp_from=1000, whole_word=True, bias_correction=False)
        words = list(Cell.of(PRETRAIN, **options).words(tmp_path))
        config = read_options(PretrainConfig, words[1:], "minibert pretrain")
        assert words[0] == PRETRAIN and {name: getattr(config, name) for name in options} == options
        options = dict(run=reference("KEY"), task="sotu-shuffled", frozen=True, layers="-1", tune=True)
        words = list(Cell.of(FINETUNE, **options).words(tmp_path))
        config = read_options(FinetuneConfig, words[1:], "minibert finetune")
        assert (config.run, config.layers, config.frozen, config.tune) == (str(tmp_path / "KEY"), "-1", True, True)

    def test_the_model_after_a_step_is_that_of_its_checkpoint(self, tmp_path):
        checkpoint = tmp_path / "KEY" / "checkpoints" / "step-00000003"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_text("after three")
        for name in ("config.json", "vocab.txt", "tokenizer_config.json", "pretrain.json"):
            (tmp_path / "KEY" / name).write_text(name)
        make_models(Cell.of(FINETUNE, run=reference("KEY", 3), task="sotu-shuffled"), tmp_path)
        folder = folder_of(reference("KEY", 3), tmp_path)
        assert (folder / "model.safetensors").read_text() == "after three"
        assert (folder / "config.json").read_text() == "config.json"
        with pytest.raises(FileNotFoundError):
            make_models(Cell.of(FINETUNE, run=reference("KEY", 4), task="sotu-shuffled"), tmp_path)

    def test_a_damaged_result_is_named(self, tmp_path):
        store, cell = Store(tmp_path), Cell.of(PRETRAIN, steps=1)
        store.add(cell, {"mlm_loss": 1.5}, seconds=3)
        assert store.figures(cell) == {"mlm_loss": 1.5}
        store.path(cell).write_text("{")
        store = Store(tmp_path)
        with pytest.raises(ValueError, match="is damaged .*; delete it to run this cell again"):
            store.figures(cell)


@pytest.mark.parametrize("name", WITH_A_TABLE)
def test_every_experiment_runs_to_its_end_and_nothing_runs_twice(tmp_path, name):
    budget = Budget(10, 2, ("sotu-shuffled", "sotu-punctuation"))
    stage = Stage(tmp_path)
    ended, table = stage.finish_all(name, budget)
    assert ended and table.is_complete
    made = stage.calls
    assert len(made) == len({tuple(words) for words in made}) == len(list((tmp_path / "cells").iterdir()))
    again = Stage(tmp_path)
    assert again.finish_all(name, budget)[0] and again.calls == []
    compared = len(table.rows) - (sum(row.against == row.label for row in table.rows) or 1)
    expected = 2 + len(table.rows) + (compared and 5 + compared) + (table.notes and 1 + len(table.notes) or 0)
    assert len(table.markdown().splitlines()) == expected
    assert not [path for path in (tmp_path / "work").iterdir() if "sotu" in path.name]  # fine-tuned models are not kept


def test_experiments_share_cells(tmp_path):
    Stage(tmp_path).finish_all("features", SMALL)
    stage = Stage(tmp_path)
    stage.finish_all("distillation", SMALL)
    assert stage.calls and not [words for words in stage.calls if words[0] == PRETRAIN and "mini" in words]


def test_the_best_rate_of_the_first_seed_is_used_for_all(tmp_path):
    stage = Stage(tmp_path)
    stage.finish_all("bidirectionality", SMALL)
    rate = lambda words: float(words[words.index("--learning-rate") + 1])  # noqa: E731
    tuned = [words for words in stage.calls if "--tune" in words]
    final = [words for words in stage.calls if words[0] == FINETUNE and "--tune" not in words]
    assert {rate(words) for words in tuned} == {*RATES, *RATES_OF_FROZEN}
    of_elmo = [words for words in final if "elmo" in words[1]]
    assert {rate(words) for words in of_elmo} == {max(RATES_OF_FROZEN)} and len(of_elmo) == 2
    assert {rate(words) for words in final if "elmo" not in words[1]} == {max(RATES)}


def test_a_model_that_is_gone_is_trained_again_but_keeps_its_result(tmp_path):
    budget = Budget(10, 1, ("sotu-punctuation",))
    Stage(tmp_path).finish_all("size", budget)
    cells = sorted((tmp_path / "cells").iterdir())
    before = {path.name: path.read_text() for path in cells}
    shutil.rmtree(tmp_path / "work")
    next(
        path for path in cells if path.name.startswith("bert-tiny-sotu") and "--tune" not in before[path.name]
    ).unlink()
    stage = Stage(tmp_path)
    assert stage.finish_all("size", budget)[0]
    assert [words[0] for words in stage.calls] == [PRETRAIN, FINETUNE]
    for path in cells:
        if "sotu" not in path.name:
            assert path.read_text() == before[path.name]


def test_a_cell_that_fails_is_reported_with_its_last_line(tmp_path):
    with pytest.raises(RuntimeError, match="minibert pretrain .*--model gpt.* failed: minibert: error: no luck"):
        Stage(tmp_path, jobs=1, fails="gpt").finish_all("bidirectionality", SMALL)
    done = len(list((tmp_path / "cells").iterdir()))
    stage = Stage(tmp_path)
    assert stage.finish_all("bidirectionality", SMALL)[0]
    assert done and len(stage.calls) == len(list((tmp_path / "cells").iterdir())) - done


def test_a_call_that_is_stopped_stops_its_processes_and_is_continued(tmp_path):
    """Here the processes are real: they begin a run and then sleep until they are stopped."""
    program = (
        "import pathlib, sys, time; out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1]); out.mkdir(); "
        "(out / 'pretrain.json').write_text('{}'); time.sleep(60)"
    )
    store, work = Store(tmp_path / "cells"), tmp_path / "work"
    runner = Runner(store, work, 2, threads=1, program=(sys.executable, "-c", program))
    processes, launch = [], runner.launch
    runner.launch = lambda *arguments: processes.append(launch(*arguments)) or processes[-1]

    def wait_for_one(running):
        while len(list(work.glob("*/pretrain.json"))) < 2:
            time.sleep(0.01)
        raise KeyboardInterrupt

    runner.wait_for_one = wait_for_one
    with pytest.raises(KeyboardInterrupt):
        runner.run(lambda: Stage(tmp_path).plan("size", SMALL))
    assert len(processes) == 2 and all(process.returncode == -signal.SIGTERM for process in processes)
    stage = Stage(tmp_path)
    assert stage.finish_all("size", SMALL)[0]
    assert sum("--resume" in words for words in stage.calls) == 2


def test_no_cell_starts_after_the_time_is_up(tmp_path):
    stage = Stage(tmp_path, minutes=1e-9)
    ended, table = stage.finish_all("size", SMALL)
    assert not ended and not table.is_complete and stage.calls == []


class TestTables:
    TABLE = Table(
        (Column("loss", digits=2), Column("accuracy", percent=True)),
        (Row("one", ((1.0, 2.0), (0.5, 0.6))), Row("other", ((1.5, 2.3), (0.4, None)))),
    )

    def test_means_deviations_and_paired_differences(self):
        lines = self.TABLE.markdown().splitlines()
        assert lines[2] == "| one | 1.50 ± 0.71 | 55.0 ± 7.1 |"
        assert lines[3] == "| other | 1.90 ± 0.57 | … |"
        # differences 0.5 and 0.3: mean 0.4, standard error 0.1, times 12.706
        assert lines[-1] == "| other, less one | +0.40 [−0.87, +1.67] | … |"
        assert not self.TABLE.is_complete

    def test_an_interval_is_student_s(self):
        low, middle, high = interval([1.0, 2.0, 3.0])
        assert (middle, high) == (2.0, pytest.approx(2 + 4.303 / 3**0.5, abs=1e-3)) and low == pytest.approx(4 - high)
        assert interval([1.5]) == (1.5, 1.5, 1.5)

    def test_its_picture_is_drawn(self, tmp_path):
        self.TABLE.draw(tmp_path / "picture.png", "a question")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words, message",
    [
        (["everything"], "unknown experiment 'everything'; choose from rates"),
        (["size", "--seeds", "0"], "--seeds is 0"),
        (["size", "--tasks", "sst2"], "unknown task 'sst2'; choose from sotu-"),
        (["size", "--tasks"], "--tasks: the experiment size needs a task of any kind"),
        (["steps", "--tasks", "sotu-punctuation"], "--tasks: the experiment steps needs a task of sentence"),
        (["features", "--tasks", "sotu-shuffled"], "--tasks: the experiment features needs a task of tokens"),
        (["size", "--steps", "4"], "--steps is 4; expected at least 5"),
        (["size", "--minutes", "-1"], "--minutes is -1"),
    ],
)
def test_bad_options_are_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["experiment", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_a_folder_of_another_configuration_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    settings = {"format": 1, "steps": 7, "seeds": 3, "tasks": list(TASKS), "gpu": False}
    (tmp_path / "out" / "experiment.json").write_text(json.dumps(settings))
    assert cli.main(["experiment", "size", "--out", "out", "--list"]) == 2
    assert "out holds experiments with --steps 7; give the same option" in capsys.readouterr().err
    assert cli.main(["experiment", "size", "--out", "out", "--list", "--steps", "7"]) == 1
    assert "at least 9 cells; the same command continues" in capsys.readouterr().out
    (tmp_path / "out" / "experiment.json").write_text("[]")
    assert cli.main(["experiment", "size", "--out", "out", "--list"]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_tables_are_written_from_what_is_there_without_running(tmp_path, monkeypatch, capsys):
    """Also without the configuration and the models: results travel as they are."""
    Stage(tmp_path).finish_all("size", Budget(10, 2, ("sotu-shuffled",)))
    shutil.rmtree(tmp_path / "work")
    words = ["--out", str(tmp_path), "--steps", "10", "--seeds", "2", "--tasks", "sotu-shuffled"]
    before = sorted(tmp_path.rglob("*.json"))
    assert cli.main(["experiment", "size", *words, "--tables"]) == 0
    assert "4 layers, 256 wide" in (tmp_path / "size.md").read_text()
    assert cli.main(["experiment", "steps", "distillation", *words, "--tables"]) == 1
    assert "…" in (tmp_path / "steps.md").read_text() and "the speeds; the same command" in capsys.readouterr().out
    assert (tmp_path / "steps.png").exists() and sorted(tmp_path.rglob("*.json")) == before
    measured = [Speed(name, use, length, batch, 2, speed) for name, speed in (("teacher", 100.0), ("student", 185.0))
              for use in ("training", "inference") for batch, length in ((1, 32), (16, 128))]  # fmt: skip
    stored = {"format": 1, "speeds": [vars(speed) for speed in measured]}
    (tmp_path / "distillation-speeds.json").write_text(json.dumps(stored))
    cli.main(["experiment", "distillation", *words, "--tables"])
    assert "| inference | 16 | 128 | 100 | 185 | 1.85 |" in (tmp_path / "distillation.md").read_text()
    (tmp_path / "distillation-speeds.json").write_text('{"format": 1, "speeds": [{}]}')
    assert cli.main(["experiment", "distillation", *words, "--tables"]) == 2
    assert "delete it to measure again" in capsys.readouterr().err


def test_a_table_of_curves_is_drawn_and_shares_are_of_the_whole(tmp_path):
    rows = tuple(Row(f"{name} {x}", ((0.5, 0.6),), point=(name, x)) for name in ("one", "two") for x in (10, 20))
    Table((Column("accuracy", percent=True),), rows, x="steps").draw(tmp_path / "picture.png", "a question")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert share((0.9, 0.8), (1.0, 1.0)) == "85.0% [21.5%, 148.5%]"  # 0.05 x 12.706 to each side
    assert share((0.9,), (1.0,)) == "90.0%" and share((None,), (1.0,)) == "…"
    notes = Table((Column("a"),), (Row("one", ((1.0,),)),), notes=("said",)).markdown()
    assert notes.endswith("\n\n- said\n")


@pytest.mark.slow
def test_speeds_of_a_student_and_its_teacher_are_measured(monkeypatch):
    monkeypatch.setattr(speeds, "LEAST", 0.0)
    monkeypatch.setattr(speeds, "TURNS", 1)
    monkeypatch.setattr(student, "CASES", ((1, 8), (2, 8)))
    measured = student.speeds("cpu")
    assert len(measured) == 8 and all(speed.tokens_per_second > 0 for speed in measured)
    assert {(speed.model, speed.sequential_steps) for speed in measured} == {("teacher", 4), ("student", 2)}
    table = student.markdown(measured).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| training"] * 2 + ["| inference"] * 2
