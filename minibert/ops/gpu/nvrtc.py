"""Compile the kernels as CuPy does, but without a GPU or driver, by calling NVIDIA's runtime compiler NVRTC directly.

    compiler = find_compilers()[0]
    compiled = compiler.compile(file.source(), file.instances(np.float32), 80)

Tests and scripts use this module to check that each kernel compiles in each dtype for each architecture.  Training does
not use it.
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

# the options that CuPy 14 adds to our own
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
    """A failed compilation, or another error from NVRTC; the message is usually the compiler's own."""


@dataclass(frozen=True)
class Usage:
    """The resources that a kernel uses.

    registers   registers per thread
    local       local memory per thread, in bytes
    spilled     bytes of local memory per thread that hold spilled registers
    shared      statically declared shared memory per block, in bytes
    """

    registers: int
    local: int
    spilled: int
    shared: int


@dataclass(frozen=True)
class Compiled:
    """The result of a compilation.

    cubin   the machine code
    usage   kernel name, as requested -> the resources that the kernel uses
    """

    cubin: bytes
    usage: dict[str, Usage]


@dataclass(frozen=True)
class Compiler:
    """One installed version of NVRTC, NVIDIA's runtime compiler.

    path      the path of the library file
    headers   the folders of CUDA's own headers
    """

    path: Path
    headers: tuple[Path, ...]

    @cached_property
    def library(self) -> ctypes.CDLL:
        library = ctypes.CDLL(str(self.path))
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library

    @cached_property
    def version(self) -> tuple[int, int]:
        """NVRTC's version as (major, minor), for example (12, 9)."""
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
        """Compile kernels for one compute capability.

        names: the kernels, as C++ template instances; capability: the compute capability times ten, 80 for 8.0.
        Raises NvrtcError if the compilation fails.
        """
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
        """The name in the machine code of a kernel's template instance."""
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
    """Parse the resources of each kernel from the output of ptxas -v; the result maps names in the source to them.

    lowered: name in the source -> name in the machine code, which identical instances share.
    Raises NvrtcError if a kernel is missing from the output.
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
    """The NVRTC compiler of each installed major version of CUDA, from wheels or a toolkit; [] if there is none."""
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
    """Add the compiler at `path` to `found`, unless its major version is already there or its headers are missing."""
    known = tuple(folder.resolve() for folder in folders if folder is not None)
    if any((folder / "crt" / "mma.h").exists() for folder in known):
        compiler = Compiler(path, known)
        found.setdefault(compiler.version[0], compiler)


def compiler_status() -> str | None:
    """None if the kernels can be compiled with NVRTC on this machine, otherwise one line that says what is missing."""
    if find_compilers():
        return None
    return "NVRTC or its CUDA headers are not installed: pip install -e '.[cuda-check]'"


def dtypes(file: CudaFile, capability: int) -> list[np.dtype]:
    """The dtypes that a file's kernels support on a device of the given compute capability."""
    from ml_dtypes import bfloat16

    known = (np.dtype(bfloat16 if name == "bfloat16" else name) for name in file.first)
    return [dtype for dtype in known if file.takes(dtype, capability)]


def cuda_files() -> list[CudaFile]:
    """All `CudaFile` objects that the modules in this folder define, sorted by file name."""
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
    """The path of NVIDIA's disassembler nvdisasm, from its wheel or on the PATH; None if it is not installed."""
    for folder in nvidia_folders():
        for path in sorted(folder.glob("*/bin/nvdisasm")):
            return str(path)
    return shutil.which("nvdisasm")


def tensor_core_instructions(cubin: bytes) -> dict[str, int]:
    """The number of tensor core instructions (HMMA) in each kernel, by the kernel's name in the machine code."""
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
