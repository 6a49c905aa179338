"""Decides whether an answer is right, and diagnoses it if it is not; all conclusions are drawn from numbers."""

import contextlib
import inspect
import io
import itertools
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minibert.exercises.calling import Outcome, as_array, computes, outcomes, outcomes_of_answer
from minibert.exercises.cells import advice_on_name
from minibert.exercises.comparing import SAME, compare, distance
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG, Exercise, NothingReturned, Recorded, Try, Verdict
from minibert.exercises.limits import LeftThreads, OutOfTime

NO_RETURN = (
    ": your function returns None.  Is a `return` missing?  (np.add.at and similar functions work in place, and "
    "return None.)"
)
LEFT_THREADS = (
    "your function starts threads that go on after it has returned: wait for them with join() or shutdown() before the "
    "result is returned"
)
UNREPAIRED = "not done yet: this computes what the code with the bug computes"
LINE = "line_of_answer"  # an attribute of an error of another process, which has no traceback here
SECONDS_OF_SEARCH = 3.0  # for the order of arguments with which an answer would be right


def judge_function(exercise: Exercise, answer: Callable) -> Verdict:
    """Try a function on all cases of its exercise, within a time limit."""
    tries = list(exercise.tries())
    try:
        given = outcomes_of_answer(exercise, answer, tries)
    except LeftThreads:
        return Verdict(WRONG, LEFT_THREADS)
    return judge_outcomes(
        exercise,
        tries,
        given,
        begun=computes(answer),
        about=lambda: say_about(exercise, tries),
        other=lambda right: other_order(exercise, right, given, answer),
    )


def judge_outcomes(
    exercise: Exercise,
    tries: list[Try],
    given: list,
    *,
    begun: bool,
    about: Callable[[], str | None],
    other: Callable[[list], str | None] = lambda right: None,
) -> Verdict:
    """The verdict on what an answer gave in the cases of its exercise.

    begun: whether the answer computes anything; about, other: () -> what it misses although its results are right, and
    (the right outcomes) -> whether its arguments are in another order; each is called only where it is needed.
    """
    if all(outcome is None for outcome in given):
        return Verdict(NOT_DONE, f"not done yet{NO_RETURN if begun else ''}")
    right = outcomes(exercise, exercise.solution)
    if exercise.broken is not None and computes_the_same(exercise, right, given, exercise.broken):
        return Verdict(NOT_DONE, UNREPAIRED)
    for checks in (say_error, say_nothing, say_number, say_changed):
        if text := checks(exercise, tries, given):
            return Verdict(WRONG, known_mistake(exercise, right, given) or other(right) or text)
    errors = [
        [error_of(outcome, expected, output, least) for output, least in enumerate(least_sizes(exercise, right))]
        for outcome, expected in zip(given, right, strict=True)
    ]  # [tries][outputs]
    largest = max(error for of_try in errors for error in of_try)
    if largest <= exercise.tolerance:
        if text := about():
            return Verdict(WRONG, text)
        found = "exactly" if largest == 0 else f"max error {largest:.0e}"
        return Verdict(RIGHT, f"right, {found}" + (f".  {exercise.note}" if exercise.note else ""))
    text = known_mistake(exercise, right, given) or other(right)
    return Verdict(WRONG, text or describe(exercise, tries, right, given, errors))


# ----------------------------------------------------------------------------------------- known mistakes


def known_mistake(exercise: Exercise, right: Sequence[Outcome], given: Sequence[Outcome]) -> str | None:
    """The hint of the first known mistake with the same outputs as the answer; or one for each wrong output."""
    results = [outcomes(exercise, mistake.function) for mistake in exercise.mistakes]
    sizes = least_sizes(exercise, right)
    for mistake, bad in zip(exercise.mistakes, results, strict=True):
        if all(alike(given, bad, output, least) for output, least in enumerate(sizes)):
            return mistake.hint
    wrong = [output for output, least in enumerate(sizes) if not alike(given, right, output, least)]
    explained = {
        output: [
            k
            for k, bad in enumerate(results)
            if alike(given, bad, output, sizes[output]) and not alike(right, bad, output, sizes[output])
        ]
        for output in wrong
    }
    if not wrong or not all(explained.values()):
        return None  # some output is wrong in an unknown way
    chosen = dict.fromkeys(numbers[0] for numbers in explained.values())
    return "  ".join(exercise.mistakes[k].hint for k in chosen)


