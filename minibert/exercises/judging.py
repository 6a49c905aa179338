"""Decides whether an answer is right, and diagnoses it if it is not; all conclusions are drawn from numbers."""

import dis
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.arrays import Scalar
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG, Exercise, Try, Verdict

SAME = 1e-7  # relative: an answer this close to a mistake's results has made that mistake
NEARLY = 1e-4  # relative: a result this close to the right one is not a mistake in the formula


NO_RETURN = (
    ": your function returns None.  Is a `return` missing?  (np.add.at and similar functions work in place, and "
    "return None.)"
)
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


def judge_function(exercise: Exercise, answer: Callable) -> Verdict:
    """Try a function on all cases of its exercise."""
    right, tries = outcomes(exercise, exercise.solution)
    given, called = outcomes(exercise, exercise.wrap(answer) if exercise.wrap else answer)
    if given[0] is None:
        return Verdict(NOT_DONE, f"not done yet{NO_RETURN if computes(answer) else ''}")
    for checks in (say_error, say_number, say_changed):
        if text := checks(exercise, tries, given):
            return Verdict(WRONG, known_mistake(exercise, right, given) or text)
    errors = [
        [distance(mine, true) for mine, true in zip(outcome.results, expected.results, strict=True)]
        for outcome, expected in zip(given, right, strict=True)
    ]  # [tries][outputs]
    largest = max(error for of_try in errors for error in of_try)
    if largest <= exercise.tolerance:
        if text := say_about(exercise, called):
            return Verdict(WRONG, text)
        found = "exactly" if largest == 0 else f"max error {largest:.0e}"
        return Verdict(RIGHT, f"right, {found}" + (f".  {exercise.note}" if exercise.note else ""))
    return Verdict(WRONG, known_mistake(exercise, right, given) or describe(exercise, tries, right, given, errors))


# ------------------------------------------------------------------------------------------------ calling


def outcomes(exercise: Exercise, function: Any) -> tuple[list, list[Try]]:
    """The outcome of each case, each time with fresh arguments.  None if the function is not written yet."""
    tries = list(exercise.tries())
    return [call(exercise, function, one) for one in tries], tries


def call(exercise: Exercise, function: Callable, one: Try) -> Outcome | None:
    """One call.  None if the function is not written yet: it returns nothing, or `...`."""
    before = [copy_of(argument) for argument in one.arguments]
    try:
        with np.errstate(all="ignore"):
            results = function(*one.arguments)
    except NotImplementedError:
        return None
    except Exception as error:  # whatever a reader's function raises is reported, not raised
        return Outcome(error=error)
    if results is None or results is Ellipsis:
        return None
    changed = next((k for k, (a, b) in enumerate(zip(before, one.arguments, strict=True)) if not equal(a, b)), None)
    results = tuple(results) if isinstance(results, tuple | list) and len(exercise.outputs) > 1 else (results,)
    if len(results) != len(exercise.outputs):
        return Outcome(count=len(results), changed=changed)
    return Outcome(tuple(result if is_plain(result) else as_array(result) for result in results), changed=changed)


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
    """A result as an array; unchanged if it cannot be one."""
    try:
        array = np.asarray(result)
        return array if array.dtype.kind in "fiub" else result
    except ValueError:  # rows of different lengths
        return result


# ---------------------------------------------------------------------------------------------- comparing


def distance(mine: Any, true: Any) -> float:
    """The largest difference, relative to the largest number; infinity if the two cannot be compared."""
    if not isinstance(mine, np.ndarray) or not isinstance(true, np.ndarray):
        return 0.0 if same_kind(mine, true) and mine == true else np.inf
    if mine.shape != true.shape:
        return np.inf
    if mine.size == 0:
        return 0.0
    mine, true = mine.astype(float), true.astype(float)
    if not np.array_equal(np.isfinite(mine), np.isfinite(true)):
        return np.inf
    finite = np.isfinite(true)
    if not np.array_equal(mine[~finite], true[~finite], equal_nan=True):
        return np.inf
    if not finite.any():
        return 0.0
    scale = max(np.abs(true[finite]).max(), np.abs(mine[finite]).max(), 1e-30)
    return float(np.abs(mine[finite] - true[finite]).max() / scale)


def same_kind(mine: Any, true: Any) -> bool:
    """Whether two results have the same type; all kinds of dictionaries count as one type."""
    return type(mine) is type(true) or (isinstance(mine, dict) and isinstance(true, dict))


