"""The occupancy that scripts/kernel_table.py computes, at points that NVIDIA's calculator gives too; and its table."""

from pathlib import Path

import pytest

from minibert.ops.gpu.nvrtc import cuda_files
from scripts.kernel_table import MULTIPROCESSORS, occupancy


@pytest.mark.parametrize(
    "capability, registers, threads, shared, expected",
    [
        (80, 32, 256, 0, 1.0),
        (80, 33, 256, 0, 0.75),  # 40 registers are given out: 48 of 64 warps
        (80, 128, 128, 0, 0.25),
        (80, 255, 128, 0, 0.125),
        (80, 32, 256, 48 << 10, 0.375),  # three blocks share 164 KiB
        (80, 16, 32, 0, 0.5),  # no more than 32 blocks
        (75, 64, 256, 0, 1.0),
        (75, 32, 256, 48 << 10, 0.25),
        (86, 32, 1024, 0, 2 / 3),  # a second block of 32 warps would be more than 48
        (90, 32, 1024, 227 << 10, 0.5),
    ],
)
def test_occupancy(capability, registers, threads, shared, expected):
    assert occupancy(registers, threads, shared, MULTIPROCESSORS[capability]) == pytest.approx(expected)


def test_the_table_in_the_docs_has_every_kernel_file_and_no_local_memory_but_float64s():
    text = (Path(__file__).parents[1] / "docs" / "gpu_kernels.md").read_text(encoding="utf-8")
    for file in cuda_files():
        assert file.file in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if "local" in row and "double" not in row.split("`")[1]]