def least_sizes(exercise: Exercise, right: Sequence[Outcome]) -> list[float]:
    """For each output, a size that is small beside its largest number in any case.

    In a case where the right result is 0, others may differ from it by a rounding error.
    """
    found = []
    for output in range(len(exercise.outputs)):
        arrays = [one.results[output] for one in right if one.results and isinstance(one.results[output], np.ndarray)]
        numbers = [np.abs(array[np.isfinite(array)], dtype=float).max(initial=0) for array in arrays]
        found.append(max(1e-30, 1e-6 * max(numbers, default=0)))
    return found


def error_of(outcome: Outcome, true: Outcome, output: int, least: float) -> float:
    """The distance of one output from the right one."""
    assert outcome.results is not None and true.results is not None
    return distance(outcome.results[output], true.results[output], least)


def computes_the_same(
    exercise: Exercise, right: Sequence[Outcome], given: Sequence[Outcome], function: Callable
) -> bool:
    """Whether an answer has all the results of another function."""
    theirs = outcomes(exercise, function)
    return all(alike(given, theirs, output, least) for output, least in enumerate(least_sizes(exercise, right)))


def alike(some: Sequence[Outcome], others: Sequence[Outcome], output: int, least: float) -> bool:
    """Whether two functions gave the same results for one of their outputs in all cases."""
    return all(is_same(a, b, output, least) for a, b in zip(some, others, strict=True))


def is_same(a: Outcome | None, b: Outcome | None, output: int, least: float) -> bool:
    """Whether two calls gave the same result for one of their outputs."""
    if a is None or b is None:
        return a is b
    if a.error is not None or b.error is not None:
        return type(a.error).__name__ == type(b.error).__name__
    if a.count is not None or b.count is not None:
        return a.count == b.count
    if a.changed != b.changed:
        return False
    return a.results is not None and b.results is not None and error_of(a, b, output, least) <= SAME


# ------------------------------------------------------------------------------------- swapped arguments


def other_order(exercise: Exercise, right: Sequence[Outcome], given: list, answer: Callable) -> str | None:
    """What to say if an answer would be right with its arguments in another order.  Nothing that it prints is shown."""
    if any(outcome is not None and isinstance(outcome.error, OutOfTime) for outcome in given):
        return None
    expected, own = parameters(exercise.shown or exercise.solution), parameters(answer)
    pairs = [] if exercise.wrap else list(itertools.combinations(range(len(expected)), 2))
    orders = [tuple(j if k == i else i if k == j else k for k in range(len(expected))) for i, j in pairs]
    if sorted(own) == sorted(expected):
        orders.insert(0, tuple(expected.index(name) for name in own))
    for order in orders:
        if order == tuple(range(len(expected))):
            continue
        tries = list(exercise.tries())
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found = outcomes_of_answer(exercise, reordered(answer, order), tries, SECONDS_OF_SEARCH / len(orders))
        except LeftThreads:
            return None
        if all(is_right(exercise, right, outcome, number) for number, outcome in enumerate(found)):
            names = ", ".join(expected[k] for k in order)
            return (
                f"Your function would be right if it were called with its arguments in the order ({names}).  The order "
                f"is ({', '.join(expected)}): have you swapped two of them?"
            )
    return None


def parameters(function: Any) -> list[str]:
    """The names of a function's parameters; none if it does not say."""
    if isinstance(function, Recorded):
        return list(function.parameters)
    try:
        return [name for name, one in inspect.signature(function).parameters.items() if one.kind <= one.VAR_POSITIONAL]
    except (TypeError, ValueError):
        return []


def reordered(function: Callable, order: Sequence[int]) -> Callable:
    """A function that passes argument order[k] on as argument k; to a call with fewer arguments, all as they are."""

    def passing(*arguments, **named):
        if len(arguments) <= max(order):
            return function(*arguments, **named)
        return function(*(arguments[k] for k in order), *arguments[len(order) :], **named)

    return passing


def is_right(exercise: Exercise, right: Sequence[Outcome], outcome: Outcome | None, number: int) -> bool:
    """Whether the results of a case are right."""
    if outcome is None or outcome.results is None:
        return False
    errors = (error_of(outcome, right[number], k, least) for k, least in enumerate(least_sizes(exercise, right)))
    return all(error <= exercise.tolerance for error in errors)


