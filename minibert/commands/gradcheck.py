"""`minibert gradcheck`: compare every hand-written gradient with finite differences, and print the results."""

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from minibert.base.arguments import Argument
from minibert.base.progress import progress_bar
from minibert.checks import CASES, TOLERANCE, Result, cases_of, check_gradients
from minibert.ops import load_backend

OP = Argument(metavar="OP ...", default="(default: all)", positional=True)
HEADINGS = ("op", "argument", "shape", "largest relative error", "result")
MINIMUM = (13, 15, 36, 22, 7)  # column widths that fit all ops; only models have longer names


@dataclass(frozen=True)
class GradcheckConfig:
    """Check every element of every gradient against finite differences, in float64.

    Prints a table and exits with status 1 if a gradient fails.
    """

    op: Annotated[tuple[str, ...], OP] = ()
    """Ops, layers or models to check, such as layernorm; an unknown name prints the full list."""
    backend: Literal["reference", "cpu", "gpu", "mine"] = "cpu"
    """Backend to check: cpu (Numba), reference (NumPy), gpu (CuPy) or mine (your answers in the lessons)."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU (slow; requires a C++ compiler)."""
    seed: int = 0
    """Seed for the inputs and the random upstream gradient."""

    def __post_init__(self) -> None:
        for name in self.op:
            if name not in CASES:
                raise ValueError(f"unknown gradient check {name!r}; choose from {', '.join(CASES)}")
        if self.seed < 0:
            raise ValueError(f"--seed is {self.seed}; expected 0 or more")


def gradcheck(config: GradcheckConfig) -> int:
    """Run the checks and print the results.  Returns 1 if a check failed, otherwise 0."""
    backend = load_backend(config.backend, emulate=config.emulate)
    results: list[Result] = []
    widths = None
    for name in config.op or CASES:
        cases = progress_bar(cases_of(name, backend, config.seed), desc=name, unit=" cases")
        found = [result for case in cases for result in check_gradients(case, config.seed)]
        rows = [as_row(result) for result in found]
        if widths != (widths := fitting([HEADINGS, *rows], widths)):
            rows.insert(0, HEADINGS)  # print the headings again whenever the columns become wider
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        sys.stdout.flush()
        results += found
    passed = sum(result.passed for result in results)
    print(
        f"\n{passed} of {len(results)} gradients pass on the {config.backend} backend, in float64: an error of at most "
        f"{TOLERANCE:.0e} of the tensor's largest gradient, or no more than rounding explains"
    )
    return 0 if passed == len(results) else 1


def as_row(result: Result) -> tuple[str, ...]:
    """The cells of one row of the table, in the order of HEADINGS."""
    return result.name, result.argument, result.shape, f"{result.error:.1e}", "pass" if result.passed else "FAIL"


def fitting(rows: list[tuple[str, ...]], at_least: tuple[int, ...] | None) -> tuple[int, ...]:
    """The column widths that fit these rows, each at least the corresponding width in `at_least` (default: MINIMUM)."""
    columns = zip(*rows, strict=True)
    before = at_least or MINIMUM
    return tuple(max(width, *map(len, column)) for width, column in zip(before, columns, strict=True))
