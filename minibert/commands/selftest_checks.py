"""The checks of `minibert selftest`, in groups; each group runs in a separate process that calls this module's `main`.

The process writes events to standard output, one JSON object per line.  {"titles": list of titles} comes first and
announces all checks; {"line": text} is a line to copy to the report; {"begin": title} announces the start of a check,
and {"title": title, "passed": bool, "seen": text} gives its result.
"""

import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from minibert import __version__
from minibert.bench.throughput import measure_throughput, product_rate
from minibert.checks import CASES, cases_of, check_gradients
from minibert.checks.short_training import agreement, training_losses
from minibert.nn.parameters import HALF_PRECISION
from minibert.ops import Backend, facts, load_backend
from minibert.ops.devices import why_not_in
from minibert.ops.table import PAIRS

STEPS, EMULATED_STEPS = 20, 8
SPEEDS = (("mini", 64, 128), ("base", 32, 128), ("base", 8, 512))  # size, sequences, length
PRECISIONS = ("float64", "float32", *HALF_PRECISION)
Check = Callable[[], tuple[bool, str]]


@dataclass(frozen=True)
class Group:
    """A group of checks that run in the same process, so that a crash in one ends the group.

    name: the kind of checks and, after colons, which of them; seconds: the group's time limit.
    """

    name: str
    seconds: float


def groups(backend: str, emulate: bool, speed: bool) -> list[Group]:
    """All groups of checks for a backend, in the order in which they run."""
    slow = 4 if emulate else 1
    size = 8 if emulate else 4  # checks per group; larger groups need fewer processes, which are slow to start
    names = [Group("machine", 60)]
    names += [Group(f"ops:{start}:{start + size}", 120 * slow) for start in range(0, len(PAIRS), size)]
    if not emulate:
        others = len(CASES) - len(PAIRS)
        names += [Group(f"models:{start}:{start + 6}", 300) for start in range(0, others, 6)]
    precisions = PRECISIONS if backend == "gpu" else PRECISIONS[:2]
    names += [Group(f"training:{precision}", 120 * slow) for precision in precisions]
    if speed and not emulate:
        measured = ["float32", "tf32", "bfloat16", "float16"] if backend == "gpu" else ["float32"]
        names += [Group(f"speed:{precision}", 240) for precision in measured]
    return names


def checks_of(group: str, backend: Backend, whole: bool) -> Iterator[tuple[str, Check]]:
    """Yield the title of each check in a group and the function that runs it.

    whole: whether to train for all STEPS steps, as on a real device, or only for EMULATED_STEPS.
    """
    kind, *rest = group.split(":")
    if kind in ("ops", "models"):
        every = [name for name in CASES if (name in PAIRS) == (kind == "ops")]
        for name in every[int(rest[0]) : int(rest[1])]:
            yield f"gradients: {name}", partial(gradients, backend, name)
    if kind == "training" and why_not_in(backend, rest[0]) is None:
        steps = STEPS if whole else EMULATED_STEPS
        yield (
            f"training: {steps} steps in {rest[0]}, beside the reference",
            lambda: training(backend, rest[0], steps),
        )
        yield f"same bits: training twice in {rest[0]}", lambda: same_bits(backend, rest[0])


def lines_of(group: str, backend: Backend, emulated: bool) -> Iterator[str]:
    """Yield the lines that a group adds to the report besides the results of checks."""
    kind, _, rest = group.partition(":")
    if kind == "machine":
        yield from machine(backend, emulated)
    if kind == "training" and (reason := why_not_in(backend, rest)):
        yield f"skipped {rest}: {reason}"
    if kind == "speed":
        yield from speeds(backend, rest)