# --------------------------------------------------------------------------------------------- describing


def say_error(exercise: Exercise, tries: list[Try], given: list) -> str | None:
    """The first case in which the answer raises an error, or does not end."""
    for one, outcome in zip(tries, given, strict=True):
        if outcome is None or outcome.error is None:
            continue
        error, beginning = outcome.error, f"with {one.what}, your function"
        if isinstance(error, OutOfTime):
            return f"{beginning} does not end within the time limit: is there a loop that never ends?"
        if isinstance(error, NothingReturned):
            return f"{beginning} returns nothing (None) {error}: is a `return` missing on one branch of an `if`?"
        line = line_of(error)
        where = f" in its line {line}" if line else ""
        message = (str(error).splitlines() or [""])[0]
        text = f"{beginning} raises {type(error).__name__}{where}: {message}"
        if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
            advice = advice_on_name(error.name or "", exercise.lesson)
            text += f"; {advice}" if advice else ""
        if isinstance(error, TypeError) and not line and (names := parameters(exercise.shown or exercise.solution)):
            text += f"; it is called with {len(names)} arguments: {', '.join(names)}"
        if isinstance(error, SystemExit):
            text += "; leave out sys.exit, exit() or quit(), and return the result"
        return text.removesuffix(": ")
    return None


def line_of(error: BaseException) -> int | None:
    """The line of an answer in which an error was raised; None if it was not raised in the answer."""
    if hasattr(error, LINE):
        return getattr(error, LINE)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).parent != Path(__file__).parent]
    return lines[0] if lines else None


def say_nothing(exercise: Exercise, tries: list[Try], given: list) -> str | None:
    """The first case in which the answer returns nothing, although it does in others."""
    for one, outcome in zip(tries, given, strict=True):
        if outcome is None:
            other = next(other.what for other, there in zip(tries, given, strict=True) if there is not None)
            return (
                f"with {one.what}, your function returns nothing (None), though it returns a result with {other}: is a "
                "`return` missing on one branch of an `if`, or after a loop?"
            )
    return None


def say_about(exercise: Exercise, tries: list[Try]) -> str | None:
    """The first case in which an answer misses what its exercise is about, though its results are right."""
    if exercise.about is not None:
        for one in tries:
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
    """A description of an unknown mistake: of the worst output, in the first case in which that output is wrong."""
    of_output = [[of_try[k] for of_try in errors] for k in range(len(exercise.outputs))]
    output = max(range(len(of_output)), key=lambda k: max(of_output[k]))
    number = next(k for k, error in enumerate(of_output[output]) if error > exercise.tolerance)
    name, what = exercise.outputs[output], tries[number].what
    mine, true = given[number].results[output], right[number].results[output]
    text = f"with {what}, {say_tuple(given[number], true, name) or f'{name} {compare(mine, true)}'}"
    stop = "" if text.endswith("?") else "."
    good = [
        name for name, of_tries in zip(exercise.outputs, of_output, strict=True) if max(of_tries) <= exercise.tolerance
    ]
    if good:
        text, stop = f"{text}{stop}  These results are already right: {', '.join(good)}", "."
    passed = [one.what for one, of_try in zip(tries, errors, strict=True) if max(of_try) <= exercise.tolerance]
    if passed:
        text += f"{stop}  Your function is right with {'; '.join(passed)}"
    return text


def say_tuple(outcome: Outcome, true: object, name: str) -> str | None:
    """Whether a function gave a tuple, where its result should be one array or number of its elements."""
    if outcome.parts is None or not isinstance(true, np.ndarray):
        return None
    if isinstance(outcome.results, tuple) and getattr(outcome.results[0], "shape", None) == true.shape:
        return None  # a tuple of rows or numbers is as good as an array
    if len(outcome.parts) == 1:
        return f"your function returns a tuple with one element instead of {name}: is there a comma after the result?"
    same = [k for k, part in enumerate(outcome.parts) if distance(as_array(part), true) <= SAME]
    which = f"; element {same[0]} is right, so return only that" if same else ""
    return f"your function returns a tuple of {len(outcome.parts)} results instead of {name} alone{which}"
