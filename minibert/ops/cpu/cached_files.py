"""Files of Numba's cache, each with a checksum at its end, so that a damaged file is found before its code runs.

Numba reads each file with pickle, which ignores what follows the pickled object.  Without a checksum, a file that is
cut short raises an EOFError deep inside Numba, and altered machine code would run.

The checksum finds damage, not malice: pickle runs what a file tells it to.  Against that, only this user may write to
the files.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile

from minibert.base.private_folders import is_private

SUFFIXES = (".nbi", ".nbc")  # of Numba's index files and of its files of machine code
BYTES = hashlib.sha256().digest_size


class CheckedFiles(IndexDataCacheFile):
    """Numba's index and data files of one function; every file that is written ends with the SHA-256 of the rest."""

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[Any]:
        with super()._open_for_write(filepath) as file:
            yield file
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o600)
            file.flush()
            file.write(hashlib.sha256(Path(file.name).read_bytes()).digest())


def check_files_of(kernel: Callable) -> None:
    """Make a compiled function that is cached write its files with checksums."""
    cache: Any = kernel._cache  # type: ignore[attr-defined]
    files = cache._cache_file
    cache._cache_file = CheckedFiles(
        files._cache_path, files._index_name.removesuffix(SUFFIXES[0]), files._source_stamp
    )


def delete_if_damaged(folder: Path) -> None:
    """Delete what a cache folder contains if one of its files is cut short or altered, and print one line about it.

    The same goes for a file of another user, and for one that others may write to.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and (problem := problem_of(path)):
            print(
                f"minibert: {path} {problem}, so the compiled kernels in {folder} were deleted; compiling them again",
                file=sys.stderr,
                flush=True,
            )
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(0o700, parents=True, exist_ok=True)
            return


def problem_of(path: Path) -> str | None:
    """What is wrong with a cached file; None if nothing is, or if it has just been removed."""
    try:
        if not is_private(path):
            return "is not only yours to write to"
    except FileNotFoundError:
        return None
    return None if is_intact(path) else "is damaged"


def is_intact(path: Path) -> bool:
    """Whether a file ends with the checksum of its other bytes; True for a file that has just been removed."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return True
    return hashlib.sha256(content[:-BYTES]).digest() == content[-BYTES:]
