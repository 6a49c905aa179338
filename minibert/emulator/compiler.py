"""Builds libraries with a C++ compiler (see toolchains.py), and caches them.

A library is cached under a name that is a hash of everything it is built from: the source, the emulator's own headers
and runtime, the compiler and its options, this file.  Any change gives a new name: a stale library never runs.
"""

import atexit
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from minibert.emulator.errors import CompileError
from minibert.emulator.toolchains import Compiler, compiler_status, find_compiler

__all__ = ["build_library", "compiler_status", "find_compiler"]

RUNTIME = Path(__file__).parent / "runtime"
HEADER = RUNTIME / "cuda_emulator.h"
DAYS_KEPT = 30  # days that an unused library stays in the cache
MESSAGE_LINES = 40  # lines of the compiler's output in an error


# ------------------------------------------------------------------------------------------------------- building


def build_library(source: str, checked: bool) -> Path:
    """The shared library for a translated source (see source.py), compiled unless it is already cached."""
    compiler = find_compiler()
    runtime = build_runtime(compiler, checked)
    options = compiler.options(checked)

    def compile_kernels(folder: Path, target: Path) -> None:
        text, compiled = folder / "kernels.cpp", folder / "kernels.o"
        text.write_text(source, encoding="utf-8")
        arguments = [*options, "-I", str(RUNTIME), "-c", str(text), "-o", str(compiled), "-include"]
        try:
            run(compiler, [*arguments, str(read_header(compiler, options))])
        except CompileError:  # with the header itself, in case the precompiled one is the reason
            run(compiler, [*arguments, str(HEADER)])
        # linked without -fsanitize: the functions that it calls are in our runtime
        run(compiler, [*compiler.link_options(), str(compiled), str(runtime), "-o", str(target)])

    return kept("kernels", ".so", compile_kernels, compiler, options, compiler.link_options(), runtime.name, source)


def runtime_files() -> str:
    """The contents of all files of the runtime: what is built from them is rebuilt when one changes."""
    return "".join(f"{path}\0{path.read_text(encoding='utf-8')}\0" for path in sorted(RUNTIME.glob("*.*")))


def read_header(compiler: Compiler, options: list[str]) -> Path:
    """The header to include before a kernel, precompiled if possible: parsing it takes half of the compile time.

    When GCC includes some.h, it uses the precompiled header some.h.gch instead, if there is one and it is
    valid.
    """
    if compiler.is_clang:
        return HEADER

    def write(folder: Path, target: Path) -> None:
        target.write_text(f'#include "{HEADER}"\n', encoding="utf-8")

    def precompile(folder: Path, target: Path) -> None:
        run(compiler, [*options, "-I", str(RUNTIME), "-x", "c++-header", str(header), "-o", str(target)])

    parts = (options, runtime_files())
    header = kept("header", ".h", write, compiler, *parts)
    kept("header", ".h.gch", precompile, compiler, *parts)
    return header


def build_runtime(compiler: Compiler, checked: bool) -> Path:
    """The object file of the runtime for one of the two modes; its name changes with any file in that folder."""
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


# -------------------------------------------------------------------------------------------------------- keeping


def kept(name: str, suffix: str, make: Callable, compiler: Compiler, *parts: Any) -> Path:
    """The file built from these parts.  `make` writes it if it does not exist yet: make(a temporary folder, target)."""
    made_of = (Path(__file__).read_text(encoding="utf-8"), compiler.command, compiler.version, parts)
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:24]
    folder = cache_folder()
    path = folder / f"{name}-{digest}{suffix}"
    if path.exists():
        mark_used(path)
        return path
    with tempfile.TemporaryDirectory(prefix="minibert-") as own:
        target = folder / f"{name}-{digest}.{os.getpid()}{suffix}"
        try:
            make(Path(own), target)
            os.replace(target, path)  # atomically: another process sees all of it or nothing
        finally:
            target.unlink(missing_ok=True)
    forget_old(folder)
    return path


def cache_folder() -> Path:
    """Where libraries are cached: under MINIBERT_CACHE or the user's cache folder, or else a temporary folder."""
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
    """Updates the time of last use, at most once a day."""
    try:
        if time.time() - path.stat().st_mtime > 86_400:
            os.utime(path)
    except OSError:  # a read-only cache
        pass


def forget_old(folder: Path) -> None:
    limit = time.time() - DAYS_KEPT * 86_400
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
        except OSError:
            pass  # another process was faster
