"""The cache of compiled kernels: what is old never runs, what is half never either; and no compiler, no crash."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert import emulator
from minibert.emulator import compiler

needs_compiler = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))

SOURCE = "__global__ void set(int* x) { x[0] = VALUE; }"


def result(source, include=()):
    x = np.zeros(1, np.int32)
    emulator.Module(source, include=include).kernel()(1, 1, (x,))
    return x[0]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, empty."""
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "emulator"


def libraries(folder):
    return {path.name for path in folder.glob("kernels-*.so")}


@pytest.mark.slow
@needs_compiler
def test_a_changed_source_or_header_is_compiled_again(cache, tmp_path):
    assert result(SOURCE.replace("VALUE", "1")) == 1
    assert result(SOURCE.replace("VALUE", "2")) == 2
    header = tmp_path / "value.cuh"
    for value in (3, 4):
        header.write_text(f"#define VALUE {value}\n")
        assert result('#include "value.cuh"\n' + SOURCE, include=tmp_path) == value
    assert len(libraries(cache)) == 4
    assert result(SOURCE.replace("VALUE", "1")) == 1
    assert len(libraries(cache)) == 4  # found, not compiled


@pytest.mark.slow
@needs_compiler
def test_a_changed_runtime_is_compiled_again(cache, tmp_path, monkeypatch):
    source = SOURCE.replace("VALUE", "__popc(7)")
    assert result(source) == 3
    changed = tmp_path / "runtime"
    changed.mkdir()
    for path in compiler.RUNTIME.glob("*.*"):
        (changed / path.name).write_bytes(path.read_bytes())
    numbers = (changed / "numbers.h").read_text()
    (changed / "numbers.h").write_text(numbers.replace("return __builtin_popcount(x);", "return 42;"))
    monkeypatch.setattr(compiler, "RUNTIME", changed)
    monkeypatch.setattr(compiler, "HEADER", changed / compiler.HEADER.name)
    assert result(source) == 42
    assert len(libraries(cache)) == 2


@pytest.mark.slow
@needs_compiler
def test_nothing_half_is_left_when_compiling_fails(cache):
    with pytest.raises(emulator.CompileError):
        result("__global__ void broken(int* x) { x[0] = ; }")
    assert libraries(cache) == set()
    assert not [path for path in cache.iterdir() if not path.name.startswith(("runtime-", "header-"))]


@needs_compiler
def test_what_was_refused_is_not_tried_again(monkeypatch):
    module = emulator.Module("__global__ void broken(int* x) { x[0] = ; }")
    with pytest.raises(emulator.CompileError):
        module.library(False)
    monkeypatch.setattr("minibert.emulator.module.build_library", None)
    with pytest.raises(emulator.CompileError):
        module.library(False)


@pytest.mark.slow
@needs_compiler
def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MINIBERT_CACHE", str(blocked))  # a file where a folder should be
    assert result(SOURCE.replace("VALUE", "6")) == 6
    assert Path(compiler.cache_folder()).name.startswith("minibert-emulator-")


@pytest.mark.slow
@needs_compiler
def test_a_damaged_library_is_deleted_and_compiled_again_with_one_line(cache, capfd):
    assert result(SOURCE.replace("VALUE", "7")) == 7
    assert capfd.readouterr().err == ""
    for number, path in enumerate(sorted(cache.iterdir())):  # the header, its compiled form, the library, the runtime
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[: len(content) // 2] if number % 2 else bytes(reversed(content)))
    assert result(SOURCE.replace("VALUE", "7")) == 7
    lines = capfd.readouterr().err.splitlines()
    assert lines and all(line.endswith("is damaged; it was deleted and is compiled again") for line in lines)
    assert len(lines) == len({line.split()[1] for line in lines})
    assert result(SOURCE.replace("VALUE", "7")) == 7
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@needs_compiler
def test_libraries_that_nobody_uses_are_forgotten(cache):
    result(SOURCE.replace("VALUE", "1"))
    (old,) = cache.glob("kernels-*.so")
    os.utime(old, (0, 0))
    result(SOURCE.replace("VALUE", "2"))
    assert not old.exists()


def run_python(code, **environment):
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_no_compiler_is_one_clear_line():
    code = """
from minibert import emulator
print(emulator.compiler_status())
module = emulator.Module("__global__ void k(int* x) {}")
try:
    module.kernel("k").parameters
except emulator.NoCompilerError as error:
    assert isinstance(error, RuntimeError) and str(error) == emulator.compiler_status()
    print("refused")
"""
    status, refused = run_python(code, CXX="no-such-compiler").splitlines()
    assert "CXX=no-such-compiler" in status and refused == "refused"


def test_importing_looks_for_no_compiler():
    code = """
import subprocess, sys
subprocess.Popen = subprocess.run = None
import minibert, minibert.emulator
assert "numba" not in sys.modules and "cupy" not in sys.modules
minibert.emulator.Module("__global__ void k(int* x) {}").kernel("k")
print("fine")
"""
    assert run_python(code, CXX="no-such-compiler") == "fine"


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("checked", [False, True])
def test_switching_stacks_by_the_operating_system(tmp_path, checked):
    """Processors for which fibers.h has no assembly use ucontext; it must do the same."""
    program = tmp_path / "run.py"
    program.write_text(
        """
import sys
import numpy as np
from minibert import emulator
from minibert.emulator import toolchains
plain = toolchains.Compiler.runtime_options
toolchains.Compiler.runtime_options = lambda self, checked: [*plain(self, checked), "-DEMULATOR_UCONTEXT"]
source = '''
__global__ void reverse(float* x) {
    __shared__ float scratch[64];
    scratch[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
    __syncthreads();
    x[threadIdx.x] = scratch[63 - threadIdx.x];
}
__global__ void leaves(float* x) { if (threadIdx.x > 3) return; __syncthreads(); }
'''
module = emulator.Module(source)
x = np.arange(64, dtype=np.float32)
with emulator.checking(sys.argv[1] == "True"):
    module.kernel("reverse")(1, 64, (x,))
    try:
        module.kernel("leaves")(1, 64, (x,))
    except emulator.DivergenceError:
        print([int(value) for value in x] == [(63 - i) ^ 1 for i in range(64)])
"""
    )
    process = subprocess.run([sys.executable, program, str(checked)], capture_output=True, text=True)
    assert (process.stdout.strip(), process.stderr) == ("True", "")


def test_a_compiler_that_writes_nothing_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path))
    with pytest.raises(emulator.CompileError, match="true produced neither"):
        emulator.Module("__global__ void nothing() {}").kernel("nothing")(1, 1)
