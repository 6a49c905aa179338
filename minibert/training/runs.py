"""The folder of a run: finding, creating, locking, and cleaning it."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minibert.training.checkpoints import FOLDER
from minibert.training.config import OPTIONS, PretrainConfig

RUNS = "runs"  # default parent folder of runs
LOCK = ".lock.tmp"  # in the folder of a run that is being trained; one of the temporary names (see is_leftover)


def open_run(config: PretrainConfig) -> tuple[Path, bool]:
    """Open the folder of a new run or of the run to resume; return it, and whether it was created now.

    Raises FileExistsError when --out is not empty, FileNotFoundError when there is no such run to resume, ValueError
    when its options were different or cannot be read.
    """
    if config.resume:
        assert config.out is not None  # PretrainConfig has checked this
        run = Path(config.out)
        config.check_same_as(PretrainConfig.load(run))
        return run, False
    if config.out is None:
        run, made = fresh_folder(Path(RUNS)), True
    else:
        run = Path(config.out)
        if run.exists() and not run.is_dir():
            raise FileExistsError(f"--out {run} is a file; choose a folder for the run")
        if run.is_dir() and not all(map(is_leftover, run.iterdir())):
            what = "already contains a run" if (run / OPTIONS).exists() else "is not empty"
            raise FileExistsError(f"--out {run} {what}; choose another folder, or continue the run in it with --resume")
        made = not run.exists()
        run.mkdir(parents=True, exist_ok=True)
    config.save(run)
    return run, made


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock a run's folder.  Raises RuntimeError if another process holds the lock.

    The system releases the lock when the process ends, however it ends.  The lock's file is removed at the end; if the
    process is killed, it remains, and does no harm.
    """
    from filelock import FileLock, Timeout  # imported here because the library does without it

    lock = FileLock(run / LOCK, timeout=0)
    try:
        lock.acquire()
        while not (run / LOCK).exists():  # the process that held the lock has just removed the file
            lock.release()
            lock.acquire()
    except Timeout:
        raise RuntimeError(f"{run} is being trained by another process; wait for it to finish or stop it") from None
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # another process has opened it, and the system does not allow removing an open file
            (run / LOCK).unlink()


def fresh_folder(parent: Path) -> Path:
    """Create the next free folder among parent/001, parent/002, and so on."""
    parent.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
    number = max(taken, default=0) + 1
    while True:
        try:
            run = parent / f"{number:03d}"
            run.mkdir()
            return run
        except FileExistsError:  # another run has just made this folder
            number += 1


def discard(run: Path, made: bool) -> None:
    """Remove the files of a new run whose preparation failed, and the folder if it was created for the run.

    The run must not be locked, since some systems do not remove an open file.
    """
    for path in run.iterdir():
        remove(path)
    if made:
        run.rmdir()


def sweep(run: Path) -> None:
    """Remove incomplete files and folders that a killed run left behind."""
    for folder in (run, run / FOLDER):
        if folder.is_dir():
            for path in filter(is_leftover, folder.iterdir()):
                if path.name != LOCK:
                    remove(path)


def is_leftover(path: Path) -> bool:
    """Whether the name is one of minibert's temporary names, which begin with a dot and end in .tmp or .old."""
    return path.name.startswith(".") and path.suffix in (".tmp", ".old")


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def how_to_resume(run: Path) -> str:
    """The command that continues a run."""
    return f"minibert pretrain --out {shlex.quote(str(run))} --resume"
