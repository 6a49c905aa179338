"""Hidden cases: right answers pass them, answers that only know the public ones do not."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from minibert.base import processes
from minibert.exercises import EXERCISES, judge
from minibert.exercises.judging import judge_function
from minibert.exercises.kernels import KernelExercise
from minibert.exercises.recording import encode
from minibert.grading import chosen, hidden, judge_hidden, points_of
from minibert.grading.hidden import hidden_tries, written
from minibert.grading.points import POINTS
from tests.exercises.test_exercises import ALL_RIGHT

DAILY = [
    "count_pairs", "longest_match", "positions_of", "linear_backward", "numeric_slope", "attend", "layer_flops",
    "hide_tokens", "learning_rate", "pieces", "best_span", "find_entities",
]  # fmt: skip
FUNCTIONS = [name for name, exercise in EXERCISES.items() if exercise.judge is None]


def unwrapped(exercise):
    """An exercise whose solution, which is wrapped already, can be judged like an answer."""
    return dataclasses.replace(exercise, wrap=None)


def as_text(values):
    return json.dumps(encode(values))


@pytest.mark.parametrize("name", EXERCISES)
def test_every_exercise_has_hidden_cases(name):
    exercise = EXERCISES[name]
    of_seeds = [[written(one) for one in hidden_tries(exercise, seed)] for seed in (1, 1, 2)]
    public = [written(one) for one in exercise.tries()]
    assert of_seeds[0] and not set(of_seeds[0]) & set(public)
    if name not in ("numeric_slope", "training_step"):  # a function among the arguments is another object
        assert of_seeds[0] == of_seeds[1] != of_seeds[2]


@pytest.mark.parametrize("name", DAILY)
def test_the_solution_is_right_and_known_cases_are_not_enough(name):
    """An answer that has learnt the public cases by heart passes them, and fails on hidden ones."""
    exercise = unwrapped(EXERCISES[name])
    assert judge_function(hidden(exercise, 3), exercise.solution).right
    known = {as_text(one.arguments): exercise.solution(*one.arguments) for one in exercise.tries()}

    def by_heart(*arguments):
        return known[as_text(arguments)]

    fresh = dataclasses.replace(exercise, about=None)  # arguments that count how they are read
    assert judge_function(fresh, by_heart).right
    assert not judge_function(hidden(fresh, 3), by_heart).right


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in DAILY])
def test_known_cases_are_never_enough(name):
    test_the_solution_is_right_and_known_cases_are_not_enough(name)


@pytest.mark.thorough
@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_answers_are_right_for_many_seeds(name):
    answers = [answer for other, answer in ALL_RIGHT if other == name]
    for seed in range(5):
        assert judge_function(hidden(unwrapped(EXERCISES[name]), seed), EXERCISES[name].solution).right
        for answer in answers:
            assert judge_hidden(name, answer, seed).right
        for mistake in EXERCISES[name].mistakes:
            assert not judge_function(hidden(unwrapped(EXERCISES[name]), seed), mistake.function).right


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name, one in EXERCISES.items() if isinstance(one, KernelExercise)])
def test_kernels_are_judged_on_hidden_cases(name):
    assert judge_hidden(name, EXERCISES[name].solution, 5).right
    wrong = EXERCISES[name].mistakes[0]
    assert judge_hidden(name, wrong.function, 5) == judge(name, wrong.function)


def test_drawing_hidden_cases_leaves_numpy_as_it_was():
    before = np.random.default_rng
    hidden_tries(EXERCISES["softmax"], 1)
    assert np.random.default_rng is before


def test_hidden_cases_are_the_same_in_every_process():
    """An answer runs in another process than the one that computes the right results, with other hashes of texts."""
    script = (
        "import json, sys, hashlib\nfrom minibert.exercises import EXERCISES\n"
        "from minibert.grading.hidden import hidden_tries, written\n"
        "texts = [written(one) for name in sys.argv[1:] for one in hidden_tries(EXERCISES[name], 6)]\n"
        "print(hashlib.sha256(json.dumps(texts).encode()).hexdigest())"
    )
    names = [name for name in EXERCISES if name not in ("numeric_slope", "training_step")]
    variables = processes.environment(PYTHONHASHSEED="1")
    command = [sys.executable, "-P", "-c", script, *names]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    texts = [written(one) for name in names for one in hidden_tries(EXERCISES[name], 6)]
    assert done.stdout.strip() == hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def test_points(tmp_path):
    points = points_of()
    assert set(points) == set(EXERCISES) and set(POINTS) <= set(EXERCISES) and min(points.values()) > 0
    path = tmp_path / "points.json"
    path.write_text('{"softmax": 7.5, "best_by_likelihood": 0}')
    assert points_of(path) == points | {"softmax": 7.5, "best_by_score": 0}
    for text, words in (
        ("{", "is not JSON"),
        ("[1]", "has a list; expected points such as"),
        ('{"softmax": "x"}', "the points of 'softmax' are 'x'; expected a number, 0 or more"),
        ('{"softmax": -1}', "are -1; expected"),
        ('{"softmax": NaN}', "are nan; expected"),
        ('{"sofmax": 1}', "did you mean 'softmax'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            points_of(path)


def test_exercises_are_chosen_by_name_or_lesson():
    assert chosen(["attend", "softmax", "4"])[:2] == ["softmax", "softmax_backward"]
    assert chosen(["3"]) == [name for name, one in EXERCISES.items() if one.lesson == 3]
    with pytest.raises(ValueError, match="lesson 99 has no exercises"):
        chosen(["99"])
    with pytest.raises(ValueError, match="did you mean 'softmax'"):
        chosen(["sofmax"])