def main(argv: list[str]) -> int:
    """Run a group of checks; argv: the backend (cpu, gpu or gpu-emulated) and the name of the group.

    Returns 1 if a CUDA error ended the group early, otherwise 0.
    """
    name, group = argv
    emulate = name == "gpu-emulated"
    backend = load_backend("gpu" if emulate else name, emulate=emulate)
    found = list(checks_of(group, backend, whole=not emulate))
    tell(titles=[title for title, _ in found])
    for line in lines_of(group, backend, emulate):
        tell(line=line)
    for title, check in found:
        tell(begin=title)
        try:
            passed, seen = check()
        except Exception as error:
            tell(title=title, passed=False, seen=in_one_line(error))
            if "CUDA" in type(error).__name__:  # after a CUDA error, every later GPU call in this process would fail
                return 1
        else:
            tell(title=title, passed=bool(passed), seen=seen)
    return 0


def tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


def in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


# -------------------------------------------------------------------------------------------------------- checks


def gradients(backend: Backend, name: str) -> tuple[bool, str]:
    """Check every element of every gradient of one op, layer or model against finite differences, in float64."""
    results = [result for case in cases_of(name, backend) for result in check_gradients(case)]
    worst, plural = max(result.error for result in results), "s" * (len(results) > 1)
    seen = f"{len(results)} gradient{plural}, largest relative error {worst:.1e}"
    return all(result.passed for result in results), seen


def training(backend: Backend, precision: str, steps: int) -> tuple[bool, str]:
    """Compare the losses of a short training run (minibert.checks.short_training) with the float64 reference's."""
    difference, bound = agreement(backend, precision, steps)
    return difference <= bound, f"largest difference in the loss {difference:.1e} (allowed: {bound:.1e})"


def same_bits(backend: Backend, precision: str) -> tuple[bool, str]:
    """Check that two runs of the same training give bitwise identical losses."""
    one, other = (training_losses(backend, precision, 3) for _ in range(2))
    return bool((one == other).all()), "3 steps, twice"


# --------------------------------------------------------------------------------------------- machine and speed


def machine(backend: Backend, emulated: bool) -> Iterator[str]:
    """Yield report lines that describe the software versions, the processor and the device."""
    yield f"minibert {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    packages = ("numpy", "numba", "cupy-cuda12x", "cupy-cuda13x", "ml_dtypes")
    versions = ((package, facts.installed_version(package)) for package in packages)
    yield ", ".join(f"{package} {version}" for package, version in versions if version)
    yield f"processor: {facts.processor_name()}"
    if backend.name == "gpu":
        yield "device: emulated" if emulated else device_line(backend.xp)


def device_line(cp: Any) -> str:
    """A report line with the GPU's name and properties."""
    properties = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)
    name = properties["name"]
    name = name.decode() if isinstance(name, bytes) else name
    free, total = cp.cuda.runtime.memGetInfo()
    return (
        f"device: {name}, compute capability {properties['major']}.{properties['minor']}, "
        f"{properties['multiProcessorCount']} multiprocessors, {total / 1e9:.1f} GB ({free / 1e9:.1f} free), "
        f"driver {cp.cuda.runtime.driverGetVersion()}, CUDA {cp.cuda.runtime.runtimeGetVersion()}"
    )


def speeds(backend: Backend, precision: str) -> Iterator[str]:
    """Yield report lines with the training speeds of several models in one precision."""
    on_gpu = backend.name == "gpu"
    if on_gpu:
        load_backend("gpu", tf32=precision == "tf32")
    try:
        limit = product_rate(backend, precision, side=8192 if on_gpu else 2048)
        yield f"speed: a large product in {precision}: {limit:.1f} TFLOP/s"
        for size, sequences, length in SPEEDS if on_gpu else SPEEDS[:1]:
            got = measure_throughput(backend, size, precision, sequences=sequences, length=length, limit=limit)
            memory = "" if got.peak_memory is None else f", {got.peak_memory / 1e9:.2f} GB"
            yield (
                f"speed: {size}, {sequences} x {length} tokens, {precision}: {got.tokens_per_second:,.0f} tokens/s, "
                f"{got.tflops:.1f} TFLOP/s, {got.utilisation:.0%} of the large product's rate{memory}"
            )
    except Exception as error:  # for example, the GPU does not support the dtype or has too little memory
        yield f"speed: {precision}: {in_one_line(error)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
