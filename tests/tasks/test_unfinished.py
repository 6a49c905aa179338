"""A fine-tuning that is killed or stopped: its folder says so, and it goes on as if nothing had happened."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from minibert import cli
from minibert.nn.config import read_config
from minibert.tasks import finetune
from minibert.tasks.finetune import finetune_task
from minibert.tasks.task import Task
from minibert.training import step as steps
from minibert.training.checkpoints import list_checkpoints
from minibert.training.interrupts import Stopped
from minibert.training.runs import LOCK, locked

from .small import EPOCHS, SEEDS, STEPS, contents, small_config, write_all, write_model

RESUME = "minibert finetune --out {} --resume"


class Dead(BaseException):
    """The process is gone, and has tidied up nothing."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("files"))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for name in ("plot_curves", "plot_confusion"):
        monkeypatch.setattr(finetune, name, lambda *arguments: None)


def finished(files, folder, **changes):
    """What a fine-tuning without interruption leaves, as bytes by file; its folder is called `out`, too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("plot_curves", "plot_confusion"):
            patch.setattr(finetune, name, lambda *arguments: None)
        finetune_task(small_config(files, folder / "out", **changes))
    return contents(folder / "out")


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    return finished(files, tmp_path_factory.mktemp("whole"))


def at_step(monkeypatch, number, how):
    """Call `how` before a step; number: counted from 1 through all seeds."""
    honest, count = steps.add_gradients, 0

    def add_gradients(*arguments):
        nonlocal count
        count += 1
        if count == number:
            how()
        return honest(*arguments)

    monkeypatch.setattr(steps, "add_gradients", add_gradients)


def die(out):
    """End without tidying up, as SIGKILL does: what `except` and `finally` would remove comes back."""
    shutil.copytree(out, out.with_name("as it was"))
    raise Dead


def killed(files, out, monkeypatch, number, **changes):
    """A fine-tuning that was killed in a step."""
    with monkeypatch.context() as patch:
        at_step(patch, number, lambda: die(out))
        with pytest.raises(Dead):
            finetune_task(small_config(files, out, **changes))
    shutil.rmtree(out, ignore_errors=True)
    out.with_name("as it was").rename(out)
    assert (out / LOCK).exists()  # a lock's file that nobody removed


@pytest.mark.parametrize("number", [1, 5, STEPS + 4])
def test_killed_and_resumed_is_the_same_bit_for_bit(files, whole, tmp_path, monkeypatch, capsys, number):
    out = tmp_path / "out"
    killed(files, out, monkeypatch, number)
    done = (number - 1) // 3 * 3
    assert [path.name for path in list_checkpoints(out / "unfinished")] == [f"step-{done:08d}"] * (done > 0)
    assert (out / "config.json").exists() == (number > STEPS)
    taken = []
    honest = steps.add_gradients
    monkeypatch.setattr(steps, "add_gradients", lambda *given: (taken.append(1), honest(*given))[1])
    assert cli.main(["finetune", "--out", str(out), "--resume"]) == 0
    assert f"resume     from step {done} of {SEEDS * STEPS}" in capsys.readouterr().out
    assert len(taken) == SEEDS * STEPS - done
    assert contents(out) == whole


@pytest.mark.parametrize(("name", "number"), [("SIGINT", 2), ("SIGTERM", STEPS + 2), ("SIGHUP", 4)])
def test_a_signal_saves_and_says_how_to_go_on(request, files, whole, tmp_path, monkeypatch, capsys, name, number):
    out = tmp_path / "out"
    usual = signal.signal(getattr(signal, name), signal.default_int_handler)  # nohup lets SIGHUP be ignored
    request.addfinalizer(lambda: signal.signal(getattr(signal, name), usual))
    with monkeypatch.context() as patch:
        at_step(patch, number, lambda: os.kill(os.getpid(), getattr(signal, name)))
        with pytest.raises(Stopped) as caught:
            finetune_task(small_config(files, out))
    assert caught.value.exit_code == 128 + getattr(signal, name)
    assert str(caught.value).endswith(f"saved; resume with: {RESUME.format(out)}")
    assert [path.name for path in list_checkpoints(out / "unfinished")] == [f"step-{number:08d}"]
    finetune_task(small_config(files, out, resume=True))
    assert contents(out) == whole


@pytest.mark.thorough
@pytest.mark.parametrize(
    "changes",
    [
        dict(patience=1, epochs=6, learning_rate=0.3),
        dict(evaluations=3, accumulate=2),
        dict(frozen=True, layers="weighted"),
    ],
)
def test_so_are_other_recipes(files, tmp_path, monkeypatch, changes):
    whole = finished(files, tmp_path / "whole", **changes)
    out = tmp_path / "out"
    killed(files, out, monkeypatch, 5, **changes)
    finetune_task(small_config(files, out, resume=True, **changes))
    assert contents(out) == whole


@pytest.mark.thorough
def test_killed_again_and_again(files, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    killed(files, out, monkeypatch, 2)
    for _ in range(EPOCHS * SEEDS):
        done = len(list_checkpoints(out / "unfinished"))
        with monkeypatch.context() as patch:
            at_step(patch, 4, lambda: die(out))
            try:
                finetune_task(small_config(files, out, resume=True))
            except Dead:
                shutil.rmtree(out)
                out.with_name("as it was").rename(out)
        assert len(list_checkpoints(out / "unfinished")) >= done or contents(out) == whole
    assert contents(out) == whole


@pytest.fixture(scope="module")
def killed_in_the_second_seed(files, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("plot_curves", "plot_confusion"):
            patch.setattr(finetune, name, lambda *arguments: None)
        out = tmp_path_factory.mktemp("killed") / "out"
        killed(files, out, patch, STEPS + 1)
    return out


class TestRefusals:
    @pytest.fixture
    def unfinished(self, killed_in_the_second_seed, tmp_path):
        """The first seed is done, and its model is in the folder."""
        return Path(shutil.copytree(killed_in_the_second_seed, tmp_path / "out"))

    @pytest.mark.parametrize(
        "words",
        [
            ["predict", "{out}", "{text}"],
            ["compare", "{out}"],
            ["encode", "{out}", "{text}", "--out", "{out}.npy"],
            ["search", "{out}", "{text}", "the cat"],
            ["fill", "{out}", "the [MASK]"],
            ["attention", "{out}", "the cat", "--out", "{out}.html"],
            ["finetune", "{out}", "--task", "sentence", "--train", "{train}"],
            ["pretrain", "{train}", "--from", "{out}", "--out", "{out}-run"],
            ["finetune", "{model}", "--task", "sentence", "--train", "{train}", "--out", "{out}"],
        ],
    )
    def test_every_command_names_it_and_says_how_to_go_on(self, files, unfinished, capsys, words):
        text = unfinished.with_name("lines.txt")
        text.write_text("the cat sees a tree\n")
        names = dict(out=unfinished, text=text, train=files / "train.jsonl", model=files / "model")
        before = contents(unfinished)
        assert cli.main([word.format(**names) for word in words]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"{unfinished} holds a fine-tuning that has not ended; to go on: {RESUME.format(unfinished)}" in said
        assert contents(unfinished) == before

    @pytest.mark.parametrize("load", [Task.load, lambda path: read_config(path, "bert")])
    def test_so_does_the_library(self, unfinished, load):
        with pytest.raises(ValueError, match="has not ended"):
            load(unfinished)

    def test_other_options(self, files, unfinished):
        with pytest.raises(ValueError, match="was started with --seed 0, but this call has 3; omit the option"):
            finetune_task(small_config(files, unfinished, resume=True, seed=3))

    def test_other_examples_and_another_model(self, files, unfinished, tmp_path):
        other = tmp_path / "other"
        shutil.copytree(files, other)
        moved = small_config(other, unfinished, resume=True)
        train = other / "train.jsonl"
        train.write_text(train.read_text().replace("the cat sees", "a cat sees"))
        with pytest.raises(ValueError, match=r"cannot be resumed: the examples are not those"):
            finetune_task(moved)
        shutil.copy(files / "train.jsonl", train)
        write_model(other / "model", seed=2)
        with pytest.raises(ValueError, match=r"cannot be resumed: the pre-trained weights are not those"):
            finetune_task(moved)

    def test_files_that_have_moved_are_the_same_files(self, files, whole, unfinished, tmp_path):
        shutil.copytree(files, tmp_path / "other")
        finetune_task(small_config(tmp_path / "other", unfinished, resume=True))
        got = contents(unfinished)
        assert got["model.safetensors"] == whole["model.safetensors"]
        assert got["metrics.jsonl"] == whole["metrics.jsonl"]

    def test_a_fine_tuning_that_has_ended(self, files, tmp_path, capsys):
        finetune_task(small_config(files, tmp_path / "out", seeds=1, epochs=1))
        before = contents(tmp_path / "out")
        assert cli.main(["finetune", "--out", str(tmp_path / "out"), "--resume"]) == 2
        assert "has ended, so there is nothing to resume" in capsys.readouterr().err
        assert contents(tmp_path / "out") == before

    def test_nothing_to_resume(self, tmp_path, capsys):
        assert cli.main(["finetune", "--out", str(tmp_path), "--resume"]) == 2
        assert "holds no fine-tuning that could be resumed" in capsys.readouterr().err
        assert cli.main(["finetune", "--resume"]) == 2

    @pytest.mark.parametrize(
        "name", ["finetune.json", "made-from.json", "state.json", "progress.json", "best.safetensors"]
    )
    def test_damaged_files(self, unfinished, capsys, name):
        (path,) = (unfinished / "unfinished").rglob(name)
        for damage in (b"", b"[]", b"{", b'{"format": 1}', b"\xff\xfe", b"[" * 100_000):
            path.write_bytes(damage)
            assert cli.main(["finetune", "--out", str(unfinished), "--resume"]) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and (name in said or "the examples are not those" in said)


def test_two_into_one_folder_with_forced_timing(files, whole, tmp_path, monkeypatch):
    """The second comes while the first is before its first step: it is refused, and changes nothing."""
    out, refused = tmp_path / "out", []

    def second():
        before = contents(out)
        for config in (small_config(files, out), small_config(files, out, resume=True)):
            with pytest.raises((RuntimeError, ValueError)) as caught:
                finetune_task(config)
            refused.append(str(caught.value))
        assert contents(out) == before

    at_step(monkeypatch, 1, second)
    finetune_task(small_config(files, out))
    assert "has not ended" in refused[0] and "in use by another process" in refused[1]
    assert contents(out) == whole


def test_the_loser_of_a_race_for_an_empty_folder_changes_nothing(files, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with locked(out):
        (out / ".model.safetensors.123.tmp").write_bytes(b"the winner is writing this")
        before = contents(out)
        with pytest.raises(RuntimeError, match="in use by another process"):
            finetune_task(small_config(files, out))
        assert contents(out) == before


def test_a_failure_before_the_first_epoch_leaves_nothing_and_a_later_one_keeps_it(files, whole, tmp_path, monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    for number, stays in ((2, False), (4, True)):
        with monkeypatch.context() as patch:
            at_step(patch, number, full)
            with pytest.raises(OSError, match="No space left"):
                finetune_task(small_config(files, tmp_path / "out"))
        assert (tmp_path / "out").exists() == stays
    finetune_task(replace(small_config(files, tmp_path / "out"), resume=True))
    assert contents(tmp_path / "out") == whole


def test_the_card_and_the_options_do_not_say_how_it_was_called(whole):
    assert b"--resume" not in whole["README.md"]
    assert "resume" not in json.loads(whole["finetune.json"])
    assert not any(Path(name).parts[0] == "unfinished" for name in whole)
