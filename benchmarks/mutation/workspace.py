"""A copy of the working tree that mutants are tried in, and the processes that try them there."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
MEMORY = 6 * 2**30  # bytes that a process may allocate: a mutant may ask for any amount
# imported once, before the processes are forked; minibert itself must not be
HEAVY = (
    "numpy", "numba", "regex", "tqdm", "filelock", "safetensors.numpy", "scipy.special", "matplotlib.pyplot", "pandas",
    "hypothesis", "pytest", "ml_dtypes", "tokenizers", "torch", "transformers", "coverage",
)  # fmt: skip


def default_folder() -> Path:
    """Of this user and this checkout, outside of it."""
    name = "-".join(ROOT.parts[1:])
    return Path(tempfile.gettempdir()) / f"minibert-mutation-{os.getuid()}" / name


class Workspace:
    """tree: the copy; cache: compiled kernels; map: which test executes what; scratch: what processes write."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.tree, self.map, self.scratch = (folder / name for name in ("tree", "map", "scratch"))

    def refresh(self) -> None:
        """Make the copy equal to the working tree, its files' times included: compiled kernels stay valid."""
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        names = {name for name in names if name and (ROOT / name).is_file()}
        for folder in (self.tree, self.map, self.scratch):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in names:
            source, copy = ROOT / name, self.tree / name
            if not copy.exists() or _stamp(source) != _stamp(copy):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)
        for path in self.tree.rglob("*"):
            name = str(path.relative_to(self.tree))
            if path.is_file() and name not in names and "__pycache__" not in name and ".hypothesis" not in name:
                path.unlink()

    def import_heavy(self) -> None:
        """Import what the tests import, so that the forked processes have it."""
        os.environ.update(self.environment())
        for name in HEAVY:
            with suppress(ImportError):
                import_module(name)
        assert not any(name.startswith("minibert") for name in sys.modules), "minibert is imported too early"

    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": f"{self.tree / 'benchmarks' / 'mutation' / 'site'}{os.pathsep}{self.tree}",
            "PYTHONDONTWRITEBYTECODE": "",
            "MINIBERT_CACHE": str(self.folder / "cache"),
            "MPLBACKEND": "Agg",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
        }


def _stamp(path: Path) -> tuple:
    status = path.stat()
    return status.st_size, int(status.st_mtime)


class Process:
    """A forked process that runs action(report) in the copy; report(**values) adds an entry to `events`.

    core: the processor core that it stays on, or None.
    """

    def __init__(self, workspace: Workspace, name: str, core: int | None, action: Callable):
        self.scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=workspace.scratch))
        self.file = self.scratch / "events.jsonl"
        self.file.touch()
        self.began = time.monotonic()
        self.read = 0
        self.code: int | None = None
        self.events: list[dict] = []
        self.id = os.fork()
        if self.id == 0:
            try:
                self._run(workspace, core, action)
                os._exit(0)
            except BaseException as error:
                with suppress(BaseException):
                    print(repr(error), file=sys.stderr, flush=True)
                os._exit(70)

    def _run(self, workspace, core, action) -> None:
        os.setsid()
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {core})
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        output = os.open(self.scratch / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name in ("tmp", "base"):
            (self.scratch / name).mkdir()
        os.environ["TMPDIR"] = str(self.scratch / "tmp")
        tempfile.tempdir = None
        os.chdir(workspace.tree)
        for name in list(sys.modules):
            if name.partition(".")[0] in ("benchmarks", "tests", "scripts"):
                del sys.modules[name]
        sys.path[:] = [str(workspace.tree), *(one for one in sys.path if one not in ("", str(ROOT)))]
        events = open(self.file, "a", buffering=1)

        def report(**values) -> None:
            events.write(json.dumps(values) + "\n")

        action(report)

    def poll(self) -> bool:
        """Read new events; return whether the process has ended."""
        with open(self.file, encoding="utf-8") as file:
            file.seek(self.read)
            while (line := file.readline()).endswith("\n"):
                self.read = file.tell()
                self.events.append({**json.loads(line), "at": time.monotonic()})
        if self.code is None:
            done, status = os.waitpid(self.id, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
                return self.poll()
        return self.code is not None

    def kill(self) -> None:
        """End the process and those that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.id, signal.SIGKILL)
        if self.code is None:
            os.waitpid(self.id, 0)
            self.code = -signal.SIGKILL

    def output(self) -> str:
        path = self.scratch / "output.txt"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def clean(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.id, signal.SIGKILL)  # what a test started and a mutant forgot
        subprocess.run(["chmod", "-R", "u+rwX", str(self.scratch)], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.scratch, ignore_errors=True)
