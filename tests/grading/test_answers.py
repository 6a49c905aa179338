"""Answers are taken from notebooks without running them."""

import ast

import pytest

from minibert.grading.answers import answers_in, used_names
from minibert.grading.worker import define
from tests.grading.notebooks import IMPORTS, SOFTMAX, notebook

CHECK = 'check("softmax", softmax)'


def found(tmp_path, *sources, name="a.ipynb", **changes):
    path = tmp_path / name
    path.write_text(sources[0] if name.endswith(".py") else notebook(*sources, **changes), encoding="utf-8")
    return answers_in(path, name)


def value(answer):
    """What an answer's statements make."""
    return define([(piece.cell, piece.source, piece.statements) for piece in answer.pieces], answer.expression, {})


@pytest.mark.parametrize(
    "sources, expected",
    [
        ([IMPORTS, "A = 2\ndef f():\n    return A\n", 'check("softmax", f())'], 2),
        (["A = 2\ncheck('softmax', A)", "A = 3"], 2),
        (["A = 1", "A = 2\n", "check('softmax', A)"], 2),
        (["check('softmax', A)", "A = 3", "A = 4"], 3),
        (["A = 1\nB = 5", "A += 1\nA *= 3\nB = 7\ncheck('softmax', A)"], 6),
        (["A = {}\nA['x'] = 1\nA['y'] = 2\ncheck('softmax', A)"], {"x": 1, "y": 2}),
        (["A = 1\nA = A + 1\ncheck('softmax', A)"], 2),
        (["A = []\nfor k in range(3):\n    A = A + [k]\ncheck('softmax', A)"], [0, 1, 2]),
        (["if True:\n    def f(): return 3\ncheck('softmax', f())"], 3),
        (["from math import *\ncheck('softmax', int(floor(2.5)))"], 2),
        (["import math as m\nfrom os import path\ncheck('softmax', m.floor(2.5))"], 2),
        (
            ["try:\n    import no_such\nexcept ImportError:\n    no_such = 4\ncheck('softmax', no_such)"],
            4,
        ),
        (["%matplotlib inline\n!ls\nlen?\nA = 2", "%%time\nB = (", "check('softmax', A)"], 2),
        (["A = '''\n%x\n'''\ncheck('softmax', A)"], "\n%x\n"),
        (["a, (b, *c) = 1, (2, 3, 4)\ncheck('softmax', c)"], [3, 4]),
        (["class A:\n    x = 3\n\ncheck('softmax', A.x)"], 3),
        (["def d(f): return 5\n@d\ndef f(): return 4\ncheck('softmax', f)"], 5),
        (["x = 1 / 0", "def f(x):\n    y = x\n    return y\ncheck('softmax', f(3))"], 3),
        (["import minibert\nminibert.exercises.check('softmax', 7)"], 7),
        (["def f():\n    return [g(k) for k in range(2)]\ng = lambda k: 2 * k", "check('softmax', f())"], [0, 2]),
    ],
)
def test_what_an_answer_consists_of(tmp_path, sources, expected):
    (answer,) = found(tmp_path, *sources).answers
    assert value(answer) == expected


def test_nothing_else_is_run(tmp_path):
    file = tmp_path / "ran"
    bad = f"open({str(file)!r}, 'w')"
    (answer,) = found(tmp_path, f"{bad}\n{IMPORTS}", f"{SOFTMAX}\n{bad}\n{CHECK}\n{bad}", f"x = {bad}").answers
    assert callable(value(answer)) and not file.exists()
    assert [(piece.cell, piece.statements) for piece in answer.pieces] == [(1, (1,)), (2, (0,))]


def test_where_and_what_it_uses_is_said(tmp_path):
    text = "from minibert.ops.reference import gelu_forward as f\nimport minibert.text\n" + SOFTMAX.replace(
        "np.exp", "f"
    )
    (answer,) = found(tmp_path, text, CHECK).answers
    assert (answer.where, answer.uses) == ("a.ipynb, cell 2", ("minibert.ops.reference.gelu_forward",))
    assert answer.begun and not answer.taken


@pytest.mark.parametrize(
    "source", ["from minibert.ops.reference import gelu_forward as softmax", "import minibert.text as softmax"]
)
def test_an_answer_that_is_imported_is_none(tmp_path, source):
    (answer,) = found(tmp_path, f"{source}\n{CHECK}").answers
    assert answer.taken


def test_a_function_that_returns_nothing_is_not_begun(tmp_path):
    assert not found(tmp_path, f"def softmax(x):\n    ...\n{CHECK}").answers[0].begun
    assert found(tmp_path, f"softmax = lambda x: 1\n{CHECK}").answers[0].begun


def test_the_last_check_of_an_exercise_counts(tmp_path):
    answers = found(tmp_path, "a, b = 1, 2\ncheck('softmax', a)\ncheck('softmax', b)\ncheck('attend', a)").answers
    assert [(one.exercise, value(one)) for one in answers] == [("softmax", 2), ("attend", 1)]


def test_a_former_name_is_known(tmp_path):
    assert found(tmp_path, "check('best_by_likelihood', 3)").answers[0].exercise == "best_by_score"


def test_without_checks_functions_are_known_by_their_names(tmp_path):
    answers = found(tmp_path, f"{IMPORTS}{SOFTMAX}", "pieces = 3").answers
    assert [answer.exercise for answer in answers] == ["softmax"]
    assert [one.exercise for one in found(tmp_path, f"{SOFTMAX}\ndef attend(): return 1\n{CHECK}").answers] == [
        "softmax"
    ]


def test_a_collected_file_of_answers(tmp_path):
    text = f"from minibert.exercises.own_bert import assemble\n{IMPORTS}{SOFTMAX}"
    text += "\ndef mine(x):\n    return x\n\nattend = mine\n"
    answers = found(tmp_path, text + "globals().update(vars(assemble(globals())))\n", name="mine.py").answers
    assert [(one.exercise, one.where, one.uses) for one in answers] == [
        ("softmax", "mine.py", ()),
        ("attend", "mine.py", ()),
    ]
    assert value(answers[1])(3) == 3


@pytest.mark.parametrize(
    "sources, note",
    [
        (["check('sofmax', 1)"], "a.ipynb, cell 1: there is no exercise 'sofmax'; did you mean 'softmax'?"),
        (["A = 1", "B = ("], "a.ipynb, cell 2, line 1: '(' was never closed; nothing of this cell is used"),
        (["T = {}\nT.update(x=1)\ncheck('softmax', T)"], "a.ipynb, cell 1, line 2: `T.update(x=1)` is not run for "
         "softmax: an answer consists of definitions and assignments"),
        (["A = 1"], "a.ipynb: there is no answer in it"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_a_line(tmp_path, sources, note):
    assert found(tmp_path, *sources).notes == [note]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{}]}', "[" * 10**5])
def test_what_is_no_notebook_is_said_in_a_line(tmp_path, text):
    (tmp_path / "b.ipynb").write_text(text)
    (note,) = answers_in(tmp_path / "b.ipynb", "b.ipynb").notes
    assert note.startswith("b.ipynb: this is not a notebook (") and "\n" not in note
    (tmp_path / "c.ipynb").write_bytes(b"\xff\xfe\x00")
    assert "this is not a notebook" in answers_in(tmp_path / "c.ipynb", "c").notes[0]


def test_variables_of_a_function_are_not_looked_for():
    tree = ast.parse("def f(a, b=c):\n    d = a + e\n    return [g for g in d if h(g)]")
    assert used_names(tree.body[0]) == {"c", "e", "h"}
