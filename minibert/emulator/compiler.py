"""Finds a C++ compiler, builds libraries with it, and keeps them.

A library is kept under a name that is a hash of everything it is made of: the source, the emulator's own headers and
runtime, the compiler and its options, this file.  After any change there is another name: an old library never runs.
"""

import atexit
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minibert.emulator.errors import CompileError, NoCompilerError

RUNTIME = Path(__file__).parent / "runtime"
CANDIDATES = ("g++", "clang++", "c++")
DAYS_KEPT = 30  # that a library stays in the cache without being used
MESSAGE_LINES = 40  # of the compiler's, in an error

# No trapping or errno: CUDA has neither.
COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-fno-math-errno", "-fno-trapping-math"]
# No warnings; and of debugging information the lines and functions, by which addresses are told as places in the source
# (in version 4 of its format: in 5, GCC mixes up the names that #line gives).
COMMON += ["-w", "-g1", "-gdwarf-4"]

# Fast mode.
FAST = ["-O2"]

# Check mode.  The compiler calls the runtime at each access to memory (it is told to look for races, but linked to our
# runtime and not to its own), and before each overflow, misaligned access or index that is too large.
CHECKS = "thread,alignment,bounds,signed-integer-overflow,integer-divide-by-zero,shift,return,unreachable"
CHECKED = ["-O1", f"-fsanitize={CHECKS}", "-fno-sanitize-recover=all"]
# A vector that is read at once must stay one access, and not become one for each of its elements.
GCC_CHECKED = ["-fsanitize=bounds-strict", "--param=tsan-instrument-func-entry-exit=0"]
GCC_CHECKED += ["-fno-tree-sra", "-fno-ipa-sra", "-fno-tree-fre", "-fno-tree-pre", "-fno-tree-dominator-opts"]
CLANG_CHECKED = ["-fstrict-flex-arrays=3", "-mllvm", "-tsan-instrument-func-entry-exit=0"]


@dataclass(frozen=True)
class Compiler:
    command: tuple[str, ...]
    version: str  # what it says of itself

    @property
    def is_clang(self) -> bool:
        return "clang" in self.version.lower()

    def options(self, checked: bool) -> list[str]:
        """For a kernel, in one of the two modes."""
        if not checked:
            return COMMON + FAST
        return COMMON + CHECKED + (CLANG_CHECKED if self.is_clang else GCC_CHECKED)

    def runtime_options(self, checked: bool) -> list[str]:
        return COMMON + ["-O2", "-fno-exceptions"] + (["-DEMULATOR_CHECKS"] if checked else [])


def find_compiler() -> Compiler:
    """The compiler that CXX names, or the first one found.  Raises NoCompilerError."""
    return try_compilers(os.environ.get("CXX", ""))


@cache
def try_compilers(wanted: str) -> Compiler:
    commands = [tuple(shlex.split(wanted))] if wanted else [(name,) for name in CANDIDATES]
    for command in commands:
        try:
            version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        return Compiler(command, version)
    found = f"CXX={wanted} does not run" if wanted else f"none of {', '.join(CANDIDATES)} was found"
    raise NoCompilerError(
        f"kernels are emulated with a C++ compiler, but {found}: install g++ (Debian, Ubuntu: apt install g++; "
        "Fedora: dnf install gcc-c++; macOS: xcode-select --install), or name one in CXX"
    )


def compiler_status() -> str | None:
    """None where kernels can be compiled; otherwise one line that says what is missing and how to get it."""
    try:
        find_compiler()
    except NoCompilerError as error:
        return str(error)
    return None


# ------------------------------------------------------------------------------------------------------- building


def build_library(source: str, checked: bool) -> Path:
    """The shared library for a source that has been translated (see source.py), compiled unless it is kept already."""
    compiler = find_compiler()
    runtime = build_runtime(compiler, checked)
    options = compiler.options(checked)

    def compile_kernels(folder: Path, target: Path) -> None:
        text, compiled = folder / "kernels.cpp", folder / "kernels.o"
        text.write_text(source, encoding="utf-8")
        header = ["-I", str(RUNTIME), "-include", str(RUNTIME / "cuda_emulator.h")]
        run(compiler, [*options, *header, "-c", str(text), "-o", str(compiled)])
        # linked without -fsanitize: the functions it asks for are in our runtime
        run(compiler, ["-shared", str(compiled), str(runtime), "-o", str(target)])

    return kept("kernels", ".so", compile_kernels, compiler, options, runtime.name, source)


def build_runtime(compiler: Compiler, checked: bool) -> Path:
    """The object file of the runtime for one of the two modes; its name changes with any file in that folder."""
    options = compiler.runtime_options(checked)
    files = "".join(f"{path.name}\0{path.read_text(encoding='utf-8')}\0" for path in sorted(RUNTIME.glob("*.*")))

    def compile_runtime(folder: Path, target: Path) -> None:
        run(compiler, [*options, "-c", str(RUNTIME / "runtime.cpp"), "-o", str(target)])

    return kept("runtime", ".o", compile_runtime, compiler, options, files)


def run(compiler: Compiler, arguments: list[str]) -> None:
    process = subprocess.run([*compiler.command, *arguments], capture_output=True, text=True, errors="replace")
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines()
        more = [f"... and {len(lines) - MESSAGE_LINES} lines more"] if len(lines) > MESSAGE_LINES else []
        raise CompileError("\n".join([f"{compiler.command[0]} says:", *lines[:MESSAGE_LINES], *more]))


# -------------------------------------------------------------------------------------------------------- keeping


def kept(name: str, suffix: str, make, compiler: Compiler, *parts) -> Path:
    """The file made of these parts.  `make` writes it where there is none yet: make(folder for its own use, target)."""
    made_of = (Path(__file__).read_text(encoding="utf-8"), compiler.command, compiler.version, parts)
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:24]
    folder = cache_folder()
    path = folder / f"{name}-{digest}{suffix}"
    if path.exists():
        mark_used(path)
        return path
    with tempfile.TemporaryDirectory(prefix="minibert-") as own:
        target = folder / f"{path.stem}.{os.getpid()}{suffix}"
        try:
            make(Path(own), target)
            os.replace(target, path)  # at once: another process sees all of it or nothing
        finally:
            target.unlink(missing_ok=True)
    forget_old(folder)
    return path


def cache_folder() -> Path:
    """Where libraries are kept: below MINIBERT_CACHE or the user's folder for caches, or else a temporary folder."""
    return writable_folder(os.environ.get("MINIBERT_CACHE") or os.environ.get("XDG_CACHE_HOME", ""))


@cache
def writable_folder(_: str) -> Path:
    try:
        folder = cache_root() / "emulator"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return folder
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        folder = Path(tempfile.mkdtemp(prefix="minibert-emulator-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


def cache_root() -> Path:
    if "MINIBERT_CACHE" in os.environ:
        return Path(os.environ["MINIBERT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minibert"


def mark_used(path: Path) -> None:
    """Sets the time of last use, once a day."""
    try:
        if time.time() - path.stat().st_mtime > 86_400:
            os.utime(path)
    except OSError:  # a cache that can only be read
        pass


def forget_old(folder: Path) -> None:
    limit = time.time() - DAYS_KEPT * 86_400
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
        except OSError:
            pass  # another process was faster
