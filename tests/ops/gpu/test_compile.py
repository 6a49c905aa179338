"""Every kernel, in every dtype, is accepted by NVIDIA's compiler for every GPU that we support: no GPU is needed.

All of it has a command of its own (`pytest -m compile_matrix tests/ops/gpu`); the usual run takes a sample.
"""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from minibert.ops.gpu import attention_tensor_cores, kernels
from minibert.ops.gpu.kernels import CAPABILITIES, EVERYWHERE, TYPES, CudaFile
from minibert.ops.gpu.nvrtc import (
    LAST_70,
    NvrtcError,
    compiler_status,
    cuda_files,
    dtypes,
    find_compilers,
    find_disassembler,
    read_usage,
    tensor_core_instructions,
)

COMPILERS = {f"CUDA {compiler.version[0]}": compiler for compiler in find_compilers()}
# each architecture with the newest compiler that knows it, and the older compiler on the oldest, a middle and a new one
MATRIX = [(12, 70), (12, 80), (12, 90), *((13, capability) for capability in CAPABILITIES if capability > 70)]
NONE = SimpleNamespace(headers=())  # in place of a compiler that is not installed
WORKERS = 2  # compilations at a time
needs_disassembler = pytest.mark.skipif(
    find_disassembler() is None, reason="nvdisasm is not installed: pip install -e '.[cuda-check]'"
)
needs_compiler = pytest.mark.skipif(not COMPILERS, reason=str(compiler_status()))


@pytest.fixture(autouse=True)
def somewhere_to_run():
    """These tests run no kernel: they need neither a GPU nor an emulator (see conftest.py)."""


def compile_file(compiler, file, dtype, capability):
    """One file in one dtype.  AssertionError where float32 or 16 bits need local memory, which is slow."""
    compiled = compiler.compile(file.source(), file.instances(dtype), capability)
    if dtype != np.float64:
        local = {name: usage for name, usage in compiled.usage.items() if usage.local or usage.spilled}
        assert not local, f"{file.file} in {dtype} for {capability} spills or uses local memory: {local}"
    return compiled


def check_tensor_cores(file, compiled):
    """Each kernel of a file multiplies on tensor cores, in its machine code."""
    counts = tensor_core_instructions(compiled.cubin)
    assert len(counts) == len(file.names) and min(counts.values()) >= 2, f"{file.file}: {counts}"


@pytest.mark.compile_matrix
@pytest.mark.parametrize("version, capability", MATRIX)
def test_all_kernels_compile(version, capability):
    if f"CUDA {version}" not in COMPILERS:
        pytest.skip(f"NVRTC of CUDA {version} is not installed: pip install -e '.[cuda-check]'")
    compiler = COMPILERS[f"CUDA {version}"]
    if not compiler.supports(capability):
        assert version > LAST_70 and capability == 70, f"{compiler.path} cannot compile for {capability}"
        pytest.skip("CUDA 13 has no compiler for compute capability 7.0")
    jobs = [(compiler, file, dtype, capability) for file in cuda_files() for dtype in dtypes(file, capability)]
    with ThreadPoolExecutor(WORKERS) as pool:
        compiled = list(pool.map(lambda job: compile_file(*job), jobs))
    assert len(compiled) > 50 and all(each.cubin for each in compiled)
    if find_disassembler() is not None and capability > 70:  # the disassembler of CUDA 13 does not know 7.0 either
        for (_, file, _, _), each in zip(jobs, compiled, strict=True):
            if "<mma.h>" in file.source() or "mma.sync" in file.source():
                check_tensor_cores(file, each)


SAMPLE = [
    ("layernorm.cu", "float32", 75),
    ("optimizer.cu", "bfloat16", 120),
    ("scatter.cu", "float64", 90),
    ("attention_tensor_cores.cu", "float16", 75),
    ("attention_tensor_cores.cu", "bfloat16", 80),
]


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name, dtype, capability", SAMPLE)
def test_some_kernels_compile(name, dtype, capability):
    file = next(file for file in cuda_files() if file.file == name)
    (dtype,) = (known for known in dtypes(file, capability) if known.name == dtype)
    for compiler in COMPILERS.values():
        assert compile_file(compiler, file, dtype, capability).usage.keys() == set(file.instances(dtype))


@pytest.mark.slow
@needs_compiler
@needs_disassembler
@pytest.mark.parametrize("capability", [75, 90])
def test_sixteen_bit_attention_uses_tensor_cores(capability):
    file = attention_tensor_cores.WMMA.backward[64]
    compiler = list(COMPILERS.values())[-1]
    check_tensor_cores(file, compile_file(compiler, file, np.dtype(np.float16), capability))


@needs_compiler
@needs_disassembler
def test_without_tensor_cores_there_are_no_tensor_core_instructions():
    file = next(file for file in cuda_files() if file.file == "linear.cu")
    compiler = next(iter(COMPILERS.values()))
    counts = tensor_core_instructions(compile_file(compiler, file, np.dtype(np.float16), 80).cubin)
    assert len(counts) == len(file.names) and not any(counts.values())


