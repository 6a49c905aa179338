"""Compile a training step's kernels before they are needed, in several processes, since Numba compiles on one core.

Each process of `compile_all` runs this file with the names of some ops: it calls each of them once, forward and
backward, on small float32 arrays.  The compiled code is cached, and the waiting process finds it there.
"""

import importlib
import os
import subprocess
import sys

from minibert.ops.cpu import compiler
from minibert.ops.table import TABLE

DONE = "compiled"  # the marker file in the cache
# ops compiled by the same process, grouped so that all processes take about equally long; the others are in "numbers"
TOGETHER = {"attention": ("attention",), "rows": ("add_layernorm", "embedding", "gather_rows")}
GROUPS = (*TOGETHER, "numbers")


def warm(group: str) -> None:
    """Call each op of a group once, forward and backward, on small arrays."""
    cpu = importlib.import_module("minibert.ops.cpu")
    elsewhere = [name for names in TOGETHER.values() for name in names]
    for op in TABLE:
        if op.warm_up is None or not (op.name in TOGETHER[group] if group in TOGETHER else op.name not in elsewhere):
            continue
        if not op.pair:
            getattr(cpu, op.name)(*op.warm_up())
            continue
        y, cache = getattr(cpu, f"{op.name}_forward")(*op.warm_up())
        getattr(cpu, f"{op.name}_backward")(y, cache)


def compile_all() -> None:
    """On the first use of this version, print a message and compile everything that a training step needs in float32.

    Without a cache there is nothing to do in advance: each kernel is compiled when it is first called.
    """
    if compiler.CACHE is None:
        print(f"minibert: compiling the CPU kernels, about {2 * compiler.SECONDS} seconds", file=sys.stderr, flush=True)
        return
    done = compiler.CACHE / DONE
    if done.exists():
        return
    print(
        f"minibert: compiling the CPU kernels, up to {compiler.SECONDS} seconds, once (cached in {compiler.CACHE})",
        file=sys.stderr,
        flush=True,
    )
    command = [sys.executable, "-m", "minibert.ops.cpu.warmup"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen([*command, name], stdin=subprocess.DEVNULL, env=environment) for name in GROUPS]
    if not any([process.wait() for process in processes]):
        done.touch()  # a failure here is not reported: it recurs, with its message, where the op is needed


if __name__ == "__main__":
    for group in sys.argv[1:]:
        warm(group)
