"""Atomic creation of folders: a folder is complete or absent, whatever happens while it is written."""

import glob
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minibert.base.files import flush_to_disk

SUFFIX = ".tmp"  # the suffix of incomplete folders


@contextmanager
def new_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """A context manager: a temporary folder, renamed to `folder` on success, or removed if anything fails.

    The caller must flush the files in it to disk before the context ends.  What a killed process left behind on this
    machine is removed by the next process that writes the same folder.  replace: True to delete an existing folder.
    Raises FileExistsError when `folder` exists and is not to be replaced, OSError when the disk is full.
    """
    if folder.exists() and not replace:
        raise FileExistsError(f"{folder} already exists; choose another folder or delete it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.partial-{platform.node()}-"
    _remove_abandoned(folder.parent, prefix)
    partial = folder.parent / f"{prefix}{os.getpid()}{SUFFIX}"
    partial.mkdir()
    try:
        yield partial
        flush_to_disk(partial)
        if folder.exists() and replace:
            remove_folder(folder)
        os.rename(partial, folder)
        flush_to_disk(folder.parent)
    except OSError as error:
        if error.strerror is None:
            raise
        raise OSError(error.errno, f"{error.strerror}: could not write {folder}; nothing was left behind") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder: first rename it atomically, then delete the renamed folder."""
    doomed = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


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