def known_mistake(exercise: Exercise, right: Sequence[Outcome], given: Sequence[Outcome]) -> str | None:
    """The hint of the first known mistake with the same outputs as the answer; or one for each wrong output."""
    results = [outcomes(exercise, mistake.function)[0] for mistake in exercise.mistakes]
    outputs = range(len(exercise.outputs))
    for mistake, bad in zip(exercise.mistakes, results, strict=True):
        if all(alike(given, bad, output) for output in outputs):
            return mistake.hint
    wrong = [output for output in outputs if not alike(given, right, output)]
    explained = {
        output: [k for k, bad in enumerate(results) if alike(given, bad, output) and not alike(right, bad, output)]
        for output in wrong
    }
    if not wrong or not all(explained.values()):
        return None  # some output is wrong in an unknown way
    chosen = dict.fromkeys(numbers[0] for numbers in explained.values())
    return "  ".join(exercise.mistakes[k].hint for k in chosen)


def alike(some: Sequence[Outcome], others: Sequence[Outcome], output: int) -> bool:
    """Whether two functions gave the same results for one of their outputs in all cases."""
    return all(is_same(a, b, output) for a, b in zip(some, others, strict=True))


def is_same(a: Outcome | None, b: Outcome | None, output: int) -> bool:
    """Whether two calls gave the same result for one of their outputs."""
    if a is None or b is None:
        return a is b
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error)
    if a.count is not None or b.count is not None:
        return a.count == b.count
    if a.changed != b.changed:
        return False
    return a.results is not None and b.results is not None and distance(a.results[output], b.results[output]) <= SAME


# --------------------------------------------------------------------------------------------- describing


def say_error(exercise: Exercise, tries: list[Try], given: list) -> str | None:
    """The first case in which the answer raises an error, or returns nothing."""
    for one, outcome in zip(tries, given, strict=True):
        if outcome is None:
            return f"with {one.what}, your function returns nothing (None)"
        if outcome.error is not None:
            frames = traceback.extract_tb(outcome.error.__traceback__)
            lines = [frame.lineno for frame in frames if Path(frame.filename).parent != Path(__file__).parent]
            where = f" in its line {lines[0]}" if lines else ""
            kind, message = type(outcome.error).__name__, str(outcome.error).splitlines()
            return f"with {one.what}, your function raises {kind}{where}: {message[0] if message else ''}"
    return None


def say_about(exercise: Exercise, called: list[Try]) -> str | None:
    """The first case in which an answer misses what its exercise is about, though its results are right."""
    if exercise.about is not None:
        for one in called:
            if text := exercise.about(one.arguments):
                return f"with {one.what}: {text}"
    return None


def say_number(exercise: Exercise, tries: list[Try], given: list) -> str | None:
    """The first case with the wrong number of results."""
    for outcome in given:
        if outcome.count is not None:
            names = ", ".join(exercise.outputs)
            number = "1 result" if outcome.count == 1 else f"{outcome.count} results"
            return f"your function returns {number}; it should return {len(exercise.outputs)}: {names}"
    return None


def say_changed(exercise: Exercise, tries: list[Try], given: list) -> str | None:
    """The first case in which the answer changes its arguments."""
    for outcome in given:
        if outcome.changed is not None:
            return (
                f"your function changes its argument number {outcome.changed + 1}; an op must not change its inputs, "
                "because other code still reads them (`x -= 1` changes x in place, `x = x - 1` does not)"
            )
    return None


def describe(exercise: Exercise, tries: list[Try], right: list, given: list, errors: list) -> str:
    """A description of an answer whose mistake is not known."""
    failed = [k for k, of_try in enumerate(errors) if max(of_try) > exercise.tolerance]
    passed = [one.what for k, one in enumerate(tries) if k not in failed]
    number = failed[0]
    output = next(k for k, error in enumerate(errors[number]) if error > exercise.tolerance)
    name, what = exercise.outputs[output], tries[number].what
    mine, true = given[number].results[output], right[number].results[output]
    text = f"with {what}, {name} {compare(mine, true)}"
    stop = "" if text.endswith("?") else "."
    good = [n for k, n in enumerate(exercise.outputs) if all(e[k] <= exercise.tolerance for e in errors)]
    if good:
        text, stop = f"{text}{stop}  These results are already right: {', '.join(good)}", "."
    if passed:
        text += f"{stop}  Your function is right with {'; '.join(passed)}"
    return text


