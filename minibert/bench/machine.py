"""The machine that the measurements run on: the name and the peak speeds."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minibert.ops import facts as machine_facts

SIDE = 2048  # side of the square matrices, which have 16 MB each: large enough for a BLAS to reach its full speed
COPIED = 128 << 20  # bytes: more than the caches hold
TRIES = 3  # the best time counts, because a limit is what the machine does undisturbed


class Machine:
    """Measures the two roofs of the roofline, matrix products and copies, with all threads."""

    def __init__(self, threads: int):
        """threads: the number for the copy; products use as many threads as the environment allows the BLAS."""
        random = np.random.default_rng(0)
        self.left, self.right = random.standard_normal((2, SIDE, SIDE), dtype=np.float32)
        self.product = np.empty_like(self.left)
        self.source, self.target = np.ones((2, threads, COPIED // threads), np.uint8)
        self.pool = ThreadPoolExecutor(threads)

    def turn(self) -> dict[str, float]:
        """{"sgemm": GFLOP/s of a product in float32, "bandwidth": GB/s of a copy, counting reads and writes}."""
        multiply = min(seconds(self.multiply) for _ in range(TRIES))
        copy = min(seconds(self.copy) for _ in range(TRIES))
        return {"sgemm": 2 * SIDE**3 / multiply / 1e9, "bandwidth": 2 * self.source.nbytes / copy / 1e9}

    def multiply(self) -> None:
        np.matmul(self.left, self.right, out=self.product)

    def copy(self) -> None:
        list(self.pool.map(np.copyto, self.target, self.source))


def seconds(function: Callable) -> float:
    """The number of seconds that a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def describe(threads: int) -> dict:
    """The facts to print with a measurement: {"processor", "cores", "threads", "system", "blas", "versions"}."""
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
