"""Right answers become a backend of one's own, which computes what the package computes."""

import inspect
import linecache
import re

import numpy as np
import pytest

from minibert.checks import cases_of, check_gradients
from minibert.cli import main
from minibert.exercises import EXERCISES, check, layer
from minibert.exercises.own_bert import PARTS, assemble, losses_of_steps, own_backend, page, sections
from minibert.exercises.showing import source_of
from minibert.ops import load_backend
from minibert.ops.backend import own_file
from minibert.ops.reference.normal import normal_density
from tests.exercises import answers_of_a_student

OPS = ("linear", "embedding", "layernorm", "add_layernorm", "gelu", "tanh", "dropout", "attention", "gather_rows")


@pytest.fixture(autouse=True)
def of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBERT_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("MINIBERT_MINE", raising=False)


def write_cell(source, names, number=[0]):  # noqa: B006  (cells are counted)
    """Run a cell as a notebook does: its source is known to `inspect`."""
    number[0] += 1
    file = f"<cell {number[0]}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    exec(compile(source, file, "exec"), names)


@pytest.fixture
def notebook():
    return new_notebook()


def new_notebook():
    return {"np": np, "normal_density": normal_density}


def answer(name, notebook, source=None, own_name=None):
    write_cell(source or source_of(EXERCISES[name]), notebook)
    check(name, notebook[own_name or name])


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    """What is in the file after all answers."""
    names = new_notebook()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIBERT_MINE", str(tmp_path_factory.mktemp("whole") / "mine.py"))
        patch.setenv("MINIBERT_PROGRESS", str(tmp_path_factory.mktemp("progress") / "progress.json"))
        for name in PARTS:
            answer(name, names)
        return own_file().read_text()


@pytest.fixture
def everything(whole_file):
    own_file().write_text(whole_file)
    return load_backend("mine")


@pytest.mark.parametrize("op", [*OPS, "cross_entropy"])
def test_every_gradient_of_ones_own_ops_is_right(everything, op):
    for case in cases_of(op, everything):
        if "causal" in case.shape:
            continue  # is the package's, for GPT
        assert all(result.passed for result in check_gradients(case))


def test_a_whole_step_calls_nothing_of_the_packages(everything, capsys):
    assert set(sections(own_file())) == set(PARTS)
    assert main(["lessons", "--mine"]) == 0
    text = capsys.readouterr().out
    assert "which equals the package's" in text and "this BERT is yours" in text
    assert text.count("which equals the package's") == 2 and f"the file: {own_file()}" in text
    assert text.count("✓") == len(PARTS) and "still the package's" not in text
    assert len(re.findall(r"yours, called +[1-9]\d* times", text)) == len(PARTS)


def test_what_a_student_writes_becomes_a_whole_bert(notebook, capsys):
    notebook |= {name: getattr(layer, name) for name in layer.GIVEN}
    for function in answers_of_a_student.ANSWERS:
        answer(function.__name__, notebook, inspect.getsource(function))
    text = capsys.readouterr().out
    assert text.count("✓") == len(answers_of_a_student.ANSWERS) and "not taken" not in text
    text = page()
    assert text.count("which equals the package's") == 2 and "this BERT is yours" in text


def test_what_is_missing_is_the_packages_and_counted(notebook, capsys):
    assert "no part is yours yet" in page()
    with pytest.raises(RuntimeError, match="check\\(\\) collects your right answers there"):
        load_backend("mine")
    answer("linear_backward", notebook)
    assert f"it is now part of your BERT (1 of {len(PARTS)} parts)" in capsys.readouterr().out
    text = page()
    assert "which equals the package's" in text and "the package's solutions were called" in text
    assert "linear_backward          yours, called" in text and "embed                    still the package's" in text


def test_a_wrong_answer_is_not_taken(notebook, capsys):
    answer("linear_backward", notebook, "def linear_backward(d_y, cache):\n    return d_y, d_y, d_y\n")
    assert "✗" in capsys.readouterr().out and not own_file().exists()


def test_another_name_and_a_later_answer(notebook):
    answer("embed", notebook, source_of(EXERCISES["embed"]).replace("def embed", "def my_sum"), "my_sum")
    answer("scatter_add", notebook)
    later = source_of(EXERCISES["scatter_add"]).replace('    """', '    """Again. ', 1)
    answer("scatter_add", notebook, later)
    found = sections(own_file())
    assert list(found) == ["embed", "scatter_add"] and "Again." in found["scatter_add"]
    assert "def my_sum" in found["embed"] and "embed = my_sum" in found["embed"]
    assert load_backend("mine").embedding_forward is not load_backend("reference").embedding_forward


def test_an_answer_that_needs_the_notebook_is_right_but_not_taken(notebook, capsys):
    notebook["halve"] = lambda x: x / 2
    source = source_of(EXERCISES["scatter_add"]).replace("return out", "return halve(2 * out)")
    answer("scatter_add", notebook, source)
    text = capsys.readouterr().out
    assert "✓ scatter_add" in text and "not taken into your BERT" in text
    assert not own_file().exists()


def test_an_exercise_that_is_no_part_says_nothing(notebook, capsys):
    answer("matthews", notebook)
    assert "BERT (" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "right, wrong, differs",
    [
        ("return token_weight[token_ids] + position", "return token_weight[token_ids] - position", 2),
        ("return d_y @ weight, d_y.T @ x, d_y", "return d_y @ weight, d_y.T @ x, -d_y", 2),
        ("x * 65536 / (65536 - threshold), 0)", "x, 0)", 1),  # dropout
        ("probabilities * (d_probabilities - mean)", "probabilities * d_probabilities", 2),
    ],
)
def test_a_planted_bug_shows_in_a_loss(everything, right, wrong, differs):
    path = own_file()
    assert path.read_text().count(right) == 1
    path.write_text(path.read_text().replace(right, wrong))
    assert page().count("which differs from the package's") == differs


@pytest.mark.parametrize(
    "right, wrong, words",
    [
        ("return rstd * (", "retrun rstd * (", "SyntaxError: invalid syntax"),
        ("globals().update(vars(assemble(globals())))", "", "must end with globals()"),
        ("import numpy as np", "import numpyy as np", "No module named 'numpyy'"),
        ("return d_y @ weight", "return d_z @ weight", "your linear_backward raises NameError: name 'd_z'"),
    ],
)
def test_a_file_that_was_broken_by_hand_is_refused_in_one_line(everything, capsys, right, wrong, words):
    text = own_file().read_text()
    line = text[: text.index(right)].count("\n") + 1
    own_file().write_text(text.replace(right, wrong))
    for command in (["lessons", "--mine"], ["gradcheck", "layernorm", "linear", "--backend", "mine"]):
        assert main(command) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert words in error and str(own_file()) in error and (not wrong or f"line {line}" in error)


def test_without_any_answer_the_backend_is_the_packages(notebook, capsys):
    backend = own_backend()
    assert losses_of_steps(backend) == pytest.approx(losses_of_steps(load_backend("reference")), abs=1e-9)
    assert backend.linear_forward is not load_backend("reference").linear_forward
    answer(
        "linear_backward", notebook, source_of(EXERCISES["linear_backward"]).replace("return", "print(7)\n    return")
    )
    losses_of_steps(own_backend())
    assert "7\n" in capsys.readouterr().out


def test_assembling_needs_no_file():
    backend = assemble({"embed": lambda *arguments: np.ones((1, 1))})
    assert backend.embedding_forward(*[np.zeros((1, 1), int)] * 6)[0] == 1 and backend.own.calls == {"embed": 1}
