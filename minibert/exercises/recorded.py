"""The exercises of the student edition: cases and results are in a file, and there is neither a solution nor a mistake.

`scripts/student_edition.py` writes the file: for each exercise its cases, what the solution and each known mistake gave
in them, and everything that a reader may see.  A check compares an answer with these results, and finds the same hints.
"""

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minibert.exercises.calling import outcomes
from minibert.exercises.exercise import ANSWERS, EXERCISES, Exercise, Mistake, Recorded, add
from minibert.exercises.judging import parameters
from minibert.exercises.kernels import KernelExercise, Launch, judge_kernel, results_of
from minibert.exercises.packaged import FUNCTIONS
from minibert.exercises.recording import (
    decode,
    decode_outcomes,
    decode_tries,
    encode,
    encode_outcomes,
    encode_tries,
    is_named,
)
from minibert.exercises.recording import named as function_named

FILE = Path(__file__).with_name("recorded.json.gz")
FUNCTIONS_OF = (
    "solution",
    "mistakes",
    "tries",
    "about",
    "wrap",
    "shown",
    "judge",
)  # fields that are not written as they are


def name_of(function: Callable | None) -> str | None:
    return None if function is None else f"{function.__module__}:{function.__qualname__}"


def record(exercise: Exercise) -> dict:
    """An exercise as JSON can hold it, without its solution and mistakes.

    Raises ValueError for a case that cannot be recorded, and NoCompilerError if kernels cannot be run.
    """
    fields = {field.name: getattr(exercise, field.name) for field in dataclasses.fields(exercise)}
    own = {name: value for name, value in fields.items() if name not in FUNCTIONS_OF and not callable(value)}
    recorded = {name: value for name, value in fields.items() if name not in FUNCTIONS_OF and callable(value)}
    functions = [exercise.solution, *(mistake.function for mistake in exercise.mistakes), *recorded.values()]
    about = {
        "fields": encode(own, strict=True),
        "named": {name: name_of(getattr(exercise, name)) for name in ("about", "wrap")},
        "mistakes": [mistake.hint for mistake in exercise.mistakes],
        "others": list(recorded),
    }
    if isinstance(exercise, KernelExercise):
        launches = list(exercise.tries())
        about["kernel"] = True
        about["tries"] = [
            {
                "what": one.what, "grid": encode(one.grid), "block": encode(one.block), "output": one.output,
                "arguments": encode(one.arguments(), strict=True), "expected": encode(one.expected),
            }
            for one in launches
        ]  # fmt: skip
        about["results"] = [[encode(array) for array in results_of(source, launches)] for source in functions]
    elif exercise.judge is not None:
        raise ValueError(f"the exercise {exercise.name} has a judge of its own; the student edition cannot record it")
    else:
        about["tries"] = tries_of(exercise)
        about["results"] = [encode_outcomes(outcomes(exercise, function), strict=True) for function in functions]
        about["parameters"] = parameters(exercise.shown or exercise.solution)
    return about


def tries_of(exercise: Exercise) -> list | str:
    """The cases of an exercise, written down; or, where they hold objects, the name of the function that makes them.

    Raises ValueError if that function has no name by which it is found again.
    """
    try:
        return encode_tries(exercise.tries())
    except ValueError:
        name = f"{exercise.tries.__module__}:{exercise.tries.__qualname__}"
        if not is_named(exercise.tries, name):
            raise ValueError(
                f"the cases of {exercise.name} hold objects, so make them in a function with a name"
            ) from None
        return name


def exercise_of(about: dict) -> Exercise:
    """The exercise that was recorded."""
    fields = decode(about["fields"])
    fields |= {name: function and function_named(function) for name, function in about["named"].items()}
    kernel = "kernel" in about

    def stand_in(number: int) -> Recorded:
        found, names = about["results"][number], tuple(about.get("parameters", ()))
        return Recorded((lambda: decode(found)) if kernel else (lambda: decode_outcomes(found)), names)

    fields["solution"] = stand_in(0)
    fields["mistakes"] = tuple(Mistake(hint, stand_in(k)) for k, hint in enumerate(about["mistakes"], 1))
    fields |= {name: stand_in(k) for k, name in enumerate(about["others"], 1 + len(about["mistakes"]))}
    if not kernel:
        tries = about["tries"]
        return Exercise(**fields, tries=function_named(tries) if isinstance(tries, str) else decode_tries(tries))
    launches = [launch_of(one) for one in about["tries"]]
    return KernelExercise(**fields, tries=lambda: launches, judge=judge_kernel)


def launch_of(one: dict) -> Launch:
    """A launch that was recorded; its arguments are fresh each time."""
    arguments = one["arguments"]
    return Launch(
        one["what"],
        decode(one["grid"]),
        decode(one["block"]),
        lambda: decode(arguments),
        one["output"],
        decode(one["expected"]),
    )


def load(path: Path = FILE) -> None:
    """Put the exercises of the file on the list."""
    for about in json.loads(gzip.decompress(path.read_bytes())):
        add(exercise_of(about))


def given(name: str) -> Any:
    """What a lesson imports from the module of an exercise, as far as this edition has it.

    An op of the package's; or the reader's own answer, as soon as it was right in this session.  Raises AttributeError.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if name not in EXERCISES:
        raise AttributeError(f"the student edition has no {name}")

    def own(*arguments: Any) -> Any:
        if name not in ANSWERS:
            raise RuntimeError(
                f"this cell uses your own {name}, since the student edition has no solution: write {name} first, and "
                f'run its cell with check("{name}", ...)'
            )
        return ANSWERS[name](*arguments)

    return own
