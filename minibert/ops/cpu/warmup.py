"""Compile a training step's kernels in advance, in several processes, since Numba uses only one core per process.

Each process that `compile_all` starts runs this module with the name of a group of ops: it calls each op of the group
once, forward and backward, on small float32 arrays.  The compiled code is stored in the cache, from which the process
that called `compile_all` loads it.
"""

import importlib
import subprocess
import sys

from minibert.base.processes import environment, python
from minibert.ops.cpu import compiler
from minibert.ops.table import TABLE

DONE = "compiled"  # name of a marker file in the cache folder: all kernels have been compiled
# group -> the ops that one process compiles, grouped so that all processes take about equally long; all other ops are
# in the group "numbers"
TOGETHER = {"attention": ("attention",), "rows": ("add_layernorm", "embedding", "gather_rows")}
GROUPS = (*TOGETHER, "numbers")


def warm(group: str) -> None:
    """Compile the ops of a group by calling each once, forward and backward, on small arrays."""
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
    """Compile all kernels that a training step needs in float32, unless this version's cache already has them.

    Prints a message if there is something to compile.  Without a cache, nothing is compiled in advance, since other
    processes could not share the result; each kernel is then compiled when it is first called.
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
    commands = [python("minibert.ops.cpu.warmup", name) for name in GROUPS]
    processes = [subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment()) for command in commands]
    if not any([process.wait() for process in processes]):
        done.touch()  # a failure here is not reported: it recurs, with its message, where the op is needed


if __name__ == "__main__":
    for group in sys.argv[1:]:
        warm(group)
