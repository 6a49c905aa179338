"""Finds a C++ compiler for kernels (g++, clang++, or the one in the Python package ziglang), and sets its options."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minibert.emulator.errors import NoCompilerError

CANDIDATES = ("g++", "clang++", "c++")

# No floating-point traps and no errno: CUDA has neither.
COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-fno-math-errno", "-fno-trapping-math"]
# No warnings, and debug information only for lines and functions, to map addresses to source lines
# (in DWARF version 4: in version 5, GCC mixes up the file names given in #line directives).
COMMON += ["-w", "-g1", "-gdwarf-4"]
# A thread with too many local variables must touch the guard page below its stack instead of skipping it.
COMMON += ["-fstack-clash-protection"] if sys.platform == "linux" else []
COMMON += ["-fno-threadsafe-statics"]  # all threads of a kernel are fibers of one CPU thread

# Fast mode.
FAST = ["-O2"]

# Check mode.  The compiled code calls the runtime at each memory access (ThreadSanitizer's instrumentation, linked to
# our runtime instead of the compiler's), and before each overflow, misaligned access or out-of-bounds index.
CHECKS = "alignment,bounds,signed-integer-overflow,integer-divide-by-zero,shift,return,unreachable"
CHECKED = ["-O1", "-fsanitize=thread", f"-fsanitize={CHECKS}", "-fno-sanitize-recover=all"]
# A vector load must stay one access instead of being split into one access per element.
GCC_CHECKED = ["-fsanitize=bounds-strict", "--param=tsan-instrument-func-entry-exit=0"]
GCC_CHECKED += ["-fno-tree-sra", "-fno-ipa-sra", "-fno-tree-fre", "-fno-tree-pre", "-fno-tree-dominator-opts"]
# A read-modify-write must also count as a read; and tail calls are disabled, because the source line is found from the
# return address.
CLANG_CHECKED = ["-mllvm", "-tsan-instrument-func-entry-exit=0", "-mllvm", "-tsan-instrument-read-before-write=1"]
CLANG_CHECKED += ["-fno-optimize-sibling-calls"]

# ziglang is clang with its libraries in source form, which it would compile when it first links with them; that takes
# minutes.  Kernels can do without: they need only the system's C library, which Python has already loaded, and the
# functions that runtime/without_library.h provides.
ZIG = ["-fno-stack-protector", "-fno-sanitize-trap=all", "-DEMULATOR_WITHOUT_LIBRARY"]
ZIG += ["-D_LIBCPP_VERBOSE_ABORT(...)=__builtin_abort()"]
ZIG_LINKED = ["-nostdlib"]


@dataclass(frozen=True)
class Compiler:
    command: tuple[str, ...]
    version: str  # the output of --version

    @property
    def is_clang(self) -> bool:
        return "clang" in self.version.lower()

    @property
    def is_zig(self) -> bool:
        return len(self.command) > 1 and Path(self.command[-2]).name in ("zig", "ziglang")

    @property
    def clang_version(self) -> int:
        found = re.search(r"clang version (\d+)", self.version)
        return int(found[1]) if found else 0

    def common(self) -> list[str]:
        return COMMON + (ZIG if self.is_zig else [])

    def options(self, checked: bool) -> list[str]:
        """Return the options for compiling a kernel in check mode or fast mode."""
        if not checked:
            return self.common() + FAST
        if not self.is_clang:
            return self.common() + CHECKED + GCC_CHECKED
        # since clang 16, the bounds of an array at the end of a struct are checked only with this option
        arrays = ["-fstrict-flex-arrays=3"] if self.clang_version >= 16 else []
        return self.common() + CHECKED + CLANG_CHECKED + arrays

    def runtime_options(self, checked: bool) -> list[str]:
        return self.common() + ["-O2", "-fno-exceptions", "-g0"] + (["-DEMULATOR_CHECKS"] if checked else [])

    def link_options(self) -> list[str]:
        return ["-shared", *(ZIG_LINKED if self.is_zig and sys.platform == "linux" else [])]


def find_compiler() -> Compiler:
    """Return the compiler that the environment variable CXX names, or the first one found; raises NoCompilerError."""
    return try_compilers(os.environ.get("CXX", ""))


def candidates() -> list[tuple[str, ...]]:
    """Return the compiler commands to try, in order."""
    found: list[tuple[str, ...]] = [(name,) for name in CANDIDATES]
    if importlib.util.find_spec("ziglang"):
        found.append((sys.executable, "-P", "-m", "ziglang", "c++"))  # -P: not from the current folder
    return found


@cache
def try_compilers(wanted: str) -> Compiler:
    for command in [tuple(shlex.split(wanted))] if wanted else candidates():
        try:
            version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        return Compiler(command, version)
    found = f"CXX={wanted} cannot be run" if wanted else f"none of {', '.join(CANDIDATES)} was found"
    raise NoCompilerError(
        f"emulating kernels requires a C++ compiler, but {found}; install g++ (Debian, Ubuntu: apt install g++; "
        "Fedora: dnf install gcc-c++; macOS: xcode-select --install), pip install ziglang, or set CXX to a compiler"
    )


def compiler_status() -> str | None:
    """Return None if kernels can be compiled; otherwise one line that says what is missing and how to install it."""
    try:
        find_compiler()
    except NoCompilerError as error:
        return str(error)
    return None
