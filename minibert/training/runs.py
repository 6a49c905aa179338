"""The folder of a run: finding, creating, locking, and cleaning it.

Nothing in a folder is written or deleted before its lock is held.
"""

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minibert.base.folders import is_leftover, make_folder
from minibert.training.checkpoints import FOLDER
from minibert.training.config import OPTIONS, PretrainConfig

RUNS = "runs"  # default parent folder of runs
LOCK = ".lock.tmp"  # in the folder of a run that is being trained; one of the temporary names (see is_leftover)


@contextmanager
def open_run(config: PretrainConfig) -> Iterator[Path]:
    """A context manager: the locked folder of a new run, or of the run to resume.

    Raises FileExistsError when --out is not empty, FileNotFoundError when there is no such run to resume, ValueError
    when its options were different or cannot be read, RuntimeError when another process holds the lock.
    """
    if config.resume:
        assert config.out is not None  # PretrainConfig has checked this
        run = Path(config.out)
        config.check_same_as(PretrainConfig.load(run))  # before there is a lock in the folder
        with locked(run):
            config.check_same_as(PretrainConfig.load(run))
            sweep(run)
            yield run
    else:
        with new_run(config.out, Path(RUNS), check_empty) as run:
            sweep(run)
            config.save(run)
            yield run


def check_empty(run: Path) -> None:
    """Raise FileExistsError if the folder of a new run is a file or holds anything but minibert's temporary files."""
    if run.exists() and not run.is_dir():
        raise FileExistsError(f"--out {run} is a file; choose a folder for the run")
    if run.is_dir() and not all(map(is_leftover, run.iterdir())):
        what = "already contains a run" if (run / OPTIONS).exists() else "is not empty"
        raise FileExistsError(f"--out {run} {what}; choose another folder, or continue the run in it with --resume")


@contextmanager
def new_run(out: str | None, parent: Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """A context manager: the folder `out`, or a new one in `parent`, created if necessary, and locked.

    check: raises an error if the folder cannot be used.  It is called before anything is created, and again once the
    folder is locked, since another process may have been faster.  A folder that was created here and that is empty in
    the end is removed.
    """
    if out is None:
        folder, made = fresh_folder(parent), True
    else:
        folder = Path(out)
        check(folder)
        made = make_folder(folder)
    try:
        with locked(folder):
            check(folder)
            yield folder
    finally:
        if made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock a run's folder.  Raises RuntimeError if another process holds the lock.

    The system releases the lock when the process ends, however it ends.  The lock's file is removed at the end; if the
    process is killed, it remains, and does no harm.
    """
    from filelock import FileLock, Timeout  # imported here because the library does without it

    lock = FileLock(run / LOCK, timeout=0)
    try:
        lock.acquire()  # not on a file that the previous owner has just removed, which filelock checks
    except Timeout:
        raise RuntimeError(f"{run} is in use by another process; wait for it to finish or stop it") from None
    try:
        yield
    finally:
        if os.name != "nt":
            (run / LOCK).unlink(missing_ok=True)  # before the release: afterwards the file may be another process's
        lock.release()
        if os.name == "nt":
            with suppress(OSError):  # Windows does not remove a file that another process has opened
                (run / LOCK).unlink()


def fresh_folder(parent: Path) -> Path:
    """Create the next free folder among parent/001, parent/002, and so on."""
    make_folder(parent)
    taken = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
    number = max(taken, default=0) + 1
    while True:
        try:
            run = parent / f"{number:03d}"
            run.mkdir()
            return run
        except FileExistsError:  # another run has just made this folder
            number += 1


def discard(run: Path) -> None:
    """Remove all files of a new run whose preparation failed, but for the lock, which has to be held."""
    for path in run.iterdir():
        if path.name != LOCK:
            remove(path)


def sweep(run: Path) -> None:
    """Remove incomplete files and folders that a killed run left behind; the lock has to be held."""
    for folder in (run, run / FOLDER):
        if folder.is_dir():
            for path in filter(is_leftover, folder.iterdir()):
                if path.name != LOCK:
                    remove(path)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def how_to_resume(run: Path) -> str:
    """The command that continues a run."""
    return f"minibert pretrain --out {shlex.quote(str(run))} --resume"
