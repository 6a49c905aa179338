"""Decides whether a CUDA kernel is right, in the emulator's check mode, which finds races, wrong addresses and more.

The numbers are compared last: a kernel with a race may happen to give the right ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minibert import emulator
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG, Exercise, Verdict
from minibert.exercises.judging import compare, distance

NOT_BEGUN = "// ..."  # marks the place for the reader's lines in the kernel that a lesson hands out
SECONDS = 20  # of computing time that a launch may take


@dataclass(frozen=True)
class Launch:
    """One launch of the kernel to write.

    what        what is special about it
    grid, block     as a launch takes them
    arguments   () -> the kernel's arguments, fresh
    output      which of them is the result
    expected    what it must hold then
    """

    what: str
    grid: int | tuple
    block: int | tuple
    arguments: Callable[[], tuple]
    output: int
    expected: np.ndarray


@dataclass(frozen=True)
class KernelExercise(Exercise):
    """A kernel to write.  solution and the functions of mistakes are sources; tries are Launches.

    kinds: what an error of the emulator means here, by its kind: "race" -> hint.  Races in global memory are kinds of
    their own, "global race" and, between blocks, "block race": there no barrier is missing, but two threads work on one
    element.  Without a hint for block races, the one for global races is used.
    """

    kinds: tuple[tuple[str, str], ...] = ()


def judge_kernel(exercise: KernelExercise, source: str) -> Verdict:
    """Run a kernel in check mode, on every launch of its exercise."""
    if not isinstance(source, str):
        return Verdict(WRONG, f"expected the source of a kernel as a string; got {type(source).__name__}")
    if NOT_BEGUN in source:
        return Verdict(NOT_DONE, "not done yet")
    launches = list(exercise.tries())
    try:
        with emulator.checking(), emulator.time_limit(SECONDS):
            results = [run(source, launch) for launch in launches]
    except emulator.NoCompilerError as error:
        return Verdict(NOT_DONE, f"your kernel cannot be checked here: {error}")
    except emulator.CudaError as error:
        kinds = dict(exercise.kinds)
        hint = next((kinds[kind] for kind in kinds_of(error) if kind in kinds), "")
        return Verdict(WRONG, " ".join(filter(None, [hint, f"[{error}]"])))
    errors = [distance(mine, launch.expected) for mine, launch in zip(results, launches, strict=True)]
    largest = max(errors)
    if largest <= exercise.tolerance:
        return Verdict(RIGHT, f"right, max error {largest:.0e}, no races.  {exercise.note}")
    if mistake := known_mistake(exercise, launches, results):
        return Verdict(WRONG, mistake)
    number = next(k for k, error in enumerate(errors) if error > exercise.tolerance)
    text = f"with {launches[number].what}, {exercise.outputs[0]} {compare(results[number], launches[number].expected)}"
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
    emulator.Module(source).kernel()(launch.grid, launch.block, arguments)
    return arguments[launch.output]


def known_mistake(exercise: KernelExercise, launches: list[Launch], results: list) -> str | None:
    """The hint of the first known mistake that gives the same numbers."""
    near = exercise.tolerance  # in float32, a different order of additions changes the last digits
    for mistake in exercise.mistakes:
        wrong = [run(mistake.function, launch) for launch in launches]  # not checked: only its numbers count
        differs = any(distance(a, launch.expected) > 2 * near for a, launch in zip(wrong, launches, strict=True))
        if differs and all(distance(a, b) <= near for a, b in zip(wrong, results, strict=True)):
            return mistake.hint
    return None
