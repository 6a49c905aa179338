"""The lock of a run's folder: one process at a time, given back however the process ends, and no file left behind."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minibert
from minibert.training.config import PretrainConfig
from minibert.training.runs import LOCK, discard, locked, open_run, sweep

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
