"""Decides whether a CUDA kernel is right, in the emulator's check mode, which finds races, wrong addresses and more.

The numbers are compared after that: a kernel with a race may happen to give the right ones.  What they do not show,
such as one thread that does everything, is decided last, from counts of the threads' reads and writes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from minibert import emulator
from minibert.emulator.trace import Access
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG, Exercise, Mistake, Recorded, Verdict
from minibert.exercises.judging import compare, distance

NOT_BEGUN = "// ..."  # marks the place for the reader's lines in the kernel that a lesson hands out
SECONDS = 20  # of computing time that a launch may take
DYNAMIC_BYTES = 4096  # of dynamic shared memory that each launch has, for kernels that declare any


@dataclass(frozen=True)
class Launch:
    """One launch of the kernel to write.

    what        what is special about it
    grid, block     as a launch takes them: a number, or one for each axis
    arguments   () -> the kernel's arguments, fresh; where the result is only written, it holds NaN before
    output      which of them is the result
    expected    what it must hold then
    """

    what: str
    grid: int | tuple[int, int]
    block: int | tuple[int, int]
    arguments: Callable[[], tuple]
    output: int
    expected: np.ndarray

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.block if isinstance(self.block, int) else math.prod(self.block)


@dataclass(frozen=True)
class Observed:
    """What the threads of a launch did.

    accesses    their reads and writes, in order
    sectors     of global memory that they touched, in reads and writes
    """

    accesses: list[Access]
    sectors: int

    def of(self, array: int, action: str = "write") -> list[Access]:
        """The reads, or writes, of an argument."""
        return [one for one in self.accesses if one.array == array and one.action == action]


@dataclass(frozen=True)
class KernelExercise(Exercise):
    """A kernel to write.  solution and the functions of mistakes are sources; tries are Launches.

    kinds: what an error of the emulator means here, by its kind: "race" -> hint.  Races in global memory are kinds of
    their own, "global race" and, between blocks, "block race": there no barrier is missing, but two threads work on one
    element.  Without a hint for block races, the one for global races is used.

    about: (the launch numbered `observed`, what its threads did) -> what is wrong although the numbers are right, or
    None.
    """

    kinds: tuple[tuple[str, str], ...] = ()
    observed: int = 0


def judge_kernel(exercise: KernelExercise, source: str) -> Verdict:
    """Run a kernel in check mode, on every launch of its exercise."""
    if not isinstance(source, str):
        return Verdict(WRONG, f"expected the source of a kernel as a string; got {type(source).__name__}")
    launches = list(exercise.tries())
    try:
        with emulator.checking(), emulator.time_limit(SECONDS):
            if NOT_BEGUN in source and not observe(source, launches[0]).of(launches[0].output):
                return Verdict(NOT_DONE, "not done yet")
            results = [run(source, launch) for launch in launches]
            return verdict_on_results(exercise, source, launches, results)
    except emulator.NoCompilerError as error:
        return Verdict(NOT_DONE, f"your kernel cannot be checked here: {error}")
    except emulator.CudaError as error:
        kinds = dict(exercise.kinds)
        hint = next((kinds[kind] for kind in kinds_of(error) if kind in kinds), "")
        return Verdict(WRONG, " ".join(filter(None, [hint, f"[{error}]"])))


def need_compiler() -> None:
    """Raise NoCompilerError if kernels cannot be run here."""
    if problem := emulator.compiler_status():
        raise emulator.NoCompilerError(problem)


def verdict_on_results(exercise: KernelExercise, source: str, launches: list[Launch], results: list) -> Verdict:
    """The verdict on a kernel in which check mode finds nothing."""
    errors = [distance(mine, launch.expected) for mine, launch in zip(results, launches, strict=True)]
    largest = max(errors)
    if largest <= exercise.tolerance:
        launch = launches[exercise.observed]
        if exercise.about and (text := exercise.about(launch, observe(source, launch))):
            return Verdict(WRONG, f"with {launch.what}: {text}")
        return Verdict(RIGHT, f"right, max error {largest:.0e}, no races.  {exercise.note}")
    if mistake := known_mistake(exercise, launches, results):
        return Verdict(WRONG, mistake)
    number = errors.index(largest)
    launch, name = launches[number], exercise.outputs[0]
    text = untouched(source, launch, name) if np.isnan(results[number]).any() else None
    text = f"with {launch.what}, {text or f'{name} {compare(results[number], launch.expected)}'}"
    good = [launch.what for launch, error in zip(launches, errors, strict=True) if error <= exercise.tolerance]
    return Verdict(WRONG, text + (f".  Your kernel is right with {'; '.join(good)}" if good else ""))


def kinds_of(error: emulator.CudaError) -> list[str]:
    """What an error may be called in `kinds`, the most specific name first."""
    if error.kind != "race" or "shared memory" in str(error):
        return [error.kind]
    return ["block race", "global race"] if "another block" in str(error) else ["global race"]


def run(source: str, launch: Launch) -> np.ndarray:
    """What a kernel leaves in its output."""
    arguments = launch.arguments()
    emulator.Module(source).kernel()(launch.grid, launch.block, arguments, shared=DYNAMIC_BYTES)
    return arguments[launch.output]


def results_of(source: str | Recorded, launches: list[Launch]) -> list[np.ndarray]:
    """What a kernel of ours leaves in its output, in each launch."""
    return source.outcomes() if isinstance(source, Recorded) else [run(source, launch) for launch in launches]


def observe(source: str, launch: Launch) -> Observed:
    """What the threads of a launch do."""
    kernel = emulator.Module(source).kernel()
    with emulator.counting() as counts:
        kernel(launch.grid, launch.block, launch.arguments(), shared=DYNAMIC_BYTES)
    accesses = kernel.trace(launch.grid, launch.block, launch.arguments(), shared=DYNAMIC_BYTES)
    return Observed(accesses, sum(count.sectors for count in counts.values()))


def untouched(source: str, launch: Launch, name: str) -> str | None:
    """What is wrong where a result holds NaN as before the launch, or the sum of something and NaN."""
    seen = observe(source, launch)
    written = {one.element for one in seen.of(launch.output)}
    missing = [number for number in range(launch.expected.size) if number not in written]
    if missing:
        where = [int(i) for i in np.unravel_index(missing[0], launch.expected.shape)]
        return f"{len(missing):,} of {launch.expected.size:,} elements of {name} are never written, such as {where}"
    first: dict[int, Access] = {}
    for one in seen.accesses:
        if one.array == launch.output:
            first.setdefault(one.element, one)
    early = next((one for one in first.values() if one.action == "read" or one.atomic), None)
    if early is None or not np.isnan(launch.arguments()[launch.output]).any():
        return None
    return (
        f"line {early.line} adds to an element of {name}, or reads one, before anything was written to it.  The memory "
        "for a result holds anything before a launch (here, NaN): write to it with = first"
    )


def busiest(accesses: Sequence[Access], per: Callable[[Access], Any] = lambda one: (one.block, one.thread)) -> int:
    """The largest number of different elements that one thread uses (or other group of accesses)."""
    used: dict[Any, set[int]] = {}
    for one in accesses:
        used.setdefault(per(one), set()).add(one.element)
    return max(map(len, used.values()), default=0)


def known_mistake(exercise: KernelExercise, launches: list[Launch], results: list) -> str | None:
    """The hint of the first known mistake that gives the same numbers."""
    near = exercise.tolerance  # in float32, a different order of additions changes the last digits
    for mistake in exercise.mistakes:
        wrong = results_of_mistake(exercise, mistake)
        differs = any(distance(a, launch.expected) > 2 * near for a, launch in zip(wrong, launches, strict=True))
        if differs and all(distance(a, b) <= near for a, b in zip(wrong, results, strict=True)):
            return mistake.hint
    return None


@cache
def results_of_mistake(exercise: KernelExercise, mistake: Mistake) -> list[np.ndarray]:
    """What a mistake leaves in the output of each launch: the same every time, so it is computed once."""
    with emulator.checking(False):  # only its numbers count
        return results_of(mistake.function, list(exercise.tries()))
