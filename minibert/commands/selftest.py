"""`minibert selftest`: is a backend right on this machine, and how fast?  One report, to keep or to send.

For GPUs above all: none of the machines that minibert is developed on has one.
"""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minibert import __version__, info
from minibert.bench.throughput import measure_throughput, product_rate
from minibert.checks import CASES, cases_of, check_gradients
from minibert.checks.training import agreement, training_losses
from minibert.commands.options import check_writable
from minibert.files import write_text
from minibert.nn.parameters import HALF_PRECISION
from minibert.ops import Backend, load_backend
from minibert.ops.backend import PAIRS
from minibert.ops.devices import why_not_in
from minibert.progress import write_line

STEPS, EMULATED_STEPS = 20, 8
SPEEDS = (("mini", 64, 128), ("base", 32, 128), ("base", 8, 512))  # size, sequences, length


@dataclass(frozen=True)
class SelftestConfig:
    """Check a backend on this machine: gradients, agreement with the reference, equal bits; and measure its speed.

    Writes one report file, and exits with 1 if a check failed.
    """

    backend: Literal["cpu", "gpu"] = "gpu"
    """What to check."""
    emulate: bool = False
    """Run the kernels of the gpu backend on the CPU; then speed is not measured."""
    out: str = "minibert-selftest.txt"
    """The report's file; an older one is replaced."""
    speed: bool = True
    """Measure speed too."""


def selftest(config: SelftestConfig) -> int:
    """Run the checks, print the report while it grows, write it.  Returns 1 if a check failed, otherwise 0."""
    check_writable("--out", Path(config.out))
    backend = load_backend(config.backend, emulate=config.emulate)
    report = Report()
    for line in machine(backend, config.emulate):
        report.line(line)
    for title, check in checks(backend, whole=not config.emulate):
        report.check(title, check)
    if backend.has_half_precision and (reason := why_not_in(backend, "bfloat16")):
        report.line(f"left out: bfloat16, since {reason}")
    if config.speed and not config.emulate:
        for line in speeds(backend):
            report.line(line)
    else:
        report.line("speed: not measured" + (" (the kernels ran on the emulator)" if config.emulate else ""))
    report.line(f"{report.failed} of {report.checked} checks failed" if report.failed else "all checks passed")
    write_text(Path(config.out), "\n".join(report.lines) + "\n")
    print(f"\nwritten to {config.out}")
    return 1 if report.failed else 0


class Report:
    """Lines that are printed as they come, and kept for the file."""

    def __init__(self):
        self.lines: list[str] = []
        self.checked = self.failed = 0

    def line(self, text: str) -> None:
        write_line(text)
        self.lines.append(text)

    def check(self, title: str, check: Callable[[], tuple[bool, str]]) -> None:
        """Run a check that returns whether it passed, and what was seen; an error is a failure too."""
        try:
            passed, seen = check()
        except Exception as error:  # the report shall tell of all checks, whatever happens in one
            passed, seen = False, f"{type(error).__name__}: {' '.join(str(error).split())}"
        self.checked += 1
        self.failed += not passed
        self.line(f"{'right' if passed else 'WRONG':6}{title:52}{seen}")


def machine(backend: Backend, emulated: bool) -> Iterator[str]:
    """What it runs on."""
    yield f"minibert {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    packages = ("numpy", "numba", "cupy-cuda12x", "cupy-cuda13x", "ml_dtypes")
    versions = ((package, info.installed_version(package)) for package in packages)
    yield ", ".join(f"{package} {version}" for package, version in versions if version)
    yield f"processor: {info.processor_name()}"
    if backend.name == "gpu":
        yield "device: emulated" if emulated else device_line(backend.xp)


def device_line(cp) -> str:
    """The GPU's name and numbers."""
    properties = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)
    name = properties["name"]
    name = name.decode() if isinstance(name, bytes) else name
    free, total = cp.cuda.runtime.memGetInfo()
    return (
        f"device: {name}, compute capability {properties['major']}.{properties['minor']}, "
        f"{properties['multiProcessorCount']} multiprocessors, {total / 1e9:.1f} GB ({free / 1e9:.1f} free), "
        f"driver {cp.cuda.runtime.driverGetVersion()}, CUDA {cp.cuda.runtime.runtimeGetVersion()}"
    )


def checks(backend: Backend, whole: bool) -> Iterator[tuple[str, Callable]]:
    """Each check's title, and the function that runs it.  whole: with whole layers and models, not only ops."""
    for name in CASES if whole else PAIRS:
        if name in ("lstm", "features") and not backend.has("lstm"):
            continue
        yield f"gradients: {name}", lambda name=name: gradients(backend, name)
    precisions = [name for name in ("float64", "float32", *HALF_PRECISION) if why_not_in(backend, name) is None]
    for precision in precisions:
        steps = STEPS if whole else EMULATED_STEPS
        yield (
            f"training: {steps} steps in {precision}, beside the reference",
            lambda p=precision, n=steps: training(backend, p, n),
        )
    for precision in precisions:
        yield f"same bits: training twice in {precision}", lambda p=precision: same_bits(backend, p)


def gradients(backend: Backend, name: str) -> tuple[bool, str]:
    """Every element of every gradient of one op, layer or model against finite differences, in float64."""
    results = [result for case in cases_of(name, backend) for result in check_gradients(case)]
    worst, plural = max(result.error for result in results), "s" * (len(results) > 1)
    return all(
        result.passed for result in results
    ), f"{len(results)} gradient{plural}, largest relative error {worst:.1e}"


def training(backend: Backend, precision: str, steps: int) -> tuple[bool, str]:
    """Losses beside those of the reference in float64: see minibert.checks.training."""
    difference, bound = agreement(backend, precision, steps)
    return difference <= bound, f"largest difference of a loss {difference:.1e} (at most {bound:.1e})"


def same_bits(backend: Backend, precision: str) -> tuple[bool, str]:
    """The same training twice."""
    one, other = (training_losses(backend, precision, 3) for _ in range(2))
    return bool((one == other).all()), "3 steps, twice"


def speeds(backend: Backend) -> Iterator[str]:
    """Training speed of some models, in each precision of the backend."""
    half = ("float32", "tf32", "bfloat16", "float16")
    for precision in half if backend.has_half_precision else ("float32",):
        if backend.name == "gpu":
            load_backend("gpu", tf32=precision == "tf32")
        try:
            limit = product_rate(backend, precision, side=8192 if backend.name == "gpu" else 2048)
            yield f"speed: a large product in {precision}: {limit:.1f} TFLOP/s"
            for size, sequences, length in SPEEDS if backend.name == "gpu" else SPEEDS[:1]:
                yield speed_line(backend, size, precision, sequences, length, limit)
        except Exception as error:  # a card that lacks a type, or the memory
            yield f"speed: {precision}: {type(error).__name__}: {' '.join(str(error).split())}"
        finally:
            if backend.name == "gpu":
                load_backend("gpu", tf32=False)


def speed_line(backend, size, precision, sequences, length, limit) -> str:
    got = measure_throughput(backend, size, precision, sequences=sequences, length=length, limit=limit)
    memory = "" if got.peak_memory is None else f", {got.peak_memory / 1e9:.2f} GB"
    return (
        f"speed: {size}, {sequences} x {length} tokens, {precision}: {got.tokens_per_second:,.0f} tokens/s, "
        f"{got.tflops:.1f} TFLOP/s, {got.utilisation:.0%} of the product{memory}"
    )
