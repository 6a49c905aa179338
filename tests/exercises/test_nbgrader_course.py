"""Lessons as assignments for nbgrader, in its format; that nbgrader itself grades them is in docs/teaching.md."""

import json
import re
import sys

import numpy as np
import pytest

from minibert.exercises import EXERCISES
from minibert.exercises.judging import judge_function
from minibert.grading import points_of
from minibert.ops.reference.normal import normal_density
from scripts import nbgrader_course
from tests.exercises.test_exercises import unwrapped

NAMES = [name for name, exercise in EXERCISES.items() if isinstance(exercise.lesson, int)]  # not of a project
REGION = re.compile(r"^ *### BEGIN SOLUTION\n.*?^ *### END SOLUTION\n", re.M | re.S)


def course(tmp_path, *numbers):
    written = nbgrader_course.write_course(tmp_path / "course", numbers, 4711, points_of())
    return written, {
        path.name[:2]: json.loads(path.read_text(encoding="utf-8"))["cells"]
        for path in sorted((tmp_path / "course").glob("source/lesson-*/*.ipynb"))
    }


def by_id(cells):
    return {cell["metadata"]["nbgrader"]["grade_id"]: cell for cell in cells if "nbgrader" in cell["metadata"]}


def test_every_exercise_is_an_answer_cell_and_a_test_cell(tmp_path):
    written, lessons = course(tmp_path)
    found = {name: cell for cells in lessons.values() for name, cell in by_id(cells).items()}
    assert {name.removeprefix("answer-") for name in found if name.startswith("answer-")} == set(NAMES)
    assert sum(written.values()) == sum(points_of()[name] for name in NAMES)
    for name in NAMES:
        answer, test = found[f"answer-{name}"], found[f"points-{name}"]
        about = answer["metadata"]["nbgrader"]
        assert (about["schema_version"], about["solution"], about["grade"], about["locked"]) == (3, True, False, False)
        about = test["metadata"]["nbgrader"]
        assert (about["solution"], about["grade"], about["locked"]) == (False, True, True)
        assert about["points"] == points_of()[name]
        shown = re.sub(r"### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS\n", "", "".join(test["source"]), flags=re.S)
        assert "4711" not in shown and "grading" not in shown and "assert verdict.right" in shown
        handed_out = REGION.sub("", "".join(answer["source"]))
        lesson = (nbgrader_course.ROOT / "lessons").glob(f"{EXERCISES[name].lesson:02}-*.ipynb")
        cells = ["".join(cell["source"]) for cell in json.loads(next(lesson).read_text(encoding="utf-8"))["cells"]]
        stub = next(cell for cell in cells if f'check("{name}", ' in cell)
        assert {line for line in handed_out.splitlines() if line.strip()} <= set(stub.splitlines())
        assert all(len(set(by_id(cells))) == len(by_id(cells)) for cells in lessons.values())


@pytest.mark.parametrize("name", ["linear_backward", "numeric_slope", "gelu_backward", "layernorm_backward"])
def test_what_is_in_the_region_is_right(tmp_path, name):
    _, lessons = course(tmp_path, "03")
    names = {"np": np, "normal_density": normal_density}
    exec("".join(by_id(lessons["03"])[f"answer-{name}"]["source"]), names)
    assert judge_function(unwrapped(name), names[name]).right
    assert list(lessons) == ["03"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["99"], "there is no lesson '99'; expected one of 00, 01"),
        (["00"], "lesson 00 has no exercises"),
        (["--points", "none.json"], "none.json"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["nbgrader_course", str(tmp_path / "new"), *words, "--seed", "1"])
    assert nbgrader_course.main() == 2
    assert message in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["nbgrader_course", str(tmp_path), "--seed", "1"])
    assert nbgrader_course.main() == 2
    assert "is not empty; give a new folder" in capsys.readouterr().err
