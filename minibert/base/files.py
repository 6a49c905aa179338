"""Atomic file writes: a file is complete or absent, whatever happens while it is written."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_file(path: Path | str, write: Callable[[Path], object]) -> None:
    """Write a file atomically: pass a temporary path to `write`, flush that file to disk, rename it, flush the folder.

    The temporary file is in the same folder.  A reader that opens `path` meanwhile sees the old file or the new one,
    never a partial file.  Raises OSError if writing fails (a full disk, a folder that is not writable), in which case
    no temporary file is left behind.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    try:
        write(Path(temporary))
        flush_to_disk(temporary)
        os.chmod(temporary, 0o666 & ~current_umask())
        os.replace(temporary, path)
        flush_to_disk(path.parent)
    except OSError as error:
        if error.filename is None and error.errno:  # the error of a failed write does not name the file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        Path(temporary).unlink(missing_ok=True)  # the file is already gone if all went well


def write_text(path: Path | str, text: str) -> None:
    """Write a text file in UTF-8, either completely or not at all."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def flush_to_disk(path: Path | str) -> None:
    """Flush a file's content, or a folder's entries, to disk (fsync).

    Windows does not flush folders, nor do some network file systems.
    """
    folder = os.path.isdir(path)
    if os.name == "nt" and folder:
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def current_umask() -> int:
    """The umask of this process: the permission bits that are cleared in the files it creates."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
