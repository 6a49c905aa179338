"""Compiles kernels into shared libraries with a C++ compiler (see toolchains.py), and caches the libraries.

The file name of a cached library contains a hash of everything from which it is built: the source, the emulator's own
headers and runtime, the compiler and its options, and this file.  Any change gives a new name, so a stale library is
never used.  A second hash in the name is that of the file's content: a damaged file is deleted and built again.
"""

import atexit
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from minibert.emulator.errors import CompileError
from minibert.emulator.private_folders import is_private, private_folder
from minibert.emulator.toolchains import Compiler, compiler_status, find_compiler

__all__ = ["build_library", "compiler_status", "find_compiler"]

RUNTIME = Path(__file__).parent / "runtime"
HEADER = RUNTIME / "cuda_emulator.h"
DAYS_KEPT = 30  # days that an unused library stays in the cache
MESSAGE_LINES = 40  # maximum lines of compiler output in an error message


# ------------------------------------------------------------------------------------------------------- building


def build_library(source: str, checked: bool) -> Path:
    """Return the path of the shared library for translated source (see source.py), compiling it unless it is cached."""
    compiler = find_compiler()
    runtime = build_runtime(compiler, checked)
    options = compiler.options(checked)

    def compile_kernels(folder: Path, target: Path) -> None:
        text, compiled = folder / "kernels.cpp", folder / "kernels.o"
        text.write_text(source, encoding="utf-8")
        arguments = [*options, "-I", str(RUNTIME), "-c", str(text), "-o", str(compiled), "-include"]
        try:
            run(compiler, [*arguments, str(read_header(compiler, options))])
        except CompileError:  # retry with the header itself, in case the precompiled header is at fault
            run(compiler, [*arguments, str(HEADER)])
        # linked without -fsanitize: the functions that instrumented code calls are in our runtime
        run(compiler, [*compiler.link_options(), str(compiled), str(runtime), "-o", str(target)])

    return kept("kernels", ".so", compile_kernels, compiler, options, compiler.link_options(), runtime.name, source)


def runtime_files() -> str:
    """Return the concatenated contents of all runtime files, as part of the cache key of everything built from them."""
    return "".join(f"{path}\0{path.read_text(encoding='utf-8')}\0" for path in sorted(RUNTIME.rglob("*.*")))


def read_header(compiler: Compiler, options: list[str]) -> Path:
    """Return the header to include before a kernel, precompiled for GCC: parsing it takes half of the compile time.

    When GCC includes some.h, it uses the precompiled header some.h.gch instead if that exists and is valid.
    """
    if compiler.is_clang:
        return HEADER
    text = f'#include "{HEADER}"\n'

    def precompile(folder: Path, target: Path) -> None:
        (folder / "header.h").write_text(text, encoding="utf-8")
        run(compiler, [*options, "-I", str(RUNTIME), "-x", "c++-header", str(folder / "header.h"), "-o", str(target)])

    header = kept("header", ".h.gch", precompile, compiler, options, runtime_files()).with_suffix("")
    if not header.is_file() or header.read_text(encoding="utf-8") != text:
        temporary = header.with_suffix(f".{os.getpid()}.h")
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o600)
        os.replace(temporary, header)
    mark_used(header)
    return header


def build_runtime(compiler: Compiler, checked: bool) -> Path:
    """Return the path of the runtime's object file for check mode or fast mode, compiling it unless it is cached."""
    options, files = compiler.runtime_options(checked), runtime_files()

    def compile_runtime(folder: Path, target: Path) -> None:
        run(compiler, [*options, "-c", str(RUNTIME / "runtime.cpp"), "-o", str(target)])

    return kept("runtime", ".o", compile_runtime, compiler, options, files)


def run(compiler: Compiler, arguments: list[str]) -> None:
    process = subprocess.run([*compiler.command, *arguments], capture_output=True, text=True, errors="replace")
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines()
        more = [f"... and {len(lines) - MESSAGE_LINES} more lines"] if len(lines) > MESSAGE_LINES else []
        raise CompileError("\n".join([f"{compiler.command[0]} says:", *lines[:MESSAGE_LINES], *more]))
    written = Path(arguments[arguments.index("-o") + 1])
    if not written.exists():
        raise CompileError(f"{compiler.command[0]} produced neither a file nor a message; is it a C++ compiler?")


# -------------------------------------------------------------------------------------------------------- caching


def kept(name: str, suffix: str, make: Callable, compiler: Compiler, *parts: Any) -> Path:
    """Return the cached file built from `parts`; if there is none, make(temporary folder, target) writes it first."""
    made_of = (Path(__file__).read_text(encoding="utf-8"), compiler.command, compiler.version, parts)
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:24]
    folder = cache_folder()
    path = find_intact(folder, f"{name}-{digest}-", suffix)
    if path is not None:
        mark_used(path)
        return path
    with tempfile.TemporaryDirectory(prefix="minibert-") as own:
        target = folder / f"{name}-{digest}.{os.getpid()}{suffix}"
        try:
            make(Path(own), target)
            target.chmod(0o700)  # whatever the umask: nobody else may write to what is run
            path = folder / f"{name}-{digest}-{content_hash(target, time.time_ns())}{suffix}"
            os.replace(target, path)  # atomic: another process sees the complete file or none
        finally:
            target.unlink(missing_ok=True)
    forget_old(folder)
    return path


def find_intact(folder: Path, prefix: str, suffix: str) -> Path | None:
    """Return the cached file whose name is `prefix`, the hash of its content and `suffix`; None if there is none.

    Files whose content is another, and files that others may write to, are deleted, with one line on standard error.
    """
    for path in sorted(folder.glob(f"{prefix}*{suffix}")):
        named = path.name.removeprefix(prefix).removesuffix(suffix)
        try:
            status, private = path.stat(), is_private(path)
            if private and named == content_hash(path, status.st_size, status.st_mtime_ns):
                return path
            path.unlink()
        except FileNotFoundError:  # another process has removed it meanwhile
            continue
        problem = "is damaged" if private else "is not only yours to write to"
        print(f"minibert: {path} {problem}; it was deleted and is compiled again", file=sys.stderr, flush=True)
    return None


@cache
def content_hash(path: Path, *version: int) -> str:
    """Return a hash of a file's content; `version` tells apart the contents that a path has had."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def cache_folder() -> Path:
    """Return the cache folder, in MINIBERT_CACHE or the user's cache folder; if not writable, a temporary folder.

    Raises ValueError if others may write to it; see private_folders.py.
    """
    return writable_folder(os.environ.get("MINIBERT_CACHE") or os.environ.get("XDG_CACHE_HOME", ""))


@cache
def writable_folder(_: str) -> Path:
    try:
        folder = private_folder(cache_root(), "emulator")
        tempfile.TemporaryFile(dir=folder).close()
        return folder
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        folder = Path(tempfile.mkdtemp(prefix="minibert-emulator-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


def cache_root() -> Path:
    if os.environ.get("MINIBERT_CACHE"):
        return Path(os.environ["MINIBERT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minibert"


def mark_used(path: Path) -> None:
    """Update the file's modification time, which serves as its time of last use, at most once a day."""
    try:
        if time.time() - path.stat().st_mtime > 86_400:
            os.utime(path)
    except OSError:  # the cache is read-only
        pass


def forget_old(folder: Path) -> None:
    limit = time.time() - DAYS_KEPT * 86_400
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
        except OSError:
            pass  # another process has already removed it
