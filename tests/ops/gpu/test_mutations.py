"""Every barrier, atomic and bounds check of the CUDA kernels is needed, and a test notices when it is not there.

The whole of it has a command of its own (`pytest -m mutations tests/ops/gpu`); the usual run takes a sample.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from minibert.base.cores import usable_cores
from tests.ops.gpu.mutants import VARIABLE, changes, kernel_files, mutants_of

FOLDER = Path(__file__).parent
# the tests that look at a kernel file, quickest first; headers are seen through the kernels that use them
TESTS_OF = {
    "attention.cu": ("test_attention.py",),
    "attention_backward.cu": ("test_attention.py",),
    "attention_tiles.cuh": ("test_attention.py",),
    "attention.cuh": ("test_attention.py", "test_attention_tensor_cores.py"),
    "attention_tensor_cores.cu": ("test_attention_tensor_cores.py",),
    "attention_tensor_cores.cuh": ("test_attention_tensor_cores.py",),
    "attention_tensor_cores_backward.cu": ("test_attention_tensor_cores.py",),
    "tensor_cores.cuh": ("test_attention_tensor_cores.py",),
    "attention_mma.cu": ("test_attention_tensor_cores.py",),
    "attention_mma.cuh": ("test_attention_tensor_cores.py",),
    "attention_mma_backward.cu": ("test_attention_tensor_cores.py",),
    "warp_mma.cuh": ("test_attention_tensor_cores.py",),
    "losses.cu": ("test_kernels.py", "test_losses.py"),
    "distances.cu": ("test_kernels.py", "test_losses.py"),
    "embedding.cu": ("test_kernels.py", "test_rows.py"),
    "rows.cu": ("test_kernels.py", "test_rows.py"),
    "scatter.cu": ("test_kernels.py", "test_rows.py"),
    "lstm.cu": ("test_kernels.py", "test_lstm.py"),
    "optimizer.cu": ("test_kernels.py", "test_optimizer.py"),
}
ALL_OTHERS = "test_kernels.py", "test_rowwise.py"
# of the two versions of attention on tensor cores, only the one that uses a file
ONE_VERSION = {
    **dict.fromkeys(("attention_mma.cu", "attention_mma.cuh", "attention_mma_backward.cu", "warp_mma.cuh"), "not wmma"),
    **dict.fromkeys(
        (
            "attention_tensor_cores.cu",
            "attention_tensor_cores.cuh",
            "attention_tensor_cores_backward.cu",
            "tensor_cores.cuh",
        ),
        "wmma or not mma",
    ),
}
# mutants that compute the same as the honest kernel, and why
EQUIVALENT: dict[str, str] = {}
MUTANTS = [mutant for file in kernel_files() for mutant in mutants_of(file)]
TIME_LIMIT = 300  # seconds; a kernel without its guard may run for ever, which is noticed too


def notice(mutant) -> bool:
    """Do the tests of the file fail with this bug?  A crash of the process, or a kernel without end, is noticed too."""
    tests = TESTS_OF.get(mutant.file, ALL_OTHERS)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not mutations"]
    if mutant.file in ONE_VERSION:
        command += ["-k", ONE_VERSION[mutant.file]]
    try:
        done = subprocess.run(
            [*command, *(str(FOLDER / name) for name in tests)],
            env={**os.environ, VARIABLE: mutant.name},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode > 1:
        raise RuntimeError(f"{mutant.name}: the tests did not run: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.returncode != 0


@cache
def verdicts():
    """Name -> the future of `notice`: the mutants are tried side by side, one for each core."""
    pool = ThreadPoolExecutor(usable_cores() or 1)
    return {mutant.name: pool.submit(notice, mutant) for mutant in MUTANTS}


@pytest.mark.mutations
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_kernel_without_it_is_noticed(mutant):
    if mutant.before.strip() in EQUIVALENT:
        pytest.skip(f"the same kernel: {EQUIVALENT[mutant.before.strip()]}")
    noticed = verdicts()[mutant.name].result()
    assert noticed, f"survived: {mutant.kind} {mutant.before.strip()!r} -> {mutant.after.strip()!r}"


@pytest.mark.thorough
@pytest.mark.parametrize("file, text", [("columns.cu", "__syncthreads()"), ("rows.cu", "if (")])
def test_a_sample_of_them(file, text):
    """Of the usual run: the first barrier of one file, the first bounds check of another."""
    assert notice(next(mutant for mutant in MUTANTS if mutant.file == file and text in mutant.before))


def test_there_are_mutants_of_all_kinds():
    kinds = {mutant.kind for mutant in MUTANTS}
    assert {"barrier", "bounds check"} <= kinds and len(MUTANTS) >= 40


@pytest.mark.parametrize(
    "line, expected",
    [
        ("    __syncthreads();  // the sums are there", [("barrier", "    ;  // the sums are there")]),
        ("    wait_copies<1>();  // it is there", [("barrier", "    ;  // it is there")]),
        ("if (row >= rows) return;", [("bounds check", "if (false) return;")]),
        ("if (f(i) < n) y[i] = 0;", [("bounds check", "if (true) y[i] = 0;")]),
        ("float x = i < n ? y[i] : 0;", [("bounds check", "float x = true ? y[i] : 0;")]),
        ("m = other > m ? other : m;", []),
        ("for (int i = 0; i < n; i++) sum += x[i];  // i < n ? yes", []),
        ("atomicAdd(&total[row], value);", [("atomic", "(total[row]) += value;")]),
    ],
)
def test_how_a_line_is_spoilt(line, expected):
    assert list(changes(line)) == expected
