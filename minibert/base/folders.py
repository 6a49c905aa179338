"""Atomic creation of folders: a folder is complete or absent, whatever happens while it is written."""

import glob
import os
import platform
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minibert.base.files import flush_to_disk

UNFINISHED = "unfinished"  # in a model's folder: the state of a fine-tuning that has not ended
SUFFIX = ".tmp"  # the suffix of incomplete folders
OLD = ".old"  # the suffix of folders that are being deleted


def make_folder(folder: Path) -> bool:
    """Create a folder and its parents if they do not exist, on disk as well; returns whether it was created now."""
    made = not folder.exists()
    lacking = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in lacking:
        flush_to_disk(path.parent)
    return made


@contextmanager
def new_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """A context manager: a temporary folder, renamed to `folder` on success, or removed if anything fails.

    The caller must flush the files in it to disk before the context ends.  What a killed process left behind on this
    machine is removed by the next process that writes the same folder.  replace: True to delete an existing folder.
    Raises FileExistsError when `folder` exists and is not to be replaced, OSError when the disk is full.
    """
    if folder.exists() and not replace:
        raise FileExistsError(f"{folder} already exists; choose another folder or delete it")
    make_folder(folder.parent)
    prefix = f".{folder.name}.partial-{platform.node()}-"
    _remove_abandoned(folder.parent, prefix)
    partial = folder.parent / f"{prefix}{os.getpid()}{SUFFIX}"
    partial.mkdir()
    try:
        yield partial
        flush_to_disk(partial)
        doomed = set_aside(folder) if folder.exists() and replace else None
        os.rename(partial, folder)
        flush_to_disk(folder.parent)
        if doomed is not None:
            shutil.rmtree(doomed)
    except OSError as error:
        if error.strerror is None:
            raise
        raise OSError(error.errno, f"{error.strerror}: could not write {folder}; nothing was left behind") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder: first rename it atomically, then delete the renamed folder."""
    doomed = set_aside(folder)
    flush_to_disk(folder.parent)
    shutil.rmtree(doomed)


def set_aside(folder: Path) -> Path:
    """Rename a folder that is to be deleted, and return it under its temporary name."""
    doomed = folder.with_name(f".{folder.name}.{os.getpid()}{OLD}")
    shutil.rmtree(doomed, ignore_errors=True)  # of a killed process with the same number
    os.rename(folder, doomed)
    return doomed


def is_unfinished(folder: Path | str) -> bool:
    """Whether a folder holds a fine-tuning that has not ended."""
    return (Path(folder) / UNFINISHED).is_dir()


def check_finished(folder: Path | str) -> None:
    """Raise ValueError if a folder holds a fine-tuning that has not ended."""
    if is_unfinished(folder):
        raise ValueError(
            f"{folder} holds a fine-tuning that has not ended; to go on: "
            f"minibert finetune --out {shlex.quote(str(folder))} --resume"
        )


def is_leftover(path: Path) -> bool:
    """Whether the name is one of minibert's temporary names, which begin with a dot and end in .tmp or .old."""
    return path.name.startswith(".") and path.suffix in (SUFFIX, OLD)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for path in parent.glob(glob.escape(prefix) + "*"):
        process = path.name.removeprefix(prefix).removesuffix(SUFFIX)
        if process.isdigit() and (int(process) == os.getpid() or not _is_running(int(process))):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # Windows offers no query by signal 0: os.kill would end the process
        return True
    try:
        os.kill(process, 0)  # signal 0 only asks whether the process exists
    except ProcessLookupError:
        return False
    except OSError:  # the process exists and belongs to another user
        return True
    return True
