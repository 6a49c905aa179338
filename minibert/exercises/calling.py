"""Calls an answer on the cases of its exercise, and keeps what came of it."""

import dis
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.base.arrays import Scalar
from minibert.exercises.exercise import Exercise, Recorded, Try
from minibert.exercises.limits import OutOfTime, run_limited

COMPUTING = ("BINARY", "CALL", "COMPARE", "FOR_ITER", "STORE_SUBSCR", "UNARY")  # begin the names of such instructions


@dataclass
class Outcome:
    """The outcome of one call: results, one array for each output, or the error that it ended with."""

    results: tuple | None = None
    error: BaseException | None = None
    changed: int | None = None
    """the number of an argument that the function has changed"""
    count: int | None = None
    """how many results it gave, if that is not the expected number"""
    parts: tuple | None = None
    """the elements of a tuple that it gave where one result is expected"""


def outcomes(exercise: Exercise, function: Any) -> list:
    """The outcome of each case of an exercise, with fresh arguments, of a function of ours."""
    if isinstance(function, Recorded):
        return function.outcomes()
    return [call(exercise, function, one) for one in exercise.tries()]


def outcomes_of_answer(
    exercise: Exercise, answer: Callable, tries: Sequence[Try], seconds: float | None = None
) -> list:
    """The outcome of each case, of somebody's function, within a time limit.

    A case that has not ended has the error OutOfTime, and so have those after it.  Raises LeftThreads.
    """
    found: list = []
    function = exercise.wrap(answer) if exercise.wrap else answer
    run_limited(lambda: found.extend(call(exercise, function, one) for one in tries), seconds)
    found = found[: len(tries)]
    return found + [Outcome(error=OutOfTime()) for _ in tries[len(found) :]]


def call(exercise: Exercise, function: Callable, one: Try) -> Outcome | None:
    """One call.  None if the function is not written yet: it returns nothing, or `...`."""
    before = [copy_of(argument) for argument in one.arguments]
    try:
        with np.errstate(all="ignore"):
            results = function(*one.arguments)
    except NotImplementedError:
        return None
    except OutOfTime:
        raise
    except BaseException as error:  # whatever a reader's function raises is reported, not raised: SystemExit, too
        return Outcome(error=error)
    if results is None or results is Ellipsis:
        return None
    changed = next((k for k, (a, b) in enumerate(zip(before, one.arguments, strict=True)) if not equal(a, b)), None)
    parts = tuple(results) if isinstance(results, tuple) and len(exercise.outputs) == 1 else None
    results = tuple(results) if isinstance(results, tuple | list) and len(exercise.outputs) > 1 else (results,)
    if len(results) != len(exercise.outputs):
        return Outcome(count=len(results), changed=changed)
    arrays = tuple(result if is_plain(result) else as_array(result) for result in results)
    return Outcome(arrays, changed=changed, parts=parts)


def computes(function: Callable) -> bool:
    """Whether a function does more than unpack its arguments, which means that someone has begun to write it."""
    code = getattr(function, "__code__", None)
    return code is not None and any(step.opname.startswith(COMPUTING) for step in dis.get_instructions(code))


def copy_of(argument: Scalar) -> Scalar:
    if isinstance(argument, np.ndarray):
        return argument.copy()
    if isinstance(argument, tuple | list):
        return type(argument)(map(copy_of, argument))
    if isinstance(argument, dict | set):
        return type(argument)(argument)
    return argument


def equal(a: Any, b: Any) -> bool:
    """Whether an argument is unchanged."""
    if a is b:
        return True
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(equal, a, b))
    return a is b if callable(a) else bool(a == b or (a != a and b != b))  # NaN is not equal to itself


def is_plain(result: Scalar) -> bool:
    """Whether a result is compared as a whole, not number by number: text, lists of pieces and the like."""
    if isinstance(result, list | tuple):
        return not result or any(isinstance(x, str | tuple) for x in result)
    return isinstance(result, str | dict | set | bool)


def as_array(result: Scalar) -> Any:
    """A copy of a result as an array (a later call may write to the same memory); unchanged if it cannot be one."""
    try:
        array = np.array(result)
        return array if array.dtype.kind in "fiub" else result
    except ValueError:  # rows of different lengths
        return result
