"""Find NumPy's BLAS library, call its C functions, and get or set its number of threads."""

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# How a library decorates its function names, and the width of its integers in bits; `{}` stands for the plain name,
# such as "cblas_sgemm".  Builds with 64-bit integers (ILP64) have 64 in their function names.
NAMES = (("scipy_{}64_", 64), ("{}64_", 64), ("{}_64", 64), ("scipy_{}", 32), ("{}", 32))


GET_THREADS, SET_THREADS = "openblas_get_num_threads", "openblas_set_num_threads"


class Blas:
    """A loaded BLAS library.

    path        the path of the library file
    pattern     how its function names are decorated; see NAMES
    bits        the width of its integers in bits: 64 (ILP64) or 32
    """

    def __init__(self, path: str):
        self.path = path
        self.loaded = ctypes.CDLL(path)
        for self.pattern, self.bits in NAMES:
            if self.has("cblas_sgemm"):
                return
        raise OSError(f"{path} has no C interface to BLAS")

    def has(self, name: str) -> bool:
        """Whether the library has a function of this name; names are undecorated, such as "cblas_sgemm"."""
        return hasattr(self.loaded, self.pattern.format(name))

    def function(self, name: str) -> Any:
        """One of the library's functions, callable from Python."""
        return getattr(self.loaded, self.pattern.format(name))

    def address(self, name: str) -> int:
        """The memory address of one of the library's functions."""
        return ctypes.cast(self.function(name), ctypes.c_void_p).value or 0

    def threads(self, wanted: int | None = None) -> int | None:
        """The library's number of threads, which is first set to `wanted` if that is given; None if unknown."""
        if not self.has(GET_THREADS):
            return None
        if wanted is not None:
            self.function(SET_THREADS)(wanted)
        return self.function(GET_THREADS)()

    def kernels_for(self) -> str | None:
        """The processor type for which OpenBLAS has selected its kernels, such as "Haswell"; None if not OpenBLAS."""
        if not self.has("openblas_get_corename"):
            return None
        name = self.function("openblas_get_corename")
        name.restype = ctypes.c_char_p
        return name().decode()


def candidates() -> Iterator[str]:
    """Paths of possible BLAS libraries: only MINIBERT_BLAS if it is set, otherwise NumPy's own, then the system's."""
    if "MINIBERT_BLAS" in os.environ:
        yield os.environ["MINIBERT_BLAS"]
        return
    package = Path(np.__file__).parent
    for folder in (package.with_name("numpy.libs"), package / ".dylibs"):  # in the wheels for Linux and macOS
        yield from map(str, sorted(folder.glob("*openblas*")))
    if sys.platform == "darwin":
        yield "/System/Library/Frameworks/Accelerate.framework/Accelerate"
    for name in ("cblas", "openblas", "mkl_rt", "blas"):
        if found := ctypes.util.find_library(name):
            yield found


def find_blas() -> Blas:
    """The first candidate library with a C interface to BLAS.  Raises OSError if there is none."""
    reasons = []
    for path in candidates():
        try:
            return Blas(path)
        except OSError as error:
            reasons.append(str(error))
    raise OSError(
        "no BLAS with a C interface was found; install NumPy from a wheel, set MINIBERT_BLAS to an OpenBLAS, or use "
        "--backend reference" + "".join(f" ({reason})" for reason in reasons)
    )
