"""Exercises of the lessons: `check("layernorm_backward", my_function)` says whether it is right, or what is wrong.

    check(name, answer)    a function, or for a kernel its source: right, wrong with a diagnosis, or not done yet
    hints(name)            in a notebook: hints and the solution, folded up until they are asked for
    hint(name, number)     one hint
    solution(name)         the solution's source

A diagnosis follows from what the answer computes, never from how it is written.
"""

import difflib
from typing import Any

from minibert.exercises import (  # isort: skip  (in the order of the lessons: each adds to EXERCISES)
    wordpiece,  # noqa: F401
    splitting,  # noqa: F401
    embeddings,  # noqa: F401
    linear,  # noqa: F401
    backpropagation,  # noqa: F401
    self_attention,  # noqa: F401
    multi_head,  # noqa: F401
    encoder,  # noqa: F401
    layer,  # noqa: F401
    choosing,  # noqa: F401
    objectives,  # noqa: F401
    adamw,  # noqa: F401
    learning,  # noqa: F401
    training_step,  # noqa: F401
    speed,  # noqa: F401
    cuda,  # noqa: F401
    tiles,  # noqa: F401
    flash,  # noqa: F401
    flash_tile,  # noqa: F401
    flash_key,  # noqa: F401
    flash_tail,  # noqa: F401
    flash_kernel,  # noqa: F401
    half_precision,  # noqa: F401
    tasks,  # noqa: F401
    task_metrics,  # noqa: F401
    published,  # noqa: F401
    electra,  # noqa: F401
    debugging_1_to_3,  # noqa: F401
    debugging_4_to_6,  # noqa: F401
    debugging_7_to_9,  # noqa: F401
    debugging_10,  # noqa: F401
)
from minibert.exercises.exercise import (
    ANSWERS,
    EXERCISES,
    FORMER_NAMES,
    NOT_DONE,
    SUCCESSORS,
    Exercise,
    Mistake,
    Try,
    Verdict,
)
from minibert.exercises.judging import judge_function
from minibert.exercises.own_bert import collect
from minibert.exercises.progress import read_progress, remember
from minibert.exercises.showing import Shown, show_hints, show_verdict, source_of

__all__ = [
    "EXERCISES",
    "Exercise",
    "Mistake",
    "Try",
    "Verdict",
    "check",
    "hint",
    "hints",
    "judge",
    "read_progress",
    "solution",
]


def find(name: str) -> Exercise:
    """The exercise with that name, that had it, or that took its place.  Raises ValueError if there is none."""
    if not isinstance(name, str):
        raise ValueError(f'expected the name of an exercise, such as "softmax"; got {type(name).__name__}')
    name = FORMER_NAMES.get(name) or SUCCESSORS.get(name, name)
    if name not in EXERCISES:
        near = difflib.get_close_matches(name, EXERCISES, 1)
        advice = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(EXERCISES)}"
        raise ValueError(f"there is no exercise {name[:40]!r}; {advice}")
    return EXERCISES[name]


def judge(name: str, answer: Any) -> Verdict:
    """The verdict on an answer.  Raises ValueError if there is no such exercise."""
    if isinstance(answer, str) and answer in EXERCISES and (not isinstance(name, str) or name not in EXERCISES):
        raise ValueError(f'the name of the exercise comes first: check("{answer}", {answer})')
    exercise = find(name)
    if name in SUCCESSORS:
        return Verdict(
            NOT_DONE, f'this exercise asks for more now: check("{exercise.name}", ...), in lesson {exercise.lesson}'
        )
    if exercise.judge is not None:
        return exercise.judge(exercise, answer)
    if not callable(answer):
        return Verdict("wrong", f"expected a function; got {type(answer).__name__}")
    return judge_function(exercise, answer)


def check(name: str, answer: Any) -> None:
    """Print whether an answer is right; if it is, record it as done.

    name: of the exercise; answer: the function, or for a kernel its source.
    Raises ValueError if there is no such exercise; never because of the answer.
    """
    verdict = judge(name, answer)
    print(show_verdict(name, verdict))
    if verdict.right:
        name = find(name).name
        ANSWERS[name] = answer
        remember(name)
        if text := collect(name, answer, lambda function: judge(name, function).right):
            print(f"  {text}")


def hints(name: str) -> Shown:
    """All hints and the solution, in a notebook folded up until they are asked for."""
    return show_hints(find(name))


def hint(name: str, number: int = 1) -> None:
    """Print one hint, counted from 1.  Raises ValueError if there is none with that number."""
    steps = find(name).hints
    if not 1 <= number <= len(steps):
        raise ValueError(f"{name} has hints 1 to {len(steps)}, so there is no hint {number}")
    print(steps[number - 1])


def solution(name: str) -> None:
    """Print the solution."""
    print(source_of(find(name)))
