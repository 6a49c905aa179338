"""The folder of a run, and how it comes to be."""

import shlex
import shutil
from pathlib import Path

from minibert.training.checkpoints import FOLDER
from minibert.training.config import OPTIONS, PretrainConfig

RUNS = "runs"  # where runs without --out go


def open_run(config: PretrainConfig) -> Path:
    """A fresh folder for a new run, or the folder of the run to resume.

    Raises FileExistsError when --out holds something already, FileNotFoundError or ValueError when there is no such run
    to resume, or its options were others.
    """
    if config.resume:
        run = Path(config.out)
        config.check_same_as(PretrainConfig.load(run))
        sweep(run)
        return run
    if config.out is None:
        return fresh_folder(Path(RUNS))
    run = Path(config.out)
    if run.exists() and not run.is_dir():
        raise FileExistsError(f"--out {run} is a file; name a folder for the run")
    if run.is_dir() and any(run.iterdir()):
        what = "holds a run already" if (run / OPTIONS).exists() else "is not empty"
        raise FileExistsError(f"--out {run} {what}; choose another folder, or continue a run with --resume")
    run.mkdir(parents=True, exist_ok=True)
    return run


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


def discard(run: Path) -> None:
    """Remove a new run that could not be prepared."""
    shutil.rmtree(run, ignore_errors=True)


def sweep(run: Path) -> None:
    """Remove what a run that was killed left half-written; such names begin with a dot and end in .tmp or .old."""

    for folder in (run, run / FOLDER):
        if folder.is_dir():
            for path in folder.iterdir():
                if path.name.startswith(".") and path.suffix in (".tmp", ".old"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def how_to_resume(run: Path) -> str:
    """The command that continues a run."""
    return f"minibert pretrain --out {shlex.quote(str(run))} --resume"