@needs_compiler
def test_what_the_compiler_refuses_is_told():
    compiler = next(iter(COMPILERS.values()))
    with pytest.raises(NvrtcError, match='kernels.cu|identifier "y" is undefined'):
        compiler.compile("__global__ void bad(int* x) { *x = y; }", ["bad"], 80)


@needs_compiler
def test_spills_and_local_memory_are_seen():
    source = """__global__ void spilling(float* x, int n) {
        float own[64];
        for (int i = 0; i < 64; i++) own[i] = x[i];
        for (int i = 0; i < n; i++) own[(n * i) % 64] += own[i % 64];
        for (int i = 0; i < 64; i++) x[i] = own[i];
    }"""
    for compiler in COMPILERS.values():
        assert compiler.compile(source, ["spilling"], 80).usage["spilling"].local >= 256


def test_a_kernel_that_the_log_lacks_is_an_error():
    with pytest.raises(NvrtcError, match="is missing lost"):
        read_usage("ptxas info    : 0 bytes gmem", {"lost": "_Z4lostv"})


# ---------------------------------------------------------------------------------------- which kernels there are


def test_all_kernel_files_are_found():
    from minibert.ops.gpu.kernels import FOLDER

    assert {file.file for file in cuda_files()} == {path.name for path in FOLDER.glob("*.cu")}


def test_tensor_cores_take_bfloat16_from_80_on():
    files = {file for file in cuda_files() if "<mma.h>" in file.source()}
    newer = set(attention_tensor_cores.MMA.forward.values()) | set(attention_tensor_cores.MMA.backward.values())
    assert files and all(file.first == attention_tensor_cores.FIRST for file in files)
    assert newer and all(file.first == attention_tensor_cores.MMA_FIRST for file in newer)
    assert all(file.first == EVERYWHERE and set(file.first) == set(TYPES) for file in set(cuda_files()) - files - newer)
    file = next(iter(files))
    assert [dtype.name for dtype in dtypes(file, 75)] == ["float16"]
    assert [dtype.name for dtype in dtypes(file, 80)] == ["float16", "bfloat16"]


@needs_compiler
def test_headers_are_found_as_the_wheels_of_cuda_13_leave_them(tmp_path, monkeypatch):
    """nvidia/cu13 has mma.h but, without nvidia-cuda-crt, not the crt/mma.h that it includes: a toolkit has both."""
    whole = next((folder for folder in COMPILERS.get("CUDA 13", NONE).headers if (folder / "mma.h").exists()), None)
    if whole is None:
        pytest.skip("the headers of CUDA 13 are not installed: pip install -e '.[cuda-check]'")
    wheel, toolkit = tmp_path / "nvidia" / "cu13" / "include", tmp_path / "toolkit" / "include"
    for folder in (wheel, toolkit):
        folder.mkdir(parents=True)
        for path in whole.iterdir():
            if folder is toolkit or path.name != "crt":
                (folder / path.name).symlink_to(path)
    monkeypatch.setattr(kernels, "nvidia_folders", lambda: [tmp_path / "nvidia"])
    monkeypatch.setenv("PATH", str(tmp_path))
    file = attention_tensor_cores.WMMA.forward[32]
    compiled = dataclasses.replace(COMPILERS["CUDA 13"], headers=(wheel,))  # as CuPy looks, by itself
    with pytest.raises(NvrtcError, match="crt/mma.h"):
        compile_file(compiled, file, np.dtype(np.float16), 80)
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        monkeypatch.delenv("CUDA_PATH", raising=False)
        monkeypatch.setenv(variable, str(tmp_path / "toolkit"))
        folders = kernels.header_folders(13)
        assert folders == [toolkit]
        compiled = dataclasses.replace(compiled, headers=(*folders, wheel))
        assert compile_file(compiled, file, np.dtype(np.float16), 80).usage


def test_headers_that_cannot_be_read_are_passed_over(tmp_path, monkeypatch):
    """A folder without the header, one whose header is a dangling link, and CUDA 12's wheel."""
    nvidia = tmp_path / "nvidia"
    for name in ("cu12", "cuda_nvcc"):
        (nvidia / name / "include" / "crt").mkdir(parents=True)
    (nvidia / "cu12" / "include" / "crt" / "mma.h").symlink_to(tmp_path / "gone.h")
    (nvidia / "cuda_nvcc" / "include" / "crt" / "mma.h").write_text("")
    monkeypatch.setattr(kernels, "nvidia_folders", lambda: [nvidia])
    assert kernels.header_folders(12) == [nvidia / "cuda_nvcc" / "include"]
    assert nvidia / "cuda_nvcc" / "include" not in kernels.header_folders(13)


def test_kernels_that_are_not_for_this_device_are_refused():
    file = CudaFile("linear.cu", "add_bias<{T}, true>", first={"float32": 9999})
    for dtype in (np.float32, np.float64):
        with pytest.raises(TypeError, match="linear.cu has no kernels for"):
            file.module(np.dtype(dtype))
