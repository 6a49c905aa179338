"""Right answers become a backend of one's own, which computes what the package computes."""

import linecache

import numpy as np
import pytest

from minibert.checks import cases_of, check_gradients
from minibert.cli import main
from minibert.exercises import EXERCISES, check
from minibert.exercises.own_bert import PARTS, assemble, page, sections
from minibert.exercises.showing import source_of
from minibert.ops import load_backend
from minibert.ops.backend import own_file
from minibert.ops.reference.normal import normal_density

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
    return {"np": np, "normal_density": normal_density}


def answer(name, notebook, source=None, own_name=None):
    write_cell(source or source_of(EXERCISES[name]), notebook)
    check(name, notebook[own_name or name])


@pytest.fixture
def everything(notebook, capsys):
    for name in PARTS:
        answer(name, notebook)
    capsys.readouterr()
    return load_backend("mine")


@pytest.mark.parametrize("op", [*OPS, "cross_entropy"])
def test_every_gradient_of_ones_own_ops_is_right(everything, op):
    for case in cases_of(op, everything):
        assert all(result.passed for result in check_gradients(case))


def test_a_whole_step_calls_nothing_of_the_packages(everything, capsys):
    assert set(sections(own_file())) == set(PARTS)
    assert main(["lessons", "--mine"]) == 0
    text = capsys.readouterr().out
    assert "which equals the package's" in text and "this BERT is yours" in text
    assert text.count("✓") == len(PARTS) and "still the package's" not in text


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


def test_a_planted_bug_shows_in_the_loss(everything, capsys):
    path = own_file()
    path.write_text(
        path.read_text().replace(
            "return token_weight[token_ids] + position", "return token_weight[token_ids] - position"
        )
    )
    assert "which differs from the package's" in page()


def test_assembling_needs_no_file():
    backend = assemble({"embed": lambda *arguments: np.ones((1, 1))})
    assert backend.embedding_forward(*[np.zeros((1, 1), int)] * 6)[0] == 1 and backend.own.calls == {"embed": 1}
