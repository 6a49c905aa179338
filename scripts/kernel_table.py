"""What each GPU kernel uses, according to NVIDIA's compiler: registers, local and shared memory, and occupancy.

    python scripts/kernel_table.py > docs/gpu_kernels.md

It needs no GPU: pip install -e ".[cuda-check]".  Blocks and dynamic shared memory are those of a training step of a
model as wide as BERT-base, whose launches are recorded, not run.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

if __name__ == "__main__":
    os.environ["MINIBERT_EMULATE"] = "1"  # before the gpu backend is imported, which then needs no GPU

from minibert.bench.ours import training_step  # noqa: E402
from minibert.bench.throughput import random_batch  # noqa: E402
from minibert.models import BertConfig  # noqa: E402
from minibert.ops import load_backend  # noqa: E402
from minibert.ops.gpu.kernels import CudaFile, as_tuple  # noqa: E402
from minibert.ops.gpu.nvrtc import Usage, compiler_status, cuda_files, dtypes, find_compilers  # noqa: E402

WARP = 32
CONFIG = BertConfig(num_hidden_layers=1)
SEQUENCES, LENGTH = 4, 128
WORKERS = 2  # compilations at a time


@dataclass(frozen=True)
class Multiprocessor:
    """Warps and blocks that fit, KiB of shared memory, how much of it each block reserves, and registers."""

    warps: int
    blocks: int
    shared: int
    reserved: int
    registers: int = 65536


# Source: CUDA C++ Programming Guide, technical specifications per compute capability
MULTIPROCESSORS = {
    70: Multiprocessor(64, 32, 96, 0),
    75: Multiprocessor(32, 16, 64, 0),
    80: Multiprocessor(64, 32, 164, 1),
    86: Multiprocessor(48, 16, 100, 1),
    89: Multiprocessor(48, 24, 100, 1),
    90: Multiprocessor(64, 32, 228, 1),
    100: Multiprocessor(64, 32, 228, 1),
    120: Multiprocessor(48, 24, 100, 1),
}


def round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def occupancy(registers: int, threads: int, shared: int, on: Multiprocessor) -> float:
    """The share of a multiprocessor's warps that such blocks can fill.

    registers: per thread; threads, shared: threads and bytes of shared memory per block.  A warp gets registers in
    steps of 256, and a multiprocessor has four parts, each with its own registers.
    """
    warps = -(-threads // WARP)
    by_registers = on.registers // 4 // round_up(max(registers, 16) * WARP, 256) * 4 // warps
    by_shared = (on.shared << 10) // max(round_up(shared, 128) + (on.reserved << 10), 1)
    return min(on.blocks, on.warps // warps, by_registers, by_shared) * warps / on.warps


def note_launches(dtype: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(file, instance) of each kernel of a training step -> threads of a block, bytes of dynamic shared memory."""
    noted = {}

    def launch(file, name, dtype, grid, block, *arguments, shared=0):
        threads = 1
        for size in as_tuple(block):
            threads *= size
        (instance,) = CudaFile(file.file, name).instances(dtype)
        noted[file.file, instance] = max((threads, shared), noted.get((file.file, instance), (0, 0)))

    honest, CudaFile.launch = CudaFile.launch, launch
    try:
        training_step(CONFIG, load_backend("gpu", emulate=True), dtype)(random_batch(CONFIG, SEQUENCES, LENGTH))
    finally:
        CudaFile.launch = honest
    return noted


def cell(usage: Usage, launch: tuple[int, int] | None, capability: int) -> str:
    """The registers, the share of a multiprocessor's warps that fit, and local memory if there is any."""
    text = str(usage.registers)
    if launch is not None:
        threads, shared = launch
        filled = occupancy(usage.registers, threads, usage.shared + shared, MULTIPROCESSORS[capability])
        text += f" · {filled:.0%}"
    return text + (f" · **{usage.local} B local**" if usage.local else "")


def collect(capabilities: list[int]) -> dict[tuple[str, str, str], dict[int, Usage]]:
    """(file, dtype, instance) -> what it uses on each compute capability."""
    compilers, rows = find_compilers(), {}
    jobs = [(file, dtype, each) for each in capabilities for file in cuda_files() for dtype in dtypes(file, each)]

    def compile_job(job):
        file, dtype, capability = job
        compiler = [each for each in compilers if each.supports(capability)][-1]
        return compiler.compile(file.source(), file.instances(dtype), capability).usage

    with ThreadPoolExecutor(WORKERS) as pool:
        for (file, dtype, capability), usages in zip(jobs, pool.map(compile_job, jobs), strict=True):
            for name, usage in usages.items():
                rows.setdefault((file.file, dtype.name, name), {})[capability] = usage
    return rows


def table(capabilities: list[int]) -> str:
    launches: dict[tuple[str, str], tuple[int, int]] = {}
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        launches.update(note_launches(dtype))
    rows = collect(capabilities)
    lines = [HEAD.format(versions=", ".join("{}.{}".format(*each.version) for each in find_compilers()))]
    titles = [f"{each // 10}.{each % 10}" for each in capabilities]
    for file in sorted({file for file, _, _ in rows}):
        lines += ["", f"## {file}", "", f"| kernel | threads | shared | {' | '.join(titles)} |"]
        lines += ["|" + "---|" * (3 + len(titles))]
        for (of, _, name), usages in rows.items():
            if of != file:
                continue
            launch = launches.get((file, name))
            static = next(iter(usages.values())).shared
            threads, shared = (str(launch[0]), static + launch[1]) if launch else ("", static)
            cells = [cell(usages[each], launch, each) if each in usages else "none" for each in capabilities]
            lines.append(f"| `{name}` | {threads} | {shared or ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


HEAD = """# What each GPU kernel uses

Written by `scripts/kernel_table.py` with NVIDIA's compiler (NVRTC of CUDA {versions}); nothing here was measured.

For each compute capability: registers of a thread · the share of a multiprocessor's warps that can be resident at once
(occupancy, computed). Threads of a block, and bytes of its shared memory, are the largest of a training step of a model
as wide as BERT-base with sequences of 128 tokens; kernels that such a step does not launch have no occupancy. "none":
there is no such kernel for this device, see `first` in `minibert/ops/gpu/kernels.py`. Local memory is told where a
kernel uses any: in float32 and in 16 bits none may, which `pytest -m compile_matrix` tests."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capabilities", type=int, nargs="+", default=[75, 80, 90, 120], choices=MULTIPROCESSORS)
    arguments = parser.parse_args()
    if problem := compiler_status():
        sys.exit(problem)
    print(table(arguments.capabilities))


if __name__ == "__main__":
    main()
