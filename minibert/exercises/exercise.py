"""An exercise: a function to write, the cases it is tried on, and the known mistakes.

A diagnosis follows from numbers and counts, never from the text of an answer.  A known mistake is itself a function,
the solution with that mistake in it; an answer whose results equal that function's on every case has made that mistake,
however it is written.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """A mistake that people make.

    hint      what to say to them; it is shown, so it must not give the answer away
    function  the right function with the mistake in it, or for a kernel its source
    """

    hint: str
    function: Any


@dataclass(frozen=True)
class Try:
    """One call of the function to write.

    what       what is special about this call, as it is reported: "one token", "lengths 5, 3 and 1"
    arguments  of the function
    """

    what: str
    arguments: tuple


@dataclass(frozen=True)
class Recorded:
    """What the student edition has instead of a function of ours: what that function gave.

    outcomes    () -> what it gave in each case of its exercise; of a kernel, the array that is its result
    parameters  the names of its parameters
    """

    outcomes: Callable[[], list]
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """A function to write.

    name       as in check("name", function)
    lesson     its number, or the name of its project: "p1"
    task       in a few words, for the list of what is done
    solution   the right function, as it can be pasted into its cell; equal to the package's where that has one
    tries      () -> the calls it is tried with, ordinary ones first; fresh arguments each time
    outputs    the names of its results
    mistakes   see Mistake; if two of them fit, the first one counts
    hints      a series of hints, from "where to look" to "almost the answer"
    note       what to say when the answer is right: where the package has the same function
    tolerance  the largest allowed error of an element, relative to the largest of its array
    about      what else makes an answer wrong: (a case's arguments, after a call with the right result) -> text or None
    wrap       what is called instead of an answer: a function of it; None for the answer itself
    shown      the function whose source is shown as the solution, where that is not `solution`
    judge      for what is not a function of arrays: (exercise, answer) -> Verdict
    broken     for code to repair: the function as it is handed out, with its bug
    """

    name: str
    lesson: int | str
    task: str
    solution: Callable | str | Recorded
    tries: Callable[[], Iterable] = tuple
    outputs: tuple[str, ...] = ("the result",)
    mistakes: tuple[Mistake, ...] = ()
    hints: tuple[str, ...] = ()
    note: str = ""
    tolerance: float = 1e-9
    about: Callable | None = None
    wrap: Callable | None = None
    shown: Callable | None = None
    judge: Callable | None = field(default=None, compare=False)
    broken: Callable | None = None


@dataclass(frozen=True)
class Verdict:
    """The verdict on an answer: "right", "wrong" or "not done yet", and why."""

    state: str
    text: str

    @property
    def right(self) -> bool:
        return self.state == RIGHT


class NothingReturned(Exception):
    """Raised by a `wrap` when an answer returned a result in some of its calls, and nothing in others: "at step 3"."""


RIGHT, WRONG, NOT_DONE = "right", "wrong", "not done yet"
FORMER_NAMES = {"best_by_likelihood": "best_by_score"}  # in notebooks and records of progress that people have
SUCCESSORS = {"attainable": "roofline", "mean_pool": "pool_padded", "replaced": "replace_tokens"}  # they ask for more
EXERCISES: dict[str, Exercise] = {}
ANSWERS: dict[str, Any] = {}  # exercise -> the reader's answer, if it was right in this session


def add(exercise: Exercise) -> Exercise:
    """Put an exercise on the list.  Raises ValueError if its name is taken."""
    if exercise.name in EXERCISES:
        raise ValueError(f"there is already an exercise {exercise.name!r}")
    EXERCISES[exercise.name] = exercise
    return exercise
