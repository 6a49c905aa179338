"""Compile the kernels of a training step before they are needed, in several processes, since Numba uses one core.

Each process of `compile_all` runs this file with the names of some ops: it calls each of them once, forward and
backward, on a few numbers in float32.  What that compiles is kept in the cache, where the process that waits finds it.
"""

import os
import subprocess
import sys

import numpy as np

from minibert.ops.cpu import compiler
from minibert.ops.cpu.activations import gelu_backward, gelu_forward, tanh_backward, tanh_forward
from minibert.ops.cpu.attention import attention_backward, attention_forward
from minibert.ops.cpu.dropout import dropout_backward, dropout_forward
from minibert.ops.cpu.embedding import embedding_backward, embedding_forward
from minibert.ops.cpu.layernorm import add_layernorm_backward, add_layernorm_forward
from minibert.ops.cpu.linear import linear_backward, linear_forward
from minibert.ops.cpu.losses import count_correct, cross_entropy_backward, cross_entropy_forward
from minibert.ops.cpu.optimizer import adamw, global_norm
from minibert.ops.cpu.rows import gather_rows_backward, gather_rows_forward
from minibert.ops.dropout import Dropout
from minibert.ops.optimizer import AdamWStep

DONE = "compiled"  # the file in the cache that says so
X, ROW, IDS = np.ones((8, 8), np.float32), np.ones(8, np.float32), np.zeros(8, np.int32)


def both_ways(forward, backward, *arguments):
    """Call a pair of ops."""
    y, cache = forward(*arguments)
    backward(y, cache)


def warm_attention():
    whole = np.array([0, 8], np.int32)
    both_ways(attention_forward, attention_backward, X, X, X, 2, whole, whole, IDS)


def warm_rows():
    both_ways(add_layernorm_forward, add_layernorm_backward, X, X, ROW, ROW, 1e-12)
    both_ways(embedding_forward, embedding_backward, IDS, IDS, IDS, X, X, X)
    both_ways(gather_rows_forward, gather_rows_backward, X, IDS)


def warm_numbers():
    both_ways(dropout_forward, dropout_backward, X, Dropout(0.5, (0, 0), 0, IDS, IDS))
    both_ways(linear_forward, linear_backward, X, X, ROW)
    both_ways(gelu_forward, gelu_backward, X)
    both_ways(tanh_forward, tanh_backward, X)
    both_ways(cross_entropy_forward, cross_entropy_backward, X, IDS, 8)
    count_correct(X, IDS)
    global_norm(ROW)
    step = AdamWStep(learning_rate=0.1, beta1=0.9, beta2=0.9, eps=1.0, weight_decay=0.0)
    adamw(ROW.copy(), ROW, ROW.copy(), ROW.copy(), ROW > 0, step)


GROUPS = {"attention": warm_attention, "rows": warm_rows, "numbers": warm_numbers}  # of about equal length


def compile_all() -> None:
    """On the first use of this version: say so, and compile everything that a training step needs in float32.

    Without a cache there is nothing to do ahead: each kernel is compiled where it is first called.
    """
    if compiler.CACHE is None:
        print(f"minibert: compiling the CPU kernels, about {2 * compiler.SECONDS} seconds", file=sys.stderr, flush=True)
        return
    done = compiler.CACHE / DONE
    if done.exists():
        return
    print(
        f"minibert: compiling the CPU kernels, up to {compiler.SECONDS} seconds, once (kept in {compiler.CACHE})",
        file=sys.stderr,
        flush=True,
    )
    command = [sys.executable, "-m", "minibert.ops.cpu.warmup"]
    options = dict(stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    processes = [subprocess.Popen([*command, name], **options) for name in GROUPS]
    if not any([process.wait() for process in processes]):
        done.touch()  # otherwise what fails here fails again where it is needed, and is told there


if __name__ == "__main__":
    for group in sys.argv[1:]:
        GROUPS[group]()
