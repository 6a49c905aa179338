"""Grading: each answer in a process of its own, whatever it does; the report; what is refused."""

import csv
import json
import sys

import pytest

from minibert.cli import main
from minibert.exercises import EXERCISES
from minibert.exercises.calling import outcomes, outcomes_of_answer
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG
from minibert.exercises.judging import judge_function
from minibert.exercises.recording import encode_outcomes
from minibert.exercises.showing import source_of
from minibert.grading import Rules, find_students, grade_all
from minibert.grading.answers import answers_in
from minibert.grading.grade import TOO_SLOW, verdict, verdict_on
from minibert.grading.hidden import hidden
from tests.exercises.test_exercises import ALL_RIGHT
from tests.grading.notebooks import IMPORTS, SOFTMAX, notebook

RULES = Rules(seed=11, seconds=2.0, megabytes=1024, jobs=1)


def hand_in(folder, *sources, name="lesson.ipynb"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(notebook(*sources), encoding="utf-8")
    return folder


def graded(tmp_path, source, exercise="softmax", rules=RULES, imports=IMPORTS):
    """The grade of one answer, after what a student's folder goes through."""
    hand_in(tmp_path / "anna", imports, f'{source}\ncheck("{exercise}", {exercise})')
    students = find_students(tmp_path)
    grade_all(students, [exercise], rules)
    return students[0].grades[0]


def by_heart(name):
    """The source of an answer that knows the public cases."""
    exercise = EXERCISES[name]
    known = {repr(one.arguments): exercise.solution(*one.arguments).tolist() for one in exercise.tries()}
    return f"KNOWN = {known!r}\n\ndef {name}(*arguments):\n    return np.array(KNOWN[repr(arguments)])\n"


def test_a_class_is_graded(tmp_path, capsys):
    """One is right, one has learnt the public cases by heart, one has nothing; the report is the same each time."""
    for student, source in (("anna", SOFTMAX), ("bert", by_heart("softmax")), ("cleo", "def softmax(x):\n    ...\n")):
        hand_in(tmp_path / "class" / student, IMPORTS, f'{source}\ncheck("softmax", softmax)\ncheck("nosuch", 1)')
    (tmp_path / "class" / "notes").mkdir()
    words = ["grade", str(tmp_path / "class"), "--seed", "11", "--jobs", "2", "--exercises", "softmax", "clip", "--out"]
    assert main([*words, str(tmp_path / "grades")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [["anna", "2", "4"], ["bert", "0", "4"], ["cleo", "0", "4"]]
    assert lines[4].startswith("anna: lesson.ipynb, cell 2: there is no exercise 'nosuch'; choose one of")
    rows = list(csv.reader((tmp_path / "grades" / "grades.csv").open(encoding="utf-8")))
    assert rows == [
        ["student", "softmax", "clip", "total"], ["(points)", "2", "2", "4"],
        ["anna", "2", "0", "2"], ["bert", "0", "0", "0"], ["cleo", "0", "0", "0"],
    ]  # fmt: skip
    found = json.loads((tmp_path / "grades" / "grades.json").read_text(encoding="utf-8"))
    assert found["seed"] == 11 and found["points"] == {"softmax": 2, "clip": 2}
    states = [student["exercises"]["softmax"]["state"] for student in found["students"]]
    assert states == [RIGHT, WRONG, NOT_DONE]
    assert found["students"][0]["exercises"]["clip"]["state"] == "no answer"
    text = (tmp_path / "grades" / "feedback" / "bert.txt").read_text(encoding="utf-8")
    assert text.startswith("bert: 0 of 4 points\n") and "(hidden), your function raises KeyError" in text
    assert main([*words, str(tmp_path / "grades")]) == 2
    assert "is not empty; give a new folder" in capsys.readouterr().err


NEVER = "def softmax(x):\n    return sum(itertools.count())\n"
BAD = {
    "an endless call of C": (f"import itertools\n{NEVER}", TOO_SLOW),
    "an endless loop": ("def softmax(x):\n    while True: pass\n    return x", "does not end within the time limit"),
    "an endless loop around it": ("for k in iter(int, 1):\n    softmax = k\n", TOO_SLOW),
    "os._exit": ("import os\ndef softmax(x):\n    return os._exit(0)", "it ends Python itself, with exit code 0"),
    "sys.exit": ("import sys\ndef softmax(x):\n    return sys.exit(3)", "raises SystemExit in its line 3: 3"),
    "much memory": ("def softmax(x):\n    return np.ones(10**9)", "MemoryError"),
    "a wrong address": ("import ctypes\ndef softmax(x):\n    return ctypes.string_at(0)", "signal 11: a wrong address"),
    "a fork bomb": ("import os\ndef softmax(x):\n    while True: os.fork()\n    return x", "must not start processes"),
    "processes": ("from multiprocessing import get_context as of\ndef softmax(x):\n"
                  "    return of('spawn').Process(target=max).start()\n", "must not start processes"),
    "a shell": ("import os\ndef softmax(x):\n    return os.system('ls')", "must not start processes"),
    "a file": ("def softmax(x):\n    return open('x', 'w')", "must not change files"),
    "the solution": ("from minibert.exercises import EXERCISES as e\ndef softmax(x):\n"
                     "    return e['softmax'].solution(x)", "must not take EXERCISES from minibert.exercises"),
    "an import": ("from minibert.exercises.self_attention import softmax", "is imported from minibert"),
    "a thread": ("import threading, time\ndef softmax(x):\n    threading.Thread(target=time.sleep, args=(9,)).start()\n"
                 "    return x", "starts threads that go on"),
    "a definition that fails": ("x = 1 / 0\ndef softmax(y):\n    return x", "raises ZeroDivisionError in line 1"),
    "no function": ("softmax = 3", "expected a function; got int"),
    "another type": ("def softmax(x):\n    return (k for k in x)", "came out as a generator; write `def`"),
    "a result that cannot be sent": ("def softmax(x):\n    return [object()]", "came out as [<object object>]"),
    "much output": ("def softmax(x):\n    print('x' * 10**6)\n    return x + 1", "came out"),
}  # fmt: skip
DAILY = "os._exit", "an import"


@pytest.mark.parametrize("what", DAILY)
def test_a_bad_answer_is_a_graded_failure(tmp_path, what):
    source, words = BAD[what]
    grade = graded(tmp_path, source)
    assert grade.state == WRONG and words in grade.text


@pytest.mark.thorough
@pytest.mark.parametrize("what", [what for what in BAD if what not in DAILY])
def test_every_bad_answer_is_a_graded_failure(tmp_path, what):
    test_a_bad_answer_is_a_graded_failure(tmp_path, what)
    assert graded(tmp_path, SOFTMAX).state == RIGHT


@pytest.mark.thorough
def test_the_report_is_the_same_each_time(tmp_path):
    for student, source in (("anna", SOFTMAX), ("bert", by_heart("softmax")), ("cleo", BAD["another type"][0])):
        hand_in(tmp_path / "class" / student, IMPORTS, f'{source}\ncheck("softmax", softmax)')
    reports = []
    for jobs in ("1", "3"):
        words = ["--seed", "7", "--jobs", jobs, "--out", str(tmp_path / jobs)]
        assert main(["grade", str(tmp_path / "class"), *words]) == 0
        files = sorted(path for path in (tmp_path / jobs).rglob("*") if path.is_file())
        reports.append([(path.name, path.read_bytes()) for path in files])
    assert reports[0] == reports[1] and len(reports[0]) == 5


def test_a_process_that_cannot_start_is_not_the_answers_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("minibert.grading.grade.python", lambda module: [sys.executable, "-P", "-c", "1 / 0"])
    with pytest.raises(RuntimeError, match="does not start: ZeroDivisionError: division by zero"):
        graded(tmp_path, SOFTMAX)


@pytest.mark.thorough
@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_of_every_exercise_is_right(tmp_path, name):
    exercise, given = EXERCISES[name], IMPORTS + "from collections import Counter\n"
    if isinstance(exercise.solution, str):
        source = f'{name} = r"""\n{exercise.solution}"""'
    else:
        source = source_of(exercise)
        for _ in range(2):  # what it calls, and what that calls
            for other in EXERCISES:
                text = given + source
                if f" {other}(" in text and f"def {other}(" not in text and not name.startswith("encoder_layer"):
                    given = given + source_of(EXERCISES[other])
        given += "from minibert.ops.reference.normal import normal_density\n"
        function = (exercise.shown or exercise.solution).__name__
        source += "" if function == name else f"\n{name} = {function}\n"  # as project 2 hands it in
        if name.startswith("encoder_layer"):
            given += (
                "from minibert.exercises.layer import EPS, gelu, layernorm, layernorm_forward, multi_head\n"
                "from minibert.exercises.layer import multi_head_backward\n"
                "from minibert.ops.reference import gelu_backward, gelu_forward, layernorm_backward, linear_backward\n"
            )
    grade = graded(tmp_path, source, name, Rules(5, 30.0), given)
    assert grade.state == RIGHT, grade.text


# ------------------------------------------------------------------------------------------------ without a process


def test_the_verdict_is_the_one_of_check():
    """The results of an answer, sent as JSON, get the verdict that the answer itself gets."""
    for name, answer in ALL_RIGHT[:12]:
        exercise = hidden(EXERCISES[name], 2)
        found = {"outcomes": encode_outcomes(outcomes_of_answer(exercise, answer, list(exercise.tries())))}
        sent = json.loads(json.dumps({**found, "about": None, "begun": True}))
        assert verdict_on(exercise, sent) == judge_function(exercise, answer)


@pytest.mark.parametrize(
    "found",
    [
        {}, {"outcomes": 3}, {"outcomes": [1]}, {"outcomes": []}, {"state": "right", "text": ""},
        {"error": 1, "line": 2},
        {"outcomes": [{"results": {"tuple": []}, "error": None, "changed": None, "count": None, "parts": None}]},
        {"outcomes": [{"results": {"memory": "AAAA", "dtype": "O", "shape": [1]}}]},
    ],
)  # fmt: skip
def test_results_that_an_answer_has_forged_are_a_failure(tmp_path, found):
    hand_in(tmp_path, IMPORTS, f'{SOFTMAX}\ncheck("softmax", softmax)')
    (answer,) = answers_in(tmp_path / "lesson.ipynb", "a").answers
    result = verdict(answer, found, RULES)
    assert (result.state, result.text) == (WRONG, "the answer has interfered with its grading")


def test_the_better_of_two_files_counts(tmp_path, monkeypatch):
    hand_in(tmp_path, IMPORTS, f'{SOFTMAX}\ncheck("softmax", softmax)', name="a.ipynb")
    hand_in(tmp_path, 'def softmax(x):\n    ...\ncheck("softmax", softmax)', name="b.ipynb")
    exercise = hidden(EXERCISES["softmax"], RULES.seed)
    given = encode_outcomes(outcomes(exercise, exercise.solution))
    good = {"outcomes": given, "about": None, "begun": True}
    monkeypatch.setattr("minibert.grading.grade.run_process", lambda request, rules: good)
    students = find_students(tmp_path)
    assert grade_all(students, [], RULES) == ["softmax"]
    (grade,) = students[0].grades
    assert (grade.state, grade.where) == (RIGHT, "a.ipynb, cell 2")


def test_students_are_folders(tmp_path):
    hand_in(tmp_path / "class" / "bert" / "week 1")
    hand_in(tmp_path / "class" / "anna")
    hand_in(tmp_path / "class" / "anna" / ".ipynb_checkpoints")
    hand_in(tmp_path / "class" / ".trash")
    found = find_students(tmp_path / "class")
    assert [(one.name, len(one.files)) for one in found] == [("anna", 1), ("bert", 1)]
    (alone,) = find_students(tmp_path / "class" / "anna")
    assert alone.name == "anna"
    (tmp_path / "class" / "mine.py").write_text("")
    with pytest.raises(
        ValueError, match="has notebooks .mine.py. and folders with notebooks .anna.; give each student"
    ):
        find_students(tmp_path / "class")


@pytest.mark.parametrize(
    "words, message",
    [
        (["nothing", "--seed", "1"], "nothing does not exist; expected a folder of notebooks"),
        (["a.txt", "--seed", "1"], "a.txt is a file; expected the folder that it is in"),
        (["empty", "--seed", "1"], "empty has no notebooks (.ipynb) and no mine.py, nor have its folders"),
        (["empty"], "missing --seed"),
        (["empty", "--seed", "-1"], "--seed is -1; expected 0 or more"),
        (["empty", "--seed", "x"], "--seed is 'x'; expected a whole number"),
        (["empty", "--seed", "1", "--exercises", "sofmax"], "did you mean 'softmax'?"),
        (["empty", "--seed", "1", "--exercises", "77"], "lesson 77 has no exercises"),
        (["empty", "--seed", "1", "--seconds", "0"], "--seconds is 0; expected more than 0"),
        (["empty", "--seed", "1", "--memory", "1"], "--memory is 1; expected at least 64 MiB"),
        (["empty", "--seed", "1", "--jobs", "-2"], "--jobs is -2; expected"),
        (["empty", "--seed", "1", "--points", "a.txt"], "a.txt is not JSON"),
        (["empty", "--seed", "1", "--points", "b.json"], "b.json"),
        (["empty", "--seed", "1", "--out", "."], "--out . is not empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_graded_is_refused_in_a_line(tmp_path, monkeypatch, capsys, words, message):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["grade", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error


def test_the_student_edition_cannot_grade(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["grade", ".", "--seed", "1"]) == 2
    assert "this is the student edition, which cannot grade" in capsys.readouterr().err