def compare(mine: Any, true: Any) -> str:
    """Describes how a wrong result differs from the right one."""
    if not isinstance(mine, np.ndarray) or not isinstance(true, np.ndarray):
        if is_of_another_type(mine, true):
            return f"has the right elements, but is a {type(mine).__name__}; return a {type(true).__name__}"
        if isinstance(mine, set | dict) and isinstance(true, np.ndarray):
            return f"came out as a {type(mine).__name__}; return an array, whose elements have an order"
        if isinstance(mine, dict) and isinstance(true, dict):
            return compare_items(mine, true)
        return f"came out as {shortened(mine)}; expected {shortened(true)}"
    if mine.shape != true.shape:
        transposed = " (transposed?)" if mine.shape == true.shape[::-1] and mine.ndim > 1 else ""
        return f"came out with the shape {list(mine.shape)}; expected {list(true.shape)}{transposed}"
    if not np.isfinite(mine.astype(float)).all() and np.isfinite(true.astype(float)).all():
        bad = "NaN" if np.isnan(mine.astype(float)).any() else "infinity"
        return f"came out with {bad}; is there a division by zero, or the exponential of a large number?"
    if mine.ndim == 2 and mine.shape[0] == mine.shape[1] and distance(mine.T, true) < SAME:
        return "came out transposed"
    if true.dtype.kind == "f" and distance(mine, true) < NEARLY:
        reasons = "is there an extra epsilon, a float32 computation, or a different step size?"
        return f"came out with a relative error of {distance(mine, true):.0e}: {reasons}"
    ratio = common_ratio(mine, true)
    if ratio is not None:
        sign = abs(ratio + 1) < 1e-6
        return (
            "came out with the wrong sign"
            if sign
            else f"came out {ratio:.6g} times as large as it should be, in every element"
        )
    difference = np.abs(mine.astype(float) - true.astype(float))
    position = np.unravel_index(np.argmax(difference), difference.shape)
    if mine.size == 1:
        return f"came out as {readable(mine[position])}; expected {readable(true[position])}"
    wrong = int(np.sum(difference > SAME * max(np.abs(true).max(), 1e-30)))
    share = "all elements differ" if wrong == mine.size else f"{wrong:,} of {mine.size:,} elements differ"
    where = [int(i) for i in position]
    return f"came out as {readable(mine[position])} at {where}; expected {readable(true[position])} ({share})"


def compare_items(mine: dict, true: dict) -> str:
    """The first entry in which two dictionaries differ."""
    for key, value in true.items():
        if key not in mine:
            return f"lacks the key {shortened(key)}; expected {shortened(value)} for it"
        if mine[key] != value:
            return f"has {shortened(mine[key])} for {shortened(key)}; expected {shortened(value)}"
    key = next(key for key in mine if key not in true)
    return f"has {shortened(mine[key])} for {shortened(key)}, which should not be there"


def is_of_another_type(mine: Any, true: Any) -> bool:
    """Whether a result has the right elements in another container, such as a list instead of a tuple or a set."""
    containers = list | tuple | set
    if not isinstance(mine, containers) or not isinstance(true, containers):
        return False
    try:
        return type(mine) is not type(true) and len(mine) == len(true) and type(true)(mine) == true
    except TypeError:  # a set of unhashable elements
        return False


def readable(value: float) -> str:
    """A readable number: integers in full."""
    return f"{int(value):,}" if np.isfinite(value) and value == int(value) else f"{value:.6g}"


def common_ratio(mine: np.ndarray, true: np.ndarray) -> float | None:
    """The factor by which all elements differ from the right result, if it is one number."""
    mine, true = mine.astype(float).ravel(), true.astype(float).ravel()
    large = np.abs(true) > 1e-6 * max(np.abs(true).max(initial=0), 1e-30)
    if large.sum() < 2:
        return None
    ratios = mine[large] / true[large]
    alike = np.ptp(ratios) < 1e-6 * max(abs(ratios[0]), 1e-30) and np.abs(mine[~large]).max(initial=0) < 1e-6
    return float(ratios[0]) if alike and abs(ratios[0]) > 1e-9 else None


def shortened(value: Any, longest: int = 70) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
