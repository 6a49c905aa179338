"""The machine that the benchmarks run on: a description, and its measured peak speeds."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minibert.ops import facts as machine_facts

SIDE = 2048  # side of the square matrices, 16 MB each: large enough for the BLAS library to reach full speed
COPIED = 128 << 20  # number of bytes to copy: more than the caches hold
TRIES = 3  # the shortest time counts, because a limit is what the machine achieves when undisturbed


class Machine:
    """Measures the two limits of the roofline model, matrix-product speed and memory bandwidth, with all threads."""

    def __init__(self, threads: int):
        """threads: the number of threads that copy; the BLAS library takes its own number from the environment."""
        random = np.random.default_rng(0)
        self.left, self.right = random.standard_normal((2, SIDE, SIDE), dtype=np.float32)
        self.product = np.empty_like(self.left)
        self.source, self.target = np.ones((2, threads, COPIED // threads), np.uint8)
        self.pool = ThreadPoolExecutor(threads)

    def turn(self) -> dict[str, float]:
        """Measure {"sgemm": GFLOP/s of a float32 matrix product, "bandwidth": GB/s of a copy, reads plus writes}."""
        multiply = min(seconds(self.multiply) for _ in range(TRIES))
        copy = min(seconds(self.copy) for _ in range(TRIES))
        return {"sgemm": 2 * SIDE**3 / multiply / 1e9, "bandwidth": 2 * self.source.nbytes / copy / 1e9}

    def multiply(self) -> None:
        np.matmul(self.left, self.right, out=self.product)

    def copy(self) -> None:
        list(self.pool.map(np.copyto, self.target, self.source))


def seconds(function: Callable) -> float:
    """The time that one call of `function` takes, in seconds."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def describe(threads: int) -> dict:
    """A description of the machine: {"processor", "cores", "threads", "system", "blas", "versions"}."""
    facts = machine_facts.collect()
    blas = facts["blas"]
    kernels = f", kernels for {blas['kernels for']}" if blas["kernels for"] else ""
    packages = ("numpy", "numba", "torch", "transformers")
    versions = {package: machine_facts.installed_version(package) for package in packages}
    return {
        "processor": facts["processor"]["name"],
        "cores": facts["processor"]["cores usable"],
        "threads": threads,
        "system": facts["versions"]["system"],
        "blas": f"{blas['library']} {blas['version']}{kernels}",
        "versions": {"minibert": facts["versions"]["minibert"], "python": facts["versions"]["python"], **versions},
    }
