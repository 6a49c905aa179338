"""The emulator with other compilers than the first one found, and on aarch64 (by qemu)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert import emulator
from minibert.emulator import toolchains
from minibert.emulator.compiler import RUNTIME
from minibert.emulator.source import find_kernels, read_source, translate

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
# With clang a vector that is copied as a whole is read number by number, and only those that are used: so one that is
# misaligned goes unnoticed.
UNSEEN_BY_CLANG = (
    "not odd_vector and not odd_row and not vector_of_a_view and not half_a_vector_beyond "
    "and not leaves_the_emulator_ready"
)


def commands() -> dict[str, tuple[str, ...] | None]:
    """Every compiler that might be here; None for those that are not."""
    found = {name: (name,) if shutil.which(name) else None for name in ("g++", "clang++")}
    zig = [command for command in toolchains.candidates() if "ziglang" in command]
    return {**found, "ziglang": zig[0] if zig else None}


@pytest.fixture(params=commands())
def compiler(request, monkeypatch):
    """One compiler after the other, named in CXX."""
    command = commands()[request.param]
    if command is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setenv("CXX", " ".join(command))
    assert toolchains.find_compiler().command == command
    return request.param


SUM = """
__global__ void sum(const float* x, float* y, int n) {
    __shared__ float parts[32];
    float value = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) value += x[i];
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (unsigned i = 1; i < blockDim.x / 32; i++) value += parts[i];
    y[0] = value;
}
"""


@pytest.mark.parametrize("check", [False, True])
def test_numbers_and_diagnoses(compiler, check):
    x, y = np.arange(100, dtype=np.float32), np.zeros(1, np.float32)
    with emulator.checking(check):
        emulator.Module(SUM).kernel("sum")(1, 128, (x, y, np.int32(100)))
        assert y[0] == 4950
    if check:
        wrong = emulator.Module(SUM.replace("__syncthreads();", "")).kernel("sum")
        with emulator.checking(), pytest.raises(emulator.RaceError, match=r"kernel\.cu:7"):
            wrong(1, 128, (x, y, np.int32(100)))
        with emulator.checking(), pytest.raises(emulator.OutOfBoundsError) as caught:
            emulator.Module(SUM).kernel("sum")(1, 128, (x, y, np.int32(101)))
        assert (caught.value.line, caught.value.thread) == (5, (100, 0, 0))


@pytest.mark.thorough
def test_all_that_is_right_and_all_mistakes(compiler):
    """The tests of the emulator once more, in a process of its own where CXX holds."""
    files = ["test_half.py", "test_wmma.py", "test_right.py", "test_mistakes.py"]
    seen = [] if compiler == "g++" else ["-k", UNSEEN_BY_CLANG]
    command = [sys.executable, "-m", "pytest", "-q", "-x", *(str(FOLDER / file) for file in files), *seen]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]


def test_no_compiler_at_all(monkeypatch, tmp_path):
    """One line says what is missing, and how to get it."""
    toolchains.try_compilers.cache_clear()
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchains, "candidates", lambda: [("g++",), ("clang++",)])
    status = emulator.compiler_status()
    toolchains.try_compilers.cache_clear()
    assert "pip install ziglang" in status and "apt install g++" in status and "\n" not in status


def test_a_compiler_that_is_not_there(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -m32")
    assert "CXX=no-such-compiler -m32 cannot be run" in emulator.compiler_status()


# --------------------------------------------------------------------- aarch64: a program of its own, under qemu

CROSS, QEMU = "aarch64-linux-gnu-g++", ("qemu-aarch64-static", "qemu-aarch64")
UCONTEXT = "-DEMULATOR_UCONTEXT"  # the way to switch stacks on other processors


def build(compiler: toolchains.Compiler, folder: Path, checked: bool, *extra: str) -> Path:
    """alone.cu and alone_main.cpp as one program."""
    source = read_source((FOLDER / "alone.cu").read_text(encoding="utf-8"), "alone.cu")
    (folder / "kernels.cpp").write_text(translate(source, [kernel.name for kernel in find_kernels(source)]))
    header = ["-I", str(RUNTIME), "-include", str(RUNTIME / "cuda_emulator.h")]
    parts = [
        ("kernels", [*compiler.options(checked), *header, folder / "kernels.cpp"]),
        ("main", [*compiler.runtime_options(checked), "-I", str(RUNTIME), *extra, FOLDER / "alone_main.cpp"]),
    ]
    for name, options in parts:
        command = [*compiler.command, *map(str, options), "-c", "-o", f"{name}.o"]
        subprocess.run(command, cwd=folder, check=True)
    # -rdynamic and no -static: what is a constant of the program itself must be told from other memory, see dladdr
    link = [*compiler.command, "kernels.o", "main.o", "-o", "alone", "-rdynamic", "-ldl", "-lpthread"]
    subprocess.run(link, cwd=folder, check=True)
    return folder / "alone"


OTHERS = ("x86-64 by ucontext", "aarch64", "aarch64 by ucontext")


@pytest.fixture(scope="module", params=["x86-64", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def program(request, tmp_path_factory):
    """run(checked, kernel, order): what the program prints."""
    machine, _, way = request.param.partition(" ")
    if machine == "aarch64":
        qemu = next(filter(None, map(shutil.which, QEMU)), None)
        if shutil.which(CROSS) is None or qemu is None:
            pytest.skip(f"needs {CROSS} and {QEMU[0]} (apt install g++-aarch64-linux-gnu qemu-user-static)")
        command, before = (CROSS,), [qemu, "-L", "/usr/aarch64-linux-gnu"]
    else:
        if os.uname().machine != "x86_64" or shutil.which("g++") is None:
            pytest.skip("needs g++ on x86-64")
        command, before = ("g++",), []
    compiler = toolchains.try_compilers(" ".join(command))
    extra = [UCONTEXT] if way else []
    built = {c: build(compiler, tmp_path_factory.mktemp("alone"), c, *extra) for c in (False, True)}

    def run(checked, kernel, order=0):
        command = [*before, built[checked], kernel, str(order)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout

    return run


X = np.array([i * 37 % 11 - 5 for i in range(256)], np.float64)  # as in alone_main.cpp


def numbers(text):
    return np.array([float.fromhex(line) for line in text.split()])


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("checked", [False, True])
class TestOnEachMachine:
    @pytest.mark.slow
    def test_barriers_and_shuffles(self, program, checked, order):
        assert numbers(program(checked, "sum", order))[:2].tolist() == [X[:100].sum()] * 2

    @pytest.mark.slow
    def test_registers_survive_a_switch(self, program, checked, order):
        expected = []
        for thread in range(128):
            a, b, c, d, e, f, g, h = X[:8].tolist()
            i, j, k, m, n = ((thread + 1) * times for times in (1, 2, 3, 4, 5))
            for _ in range(100):
                a, b, c, d, e = a + i, b + j, c + k, d + m, e + n
                f, g, h = f + a, g + b, h + c
                i += 1
                j += i
                k += j
                m += k
                n += m
            expected.append(np.float32(a + b + c + d + e + f + g + h + float(i + j + k + m + n)))
        assert np.array_equal(numbers(program(checked, "registers", order))[:256], np.tile(expected, 2))

    @pytest.mark.slow
    def test_tensor_cores(self, program, checked, order):
        tile = X[np.arange(256) % 100].reshape(16, 16)
        assert np.array_equal(numbers(program(checked, "product", order))[:256], (tile @ tile.T + X[0]).ravel())

    def test_mistakes(self, program, checked, order):
        assert program(checked, "diverge", order).startswith("error 4 ")
        assert program(checked, "lost", order).startswith("error 2 ")
        if checked:
            assert program(checked, "hurry", order).startswith("error 1 ")
