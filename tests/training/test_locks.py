"""The lock of a run's folder: one process at a time, given back however the process ends, and no file left behind."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minibert
from minibert import cli
from minibert.base.files import write_text
from minibert.base.folders import new_folder
from minibert.experiments.cells import Cell, Store
from minibert.experiments.runner import Runner
from minibert.training import runs
from minibert.training.config import PretrainConfig
from minibert.training.runs import LOCK, discard, locked, open_run, sweep

from .tiny import write_corpus

HOLD = """
import sys
from pathlib import Path
from minibert.training.runs import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_another_process_holds_the_lock_until_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match="is in use by another process; wait for it to finish or stop it"):
            with locked(tmp_path):
                pass
        process.kill()
    assert (tmp_path / LOCK).exists()  # nobody could remove it
    with locked(tmp_path):
        with pytest.raises(RuntimeError, match="another process"), locked(tmp_path):
            pass
        sweep(tmp_path)  # removes what a killed run left behind, but not the lock
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_run_counts_as_an_empty_folder(tmp_path):
    (tmp_path / LOCK).touch()
    with open_run(PretrainConfig(out=str(tmp_path))) as run:
        assert run == tmp_path and (run / "pretrain.json").exists()
        discard(run)
    assert list(tmp_path.iterdir()) == []


def test_no_module_imports_what_only_some_systems_have():
    """fcntl, pwd and the like are Unix's, msvcrt is Windows's; what is imported inside a function may be missing."""
    of_one_system = {"fcntl", "pwd", "grp", "termios", "tty", "pty", "msvcrt", "winreg", "_winapi", "resource"}
    for path in Path(minibert.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert of_one_system.isdisjoint(names), path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused_while_locked(folder, capsys, *words):
    """Another process holds the lock, as if it had come first by a moment: one line, exit 2, and nothing changes."""
    folder.mkdir(exist_ok=True)
    with locked(folder):
        (folder / ".vocab.txt.abc.tmp").write_text("another process is writing this")
        before = contents(folder)
        assert cli.main(list(words)) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"{folder} is in use by another process; wait for it to finish or stop it" in said
        assert contents(folder) == before
    (folder / ".vocab.txt.abc.tmp").unlink()
    assert not list(folder.iterdir())


def test_the_second_of_every_command_changes_nothing(tmp_path, capsys):
    write_corpus(tmp_path / "text.txt")
    out, text = tmp_path / "out", str(tmp_path / "text.txt")
    refused_while_locked(out, capsys, "pretrain", text, "--out", str(out), "--backend", "reference")
    refused_while_locked(out, capsys, "vocab", text, "--out", str(out))
    refused_while_locked(out, capsys, "experiment", "rates", "--out", str(out))
    refused_while_locked(out, capsys, "experiment", "rates", "--out", str(out), "--tables")


def test_a_folder_that_another_process_filled_in_the_meantime_is_left_as_it_is(tmp_path, monkeypatch):
    """The first look at the folder is too early: it is looked at again once it is locked."""
    out = tmp_path / "out"
    honest = runs.make_folder

    def make_folder(folder):
        made = honest(folder)
        (folder / "pretrain.json").write_text("of the winner")
        return made

    monkeypatch.setattr(runs, "make_folder", make_folder)
    with pytest.raises(FileExistsError, match="already contains a run"), open_run(PretrainConfig(out=str(out))):
        pass
    assert [path.read_text() for path in out.iterdir()] == ["of the winner"]


def test_a_lock_is_not_taken_on_a_file_that_its_owner_removes(tmp_path):
    """Between opening the lock's file and locking it, the owner ends: the file is no longer the folder's."""
    from filelock import FileLock, Timeout

    with locked(tmp_path):
        late = FileLock(tmp_path / LOCK, timeout=0)
        with pytest.raises(Timeout):
            late.acquire()
    with locked(tmp_path):  # makes a new file
        with pytest.raises(Timeout):
            late.acquire()
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_another_process_still_trains_is_not_deleted(tmp_path):
    """The experiment was killed, but the process that it started goes on."""
    cell = Cell.of("finetune", run="model", task="sotu-era", seed=0)
    folder = tmp_path / cell.key
    folder.mkdir()
    (folder / "vocab.txt").write_text("a")
    runner = Runner(Store(tmp_path / "cells"), tmp_path, 1, 1)
    with locked(folder), pytest.raises(RuntimeError, match="in use by another process"):
        runner.start(cell)
    assert (folder / "vocab.txt").read_text() == "a"


def test_files_and_folders_are_flushed_to_disk_in_order(tmp_path, monkeypatch):
    """A file before it is renamed, and its folder afterwards: otherwise a power cut may leave an empty file."""
    events = []
    honest_sync, honest_replace, honest_rename = os.fsync, os.replace, os.rename

    def name_of(handle):
        return Path(os.readlink(f"/proc/self/fd/{handle}")).name

    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(f"fsync {name_of(handle)}"), honest_sync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), honest_replace(a, b)))
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append("rename"), honest_rename(a, b)))
    write_text(tmp_path / "file", "text")
    assert events[0].startswith("fsync .file.") and events[1:] == ["rename", f"fsync {tmp_path.name}"]
    events.clear()
    with new_folder(tmp_path / "parent" / "folder") as partial:
        write_text(partial / "file", "text")
    assert events[0] == f"fsync {tmp_path.name}" and events[-2:] == ["rename", "fsync parent"]
    assert events[-3].startswith("fsync .folder.partial-")
