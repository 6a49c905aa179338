"""Compiled kernels: kept, never stale, and not needed to be kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minibert

PACKAGE = Path(minibert.__file__).parent
USE_TANH = """
import numpy as np
from minibert.ops.cpu.activations import tanh_forward
from minibert.ops.cpu import compiler
print(tanh_forward(np.ones((2, 2), np.float32))[0][0, 0])
"""


def run(program: str, folder: Path, **environment) -> subprocess.CompletedProcess:
    """The program in a process of its own, with the package that lies in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(folder), **environment}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=folder, text=True, capture_output=True, timeout=120
    )


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, to be edited."""
    shutil.copytree(PACKAGE, tmp_path / "minibert", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def kernels(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.nbi"))


SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("file", [pytest.param("compiler.py", marks=SLOW), "dropout.py"])
def test_an_edit_of_any_file_takes_effect_on_the_next_run(copy, tmp_path, file):
    """Numba alone would see neither: the kernel `tanh` is in activations.py."""
    cache = tmp_path / "cache"
    first = run(USE_TANH, copy, MINIBERT_CACHE=str(cache))
    assert float(first.stdout) == pytest.approx(0.7615942, rel=1e-6)
    before = kernels(cache)
    assert len(before) == 1
    assert run(USE_TANH, copy, MINIBERT_CACHE=str(cache)).stdout == first.stdout
    assert kernels(cache) == before  # found, not compiled again

    path = copy / "minibert" / "ops" / "cpu" / file
    path.write_text(path.read_text() + "\n# edited\n")
    assert run(USE_TANH, copy, MINIBERT_CACHE=str(cache)).stdout == first.stdout
    assert len(kernels(cache)) == 2


@pytest.mark.slow
def test_an_edited_helper_of_another_file_is_what_runs(copy, tmp_path):
    program = """
import numpy as np
from minibert.ops.cpu.rows import gather_rows_backward
print(gather_rows_backward(np.ones((1, 1), np.float32), (np.zeros(1, np.int32), (1, 1)))[0, 0])
"""
    environment = dict(MINIBERT_CACHE=str(tmp_path / "cache"))
    assert run(program, copy, **environment).stdout == "1.0\n"
    path = copy / "minibert" / "ops" / "cpu" / "embedding.py"
    text = path.read_text()
    assert text.count("sums[j] += row[j]") == 1
    path.write_text(text.replace("sums[j] += row[j]", "sums[j] += 2 * row[j]"))
    assert run(program, copy, **environment).stdout == "2.0\n"


def test_old_versions_are_removed(copy, tmp_path):
    from minibert.ops.cpu.compiler import KEPT

    root = tmp_path / "cache" / "kernels"
    for number in range(KEPT + 3):
        (root / f"old{number}").mkdir(parents=True)
        os.utime(root / f"old{number}", (number, number))
    run("import minibert.ops.cpu", copy, MINIBERT_CACHE=str(tmp_path / "cache"))
    kept = {path.name for path in root.iterdir()}
    assert len(kept) == KEPT + 1 and {f"old{KEPT + 2}", "old3"} <= kept and "old2" not in kept


@pytest.mark.slow
def test_a_damaged_cache_is_deleted_and_rebuilt_with_one_line(copy, tmp_path):
    environment = dict(MINIBERT_CACHE=str(tmp_path / "cache"))
    first = run(USE_TANH, copy, **environment)
    assert first.stderr == "" and len(kernels(tmp_path / "cache")) == 1
    (index,), (code,) = kernels(tmp_path / "cache"), (tmp_path / "cache").rglob("*.nbc")
    index.write_bytes(b"")
    code.write_bytes(bytes(range(256)) * 8)
    again = run(USE_TANH, copy, **environment)
    assert again.returncode == 0 and again.stdout == first.stdout
    assert again.stderr.count("\n") == 1 and f"{code} is damaged" in again.stderr
    again = run(USE_TANH, copy, **environment)
    assert (again.stdout, again.stderr) == (first.stdout, "")


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "one byte", "longer"])
def test_every_kind_of_damage_is_found(tmp_path, capsys, damage):
    from minibert.ops.cpu.cached_files import CheckedFiles, delete_if_damaged

    files = CheckedFiles(str(tmp_path), "kernel", "stamp")
    files.save("key", {"code": bytes(100)})
    assert files.load("key") == {"code": bytes(100)}
    delete_if_damaged(tmp_path)
    assert capsys.readouterr().err == "" and files.load("key") is not None
    for suffix in (".nbi", ".1.nbc"):
        files.save("key", {"code": bytes(100)})
        path = tmp_path / f"kernel{suffix}"
        content = path.read_bytes()
        middle = len(content) // 2
        damaged = {
            "empty": b"",
            "cut": content[:middle],
            "noise": bytes(reversed(content)),
            "one byte": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "longer": content + b"\0",
        }[damage]
        path.write_bytes(damaged)
        delete_if_damaged(tmp_path)
        assert capsys.readouterr().err.count("\n") == 1 and list(tmp_path.iterdir()) == []
        assert files.load("key") is None


def test_an_empty_name_of_the_cache_folder_means_the_default(tmp_path, monkeypatch):
    from minibert.emulator import compiler as emulators
    from minibert.ops.cpu import compiler

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for folder, expected in (("", tmp_path / "minibert"), (str(tmp_path / "own"), tmp_path / "own")):
        monkeypatch.setenv("MINIBERT_CACHE", folder)
        assert compiler.cache_root() == emulators.cache_root() == expected


@pytest.mark.slow
def test_where_nothing_can_be_kept_it_works_with_one_warning(copy, tmp_path):
    (tmp_path / "file").write_text("a file is no folder")
    result = run(USE_TANH, copy, MINIBERT_CACHE=str(tmp_path / "file" / "cache"))
    assert result.returncode == 0 and float(result.stdout) == pytest.approx(0.7615942, rel=1e-6)
    assert result.stderr.count("RuntimeWarning") == 1 and "MINIBERT_CACHE" in result.stderr


@pytest.mark.slow
def test_without_a_home_folder_it_works_too(copy, tmp_path):
    program = "import os\nfor name in ('HOME', 'XDG_CACHE_HOME', 'MINIBERT_CACHE'): os.environ.pop(name, None)\n"
    program += "import pathlib\ndef home(): raise RuntimeError('Could not determine home directory.')\n"
    result = run(program + "pathlib.Path.home = home\n" + USE_TANH, copy)
    assert result.returncode == 0 and result.stderr.count("RuntimeWarning") == 1


@pytest.mark.thorough
def test_first_use_compiles_all_with_a_message_and_the_second_is_quick(copy, tmp_path):
    program = "import time; began = time.perf_counter(); from minibert.ops import load_backend; load_backend('cpu');"
    program += "print(time.perf_counter() - began)"
    environment = dict(MINIBERT_CACHE=str(tmp_path / "cache"))
    first = run(program, copy, **environment)
    assert first.stderr.startswith("minibert: compiling the CPU kernels, up to ") and first.stderr.count("\n") == 1
    compiled = kernels(tmp_path / "cache")
    assert len(compiled) > 15
    second = run(program, copy, **environment)
    assert second.stderr == "" and float(second.stdout) < 2
    assert kernels(tmp_path / "cache") == compiled
