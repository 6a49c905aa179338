"""Files of Numba's cache, each with a checksum at its end, so that a damaged file is found before its code runs.

Numba reads each file with pickle, which ignores what follows the pickled object.  Without a checksum, a file that is
cut short raises an EOFError deep inside Numba, and altered machine code would run.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile

SUFFIXES = (".nbi", ".nbc")  # of Numba's index files and of its files of machine code
BYTES = hashlib.sha256().digest_size


class CheckedFiles(IndexDataCacheFile):
    """Numba's index and data files of one function; every file that is written ends with the SHA-256 of the rest."""

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[Any]:
        with super()._open_for_write(filepath) as file:
            yield file
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
    """Delete what a cache folder contains if one of its files is cut short or altered, and print one line about it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and not is_intact(path):
            print(
                f"minibert: {path} is damaged, so the compiled kernels in {folder} were deleted; compiling them again",
                file=sys.stderr,
                flush=True,
            )
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            return


def is_intact(path: Path) -> bool:
    """Whether a file ends with the checksum of its other bytes; True for a file that has just been removed."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return True
    return hashlib.sha256(content[:-BYTES]).digest() == content[-BYTES:]
