"""Compiles the kernels as CuPy does, but without a GPU or its driver: NVIDIA's runtime compiler is a plain library.

    compiler = find_compilers()[0]
    compiled = compiler.compile(file.source(), file.instances(np.float32), 80)

Tests and scripts use it to check that each kernel compiles in each dtype for each architecture; training does not.
"""

import ctypes
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from minibert.ops.gpu.kernels import OPTIONS, CudaFile, crt_folder, nvidia_folders

# what CuPy 14 adds to our own options
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
LAST_70 = 12  # the last version of CUDA that compiles for compute capability 7.0
USAGE = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?:, used \d+ barriers)?(?:, (?P<cumulative>\d+) bytes cumulative stack size)?"
    r"(?:, (?P<shared>\d+) bytes smem)?",
    re.DOTALL,
)


class NvrtcError(RuntimeError):
    """The compiler refused the source; the message is its own."""


@dataclass(frozen=True)
class Usage:
    """The resources of a kernel's thread: registers, bytes of local memory, and how many of those are spilled.

    shared: bytes of shared memory per block that the source declares statically
    """

    registers: int
    local: int
    spilled: int
    shared: int


@dataclass(frozen=True)
class Compiled:
    """cubin: the machine code; usage: by the requested names."""

    cubin: bytes
    usage: dict[str, Usage]


@dataclass(frozen=True)
class Compiler:
    """NVRTC, the library at `path`; headers: the folders of CUDA's own headers."""

    path: Path
    headers: tuple[Path, ...]

    @cached_property
    def library(self) -> ctypes.CDLL:
        library = ctypes.CDLL(str(self.path))
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library

    @cached_property
    def version(self) -> tuple[int, int]:
        """For example (12, 9)."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.check(self.library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        return major.value, minor.value

    def supports(self, capability: int) -> bool:
        count = ctypes.c_int()
        self.check(self.library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        known = (ctypes.c_int * count.value)()
        self.check(self.library.nvrtcGetSupportedArchs(known))
        return capability in known

    def compile(self, source: str, names: list[str], capability: int) -> Compiled:
        """names: kernels, as C++ template instances; capability: 80 for 8.0.  Raises NvrtcError."""
        options = [*OPTIONS, *(f"-I{folder}" for folder in self.headers), *CUPY_OPTIONS]
        options += [f"-arch=sm_{capability}", "--ptxas-options=-v"]
        program = ctypes.c_void_p()
        self.check(
            self.library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
        )
        try:
            for name in names:
                self.check(self.library.nvrtcAddNameExpression(program, name.encode()))
            array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            failed = self.library.nvrtcCompileProgram(program, len(options), array)
            log = self.bytes_of(program, "ProgramLog").decode(errors="replace").rstrip("\0")
            if failed:
                raise NvrtcError(log)
            lowered = {name: self.lowered(program, name) for name in names}
            return Compiled(self.bytes_of(program, "CUBIN"), read_usage(log, lowered))
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def lowered(self, program: ctypes.c_void_p, name: str) -> str:
        """The name of an instance in the machine code."""
        text = ctypes.c_char_p()
        self.check(self.library.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(text)))
        return (text.value or b"").decode()

    def bytes_of(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self.check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self.check(getattr(self.library, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw[: size.value]

    def check(self, status: int) -> None:
        if status:
            raise NvrtcError(self.library.nvrtcGetErrorString(status).decode())


def read_usage(log: str, lowered: dict[str, str]) -> dict[str, Usage]:
    """What ptxas -v reports, by the names in the source.  Raises NvrtcError if a kernel is missing from its report.

    lowered: the name in the machine code for each; identical instances share one.
    """
    reported = {}
    for match in USAGE.finditer(log):
        numbers = {key: int(value or 0) for key, value in match.groupdict().items() if key != "name"}
        spilled = max(numbers["stores"], numbers["loads"])
        local = max(numbers["stack"], numbers["cumulative"], spilled)
        reported[match["name"]] = Usage(numbers["registers"], local, spilled, numbers["shared"])
    if missing := [name for name, machine_name in lowered.items() if machine_name not in reported]:
        raise NvrtcError(f"the compiler's log is missing {', '.join(missing)}: {log[:500]}")
    return {name: reported[machine_name] for name, machine_name in lowered.items()}


def find_compilers() -> list[Compiler]:
    """NVRTC of each installed version of CUDA, from wheels or a toolkit; an empty list if there is none."""
    found: dict[int, Compiler] = {}
    for pattern, headers in (("cu*/lib/libnvrtc.so.*", "../include"), ("cuda_nvrtc/lib/libnvrtc.so.*", None)):
        for folder in nvidia_folders():
            for path in sorted(folder.glob(pattern)):
                folders = [path.parent / headers] if headers else [folder / "cuda_runtime" / "include", crt_folder()]
                add_compiler(found, path, folders)
    toolkit = Path(os.environ.get("CUDA_PATH") or "/usr/local/cuda")
    for path in sorted((toolkit / "lib64").glob("libnvrtc.so")):
        add_compiler(found, path, [toolkit / "include"])
    return [found[major] for major in sorted(found)]


def add_compiler(found: dict[int, Compiler], path: Path, folders: Sequence[Path | None]) -> None:
    """Add a compiler, unless there is one of that version already or its headers are missing."""
    known = tuple(folder.resolve() for folder in folders if folder is not None)
    if any((folder / "crt" / "mma.h").exists() for folder in known):
        compiler = Compiler(path, known)
        found.setdefault(compiler.version[0], compiler)


def compiler_status() -> str | None:
    """None if the kernels can be compiled for GPUs; otherwise what is missing, in one line."""
    if find_compilers():
        return None
    return "NVRTC or its CUDA headers are not installed: pip install -e '.[cuda-check]'"


def dtypes(file: CudaFile, capability: int) -> list[np.dtype]:
    """The dtypes in which a file's kernels exist on a device of that compute capability."""
    from ml_dtypes import bfloat16

    known = (np.dtype(bfloat16 if name == "bfloat16" else name) for name in file.first)
    return [dtype for dtype in known if file.takes(dtype, capability)]


def cuda_files() -> list[CudaFile]:
    """All files of kernels that the launchers in this folder define, file by file."""
    import minibert.ops.gpu as package

    found: dict[int, CudaFile] = {}
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        for value in vars(importlib.import_module(module.name)).values():
            several = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
            for file in several:
                if isinstance(file, CudaFile):
                    found[id(file)] = file
    return sorted(found.values(), key=lambda file: (file.file, file.names))


# ------------------------------------------------------------------------------------------------------ machine code


def find_disassembler() -> str | None:
    """NVIDIA's nvdisasm, from its wheel or a toolkit."""
    for folder in nvidia_folders():
        for path in sorted(folder.glob("*/bin/nvdisasm")):
            return str(path)
    return shutil.which("nvdisasm")


def tensor_core_instructions(cubin: bytes) -> dict[str, int]:
    """How many instructions for tensor cores (HMMA) each kernel has, by its name in the machine code."""
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernels.cubin")
        path.write_bytes(cubin)
        command = [find_disassembler() or "nvdisasm", "--print-code", str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    name = None
    for line in text.splitlines():
        if section := re.match(r"\s*\.section\s+\.text\.(\w+)", line):
            name = section[1]
            counts[name] = 0
        elif name is not None and re.search(r"\bHMMA\.", line):
            counts[name] += 1
    return counts
