"""The folder of a run, and how it comes to be."""

import fcntl
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minibert.training.checkpoints import FOLDER
from minibert.training.config import OPTIONS, PretrainConfig

RUNS = "runs"  # where runs without --out go


def open_run(config: PretrainConfig) -> tuple[Path, bool]:
    """The run's folder, and whether it was made just now: a fresh one, or that of the run to resume.

    Raises FileExistsError when --out holds something already, FileNotFoundError or ValueError when there is no such run
    to resume, or its options were others.
    """
    if config.resume:
        run = Path(config.out)
        config.check_same_as(PretrainConfig.load(run))
        return run, False
    if config.out is None:
        run, made = fresh_folder(Path(RUNS)), True
    else:
        run = Path(config.out)
        if run.exists() and not run.is_dir():
            raise FileExistsError(f"--out {run} is a file; name a folder for the run")
        if run.is_dir() and not all(map(is_leftover, run.iterdir())):
            what = "holds a run already" if (run / OPTIONS).exists() else "is not empty"
            raise FileExistsError(f"--out {run} {what}; choose another folder, or continue a run with --resume")
        made = not run.exists()
        run.mkdir(parents=True, exist_ok=True)
    config.save(run)
    return run, made


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder.  RuntimeError when one is in it.

    The system lets go of the lock when the process ends, however it ends.
    """
    handle = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"{run} is being trained by another process; wait for it, or stop it first") from None
        yield
    finally:
        os.close(handle)


def fresh_folder(parent: Path) -> Path:
    """Make the next free one of parent/001, parent/002, …"""
    parent.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
    number = max(taken, default=0) + 1
    while True:
        try:
            run = parent / f"{number:03d}"
            run.mkdir()
            return run
        except FileExistsError:  # another run took it a moment ago
            number += 1


def discard(run: Path, made: bool) -> None:
    """Remove what a new run that could not be prepared has written, and the folder too if it was made for it."""
    for path in run.iterdir():
        remove(path)
    if made:
        run.rmdir()


def sweep(run: Path) -> None:
    """Remove what a run that was killed left half-written."""
    for folder in (run, run / FOLDER):
        if folder.is_dir():
            for path in filter(is_leftover, folder.iterdir()):
                remove(path)


def is_leftover(path: Path) -> bool:
    """True for a temporary name of ours: it begins with a dot and ends in .tmp or .old."""
    return path.name.startswith(".") and path.suffix in (".tmp", ".old")


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def how_to_resume(run: Path) -> str:
    """The command that continues a run."""
    return f"minibert pretrain --out {shlex.quote(str(run))} --resume"
