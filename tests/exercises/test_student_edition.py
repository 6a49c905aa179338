"""The student edition: no solution and no wrong answer is in it, and its checks say what the full edition says."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from minibert import __version__, exercises
from minibert.base.processes import environment
from minibert.exercises import EXERCISES, judge, recording
from minibert.exercises.calling import Outcome
from minibert.exercises.judging import judge_function, line_of
from minibert.exercises.kernels import KernelExercise
from minibert.exercises.own_bert import PARTS
from minibert.exercises.packaged import FUNCTIONS, without
from minibert.exercises.recorded import exercise_of, given, record
from minibert.exercises.watched import Log, Rows
from minibert.ops.reference import layernorm_backward, layernorm_forward
from scripts import student_edition
from tests.exercises import answers_of_readers, answers_that_passed, later_answers, repairs, wrong_answers

FEW = ["linear_backward", "longest_match", "pieces", "training_step", "online_attention"]


def answers(name):
    """Right and wrong answers that somebody else wrote."""
    for module in (wrong_answers, answers_of_readers, answers_that_passed, later_answers, repairs):
        for group in (one for one in vars(module).values() if isinstance(one, dict) and set(one) <= set(EXERCISES)):
            for answer in group.get(name, ()):
                yield answer[0] if isinstance(answer, tuple) else answer


def recorded(name):
    """An exercise as the student edition has it: written to JSON and read again."""
    return exercise_of(json.loads(json.dumps(record(EXERCISES[name]))))


def verdicts_are_the_same(name, monkeypatch):
    given = list(answers(name))
    assert given
    expected = [judge(name, answer) for answer in given]
    monkeypatch.setitem(exercises.EXERCISES, name, recorded(name))
    for answer, verdict in zip(given, expected, strict=True):
        assert judge(name, answer) == verdict


@pytest.mark.parametrize("name", FEW)
def test_a_check_says_what_it_says_in_the_full_edition(name, monkeypatch):
    verdicts_are_the_same(name, monkeypatch)


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in EXERCISES if name not in FEW])
def test_every_check_says_what_it_says_in_the_full_edition(name, monkeypatch):
    if isinstance(EXERCISES[name], KernelExercise) and not shutil.which("g++"):
        pytest.skip("kernels take a C++ compiler")
    verdicts_are_the_same(name, monkeypatch)


def test_a_recorded_exercise_has_no_solution(monkeypatch, capsys):
    monkeypatch.setitem(exercises.EXERCISES, "softmax", recorded("softmax"))
    exercises.solution("softmax")
    assert capsys.readouterr().out == "This is the student edition, which has no solutions.\n"
    shown = exercises.hints("softmax")
    assert "solution" not in shown.markup + shown.text and shown.markup.count("<summary>Hint") >= 2
    exercises.hint("softmax", 1)
    assert len(capsys.readouterr().out) > 10


@pytest.mark.parametrize("name", PARTS)
def test_the_packages_ops_stand_in_for_a_part_that_is_missing(name):
    exercise = dataclasses.replace(EXERCISES[name], wrap=None)
    assert judge_function(exercise, FUNCTIONS[name]).right


def test_what_lessons_import_is_an_op_or_ones_own_answer(monkeypatch):
    assert given("attend") is FUNCTIONS["attend"]
    monkeypatch.setattr(exercises.recorded, "ANSWERS", answers := {})
    with pytest.raises(RuntimeError, match='this cell uses your own nearest.*check\\("nearest", ...\\)'):
        given("nearest")(1)
    answers["nearest"] = lambda x: x + 1
    assert given("nearest")(1) == 2
    with pytest.raises(AttributeError, match="has no something"):
        given("something")
    r = np.random.default_rng(0)
    d_y, (_, cache) = (
        r.standard_normal((3, 5)),
        layernorm_forward(r.standard_normal((3, 5)), np.ones(5), np.ones(5), 0.1),
    )
    ours, right = without("variance")(d_y, cache), layernorm_backward(d_y, cache)
    expected = exercises.backpropagation.without("variance")(d_y, cache)
    assert np.allclose(ours[0], expected[0], rtol=1e-12) and not np.allclose(ours[0], right[0])
    with pytest.raises(ValueError, match="only; got 'mean'"):
        without("mean")


# ------------------------------------------------------------------------------------------------ the folder


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    out = tmp_path_factory.mktemp("edition") / "student"
    student_edition.write_edition(out, FEW)
    return out


def test_no_solution_and_no_wrong_answer_is_in_it(edition):
    assert student_edition.leaks(edition) == []
    assert {what for what, _ in student_edition.bodies()} >= {f"the solution of {name}" for name in (*FEW, "row_sums")}
    assert not (edition / "minibert" / "grading").exists() and not list(edition.rglob("test_*.py"))


def test_a_badge_that_opens_the_full_edition_is_not_in_it():
    """As scripts/run_lessons.py makes them, where the project has an address."""
    badge = "[![Open in Colab](https://example.org/badge.svg)](https://example.org/03.ipynb)\n\n# Title\n"
    install = '# in a hosted notebook, first: %pip install -q "minibert @ git+https://example.org"\nx = 1'
    assert [student_edition.HOSTED.sub("", text) for text in (badge, install)] == ["# Title\n", "x = 1"]


def test_a_solution_that_is_left_in_it_is_found(edition):
    path = edition / "minibert" / "exercises" / "cells.py"
    before = path.read_text(encoding="utf-8")
    body = next(body for what, body in student_edition.bodies() if what == "the solution of training_step")
    path.write_text(before + f"\ndef f():\n{body}\n", encoding="utf-8")
    found = student_edition.leaks(edition)
    path.write_text(before, encoding="utf-8")
    assert found[0] == "the solution of training_step in minibert/exercises/cells.py" and len(found) > 3


def test_it_checks_answers_in_a_process_of_its_own(edition, tmp_path):
    text = """
        import minibert
        from minibert import __version__, exercises
        from minibert.exercises.speed import pieces as package_pieces
        print(minibert.__version__, sorted(exercises.EXERCISES))
        def pieces(length, parts):
            ends = [length * k // parts for k in range(parts + 1)]
            return list(zip(ends, ends[1:]))
        def cut(length, parts):
            size = length // parts
            return [(size * k, size * (k + 1)) for k in range(parts)]
        exercises.check("pieces", pieces)
        exercises.check("pieces", cut)
        exercises.check("training_step", lambda *arguments: ...)
        print(package_pieces(4, 2))
        exercises.solution("pieces")
    """
    script = "\n".join(line.removeprefix("        ") for line in text.splitlines())
    (tmp_path / "session.py").write_text(script, encoding="utf-8")
    variables = environment(MINIBERT_PROGRESS=str(tmp_path / "progress.json")) | {"PYTHONPATH": str(edition)}
    done = subprocess.run(
        [sys.executable, "-P", str(tmp_path / "session.py")],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{__version__}+student {sorted(FEW)}"
    assert lines[1].startswith("✓ pieces: right")
    assert "✗ pieces: No thread gets the rows that are left over." in lines
    assert "… training_step: not done yet" in lines and "[(0, 2), (2, 4)]" in lines
    assert lines[-1] == "This is the student edition, which has no solutions."


def test_a_folder_with_files_is_refused(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.txt").write_text("")
    monkeypatch.setattr(sys, "argv", ["student_edition", str(tmp_path)])
    assert student_edition.main() == 2
    assert capsys.readouterr().err == f"student_edition: error: {tmp_path} is not empty; give a new folder\n"


def test_a_check_that_needs_a_solution_cannot_be_made():
    functions = ("f", "1"), ("linear_backward", "f()"), ("wrapped", "linear_backward")
    source = '"""A."""\n' + "".join(f"\n\ndef {name}():\n    return {result}\n" for name, result in functions)
    assert "return 1" in student_edition.pruned(source, {"f"}, "linear")
    with pytest.raises(ValueError, match="linear.py: what a check or a lesson needs uses the answer linear_backward"):
        student_edition.pruned(source, {"wrapped"}, "linear")


@pytest.mark.thorough
def test_the_wheel_has_no_solution(tmp_path, monkeypatch, capsys):
    pytest.importorskip("hatchling")
    monkeypatch.setattr(sys, "argv", ["student_edition", str(tmp_path / "out"), "--wheel"])
    assert student_edition.main() == 0, capsys.readouterr().err
    (wheel,) = (tmp_path / "out" / "dist").glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "wheel", "zip")
    assert student_edition.leaks(tmp_path / "wheel") == []
    assert (tmp_path / "wheel" / "minibert" / "exercises" / "recorded.json.gz").is_file()
    assert not list((tmp_path / "wheel").rglob("*grading*"))


# ------------------------------------------------------------------------------------------------- recording


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2**80, 0.1, float("inf"), "x", [1, (2, [3.0])], {1, 2}, {("a", "b"): 3}, np.float32(0.1),
        np.arange(6.0).reshape(2, 3), np.zeros((0, 3), np.int32), np.array(5), np.array(["ab", "c"]), np.array([1j]),
        np.bool_(1),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_recorded_is_read_as_it_was(value):
    again = recording.decode(json.loads(json.dumps(recording.encode(value, strict=True))))
    assert type(again) is type(value)
    if isinstance(value, np.ndarray):
        assert again.dtype == value.dtype and again.shape == value.shape and (again == value).all()
    else:
        assert again == value


def test_rows_keep_their_common_log_and_functions_their_names():
    log = Log()
    value = Rows("key", np.ones((2, 2)), log), Rows("value", np.ones((2, 2)), log), layernorm_backward
    key, values, function = recording.decode(
        json.loads(json.dumps(recording.encode(value, strict=True))), functions=True
    )
    assert key.log is values.log and (key.name, values.name) == ("key", "value") and function is layernorm_backward
    with pytest.raises(ValueError, match="is no recorded value"):
        recording.decode({"function": "os:system"})
    with pytest.raises(ValueError, match="cannot be recorded"):
        recording.encode(lambda: 1, strict=True)
    assert repr(recording.decode(recording.encode(object))) == "<class 'object'>"


def test_an_error_keeps_its_class_message_and_line():
    try:
        np.linalg.inv(np.zeros((2, 2)))
    except np.linalg.LinAlgError as error:
        first = error
    try:
        missing  # noqa: B018, F821
    except NameError as error:
        second = error
    written = json.loads(json.dumps(recording.encode_outcomes([Outcome(error=first), None, Outcome(error=second)])))
    a, nothing, b = recording.decode_outcomes(written)
    assert (type(a.error).__name__, str(a.error), nothing) == ("LinAlgError", "Singular matrix", None)
    assert isinstance(b.error, NameError) and b.error.name == "missing"
    assert line_of(b.error) == line_of(second) is not None
