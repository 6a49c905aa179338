"""Project 2: each bug shows in the stored curves as the notebook says, and the code that it hands out is that code."""

import ast
import json
import math
import re
import textwrap
from inspect import getsource
from pathlib import Path

import numpy as np
import pytest

from minibert.exercises import EXERCISES, broken, judge, tiny_runs
from minibert.exercises.exercise import NOT_DONE
from minibert.exercises.run_pictures import PANELS, plot_run
from minibert.exercises.showing import without_annotations

ROOT = Path(__file__).parents[2]
STORED = ROOT / "lessons" / "data" / "broken_runs.json"
NAMES = [f"run_{number}" for number in range(1, 11)]
CURVES = json.loads(STORED.read_text(encoding="utf-8"))
LOWEST, NOTHING = tiny_runs.lowest_loss(), math.log(tiny_runs.WORDS)


def handed_out(name):
    exercise = EXERCISES[name]
    return getattr(broken, (exercise.shown or exercise.solution).__name__)


def values(name, quantity):
    """Of the healthy run, and of the broken one."""
    return [CURVES[name][which][quantity][1] for which in ("healthy", "broken")]


def notebook():
    return json.loads((ROOT / "lessons" / "p2-debug-this-run.ipynb").read_text(encoding="utf-8"))["cells"]


class TestCode:
    @pytest.mark.parametrize("name", NAMES)
    def test_what_is_handed_out_is_not_done_yet(self, name):
        verdict = judge(name, handed_out(name))
        assert verdict.state == NOT_DONE and "the code with the bug" in verdict.text

    @pytest.mark.parametrize("name", NAMES)
    def test_the_notebook_hands_out_the_code_that_was_run(self, name):
        function = handed_out(name)
        (cell,) = (
            "".join(cell["source"])
            for cell in notebook()
            if f"\ndef {function.__name__}(" in "\n" + "".join(cell["source"])
        )
        source = ast.parse(without_annotations(textwrap.dedent(getsource(function))))
        assert ast.dump(ast.parse(cell).body[0]) == ast.dump(source.body[0])
        assert ast.unparse(ast.parse(cell).body[1]) == f"check('{name}', {function.__name__})"

    @pytest.mark.parametrize("name", NAMES)
    def test_the_repair_has_the_same_signature_and_says_the_same_of_itself(self, name):
        exercise = EXERCISES[name]
        right, with_bug = (exercise.shown or exercise.solution), handed_out(name)
        assert right.__doc__ == with_bug.__doc__ and right.__annotations__ == with_bug.__annotations__

    def test_the_notebook_names_tests_that_exist(self):
        text = "".join("".join(cell["source"]) for cell in notebook())
        rows = re.findall(r"`(tests/[\w/]+\.py)`: `(test_\w+)`", text)
        assert len(rows) == 11
        notes = " ".join(EXERCISES[name].note for name in NAMES)
        for path, test in rows:
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test
        for path in re.findall(r"tests/[\w/]+\.py", notes):
            assert (ROOT / path).exists(), path


class TestCurves:
    """The numbers that the notebook and the hints state."""

    def test_there_are_all_of_them_with_every_quantity_that_is_drawn(self):
        assert list(CURVES) == NAMES == list(PANELS)
        for name in NAMES:
            for which in ("healthy", "broken"):
                assert set(CURVES[name][which]) == set(PANELS[name])

    def test_1_looks_better_and_is_worse(self):
        healthy, with_bug = values("run_1", "reported")
        assert with_bug[5] < healthy[5] / 7 and with_bug[5] == pytest.approx(0.4, abs=0.01)
        healthy, with_bug = values("run_1", "held out")
        assert (round(healthy[-1], 1), round(with_bug[-1], 1)) == (1.8, 2.1)

    def test_2_is_below_what_is_possible_and_worse_than_ignorance(self):
        assert round(LOWEST, 2) == 0.25
        assert min(values("run_2", "reported")[1]) < 1e-3 < LOWEST < min(values("run_2", "reported")[0])
        assert values("run_2", "held out")[1][-1] == pytest.approx(6.0, abs=0.05)

    def test_3_is_stuck_where_a_model_knows_nothing(self):
        healthy, with_bug = values("run_3", "reported")
        assert abs(with_bug[-1] - NOTHING) < 0.01 and healthy[-1] < 2.5
        assert values("run_3", "norm")[1][-1] == pytest.approx(0.67, abs=0.01)

    def test_4_is_the_same_in_training_and_depends_on_the_padding(self):
        healthy, with_bug = values("run_4", "reported")
        assert healthy == with_bug
        healthy, with_bug = values("run_4", "padded")
        assert set(healthy) == {healthy[0]} and with_bug == sorted(with_bug)
        assert [round(with_bug[k], 2) for k in (0, -1)] == [1.58, 1.94]

    def test_5_learns_words_and_no_pairs(self):
        healthy, with_bug = values("run_5", "reported")
        assert abs(np.mean(healthy[-10:]) - np.mean(with_bug[-10:])) < 0.05
        healthy, with_bug = values("run_5", "pairs")
        assert healthy[-1] > 0.8 and abs(with_bug[-1] - 0.5) < 0.044

    def test_6_is_the_same_in_training_and_not_in_evaluation(self):
        healthy, with_bug = values("run_6", "reported")
        assert healthy == with_bug
        healthy, with_bug = values("run_6", "again")
        assert set(healthy) == {1.6866} and [round(f(with_bug), 2) for f in (min, max)] == [1.77, 2.02]

    def test_7_overflows_whatever_the_scale(self):
        losses, scales = (values("run_7", quantity)[1] for quantity in ("reported", "scale"))
        assert losses.index(None) == 10 and set(losses[10:]) == {None}
        assert round(math.log2(scales[-1])) == -94
        assert 230 < max(CURVES["run_7"]["broken, in 32 bits"]["reported"][1]) < 231.5
        assert set(values("run_7", "scale")[0]) == {65536.0}

    def test_8_shows_in_the_layer_norms_only(self):
        healthy, with_bug = values("run_8", "layer norms")
        assert (round(healthy[-1], 2), round(with_bug[-1], 2)) == (1.07, 0.91)
        healthy, with_bug = values("run_8", "reported")
        assert with_bug[20] < healthy[20] and with_bug[-1] > healthy[-1]

    def test_9_knows_answers_by_heart(self):
        assert values("run_9", "reported")[1][-1] < 1e-3 < LOWEST < values("run_9", "reported")[0][-1]
        healthy, with_bug = values("run_9", "held out")
        assert np.argmin(with_bug) == 2 and CURVES["run_9"]["broken"]["held out"][0][2] == 18
        assert (round(healthy[-1], 2), round(min(with_bug), 1)) == (0.84, 2.6)

    def test_10_is_ahead_and_then_overtaken(self):
        healthy, with_bug = values("run_10", "reported")
        steps = CURVES["run_10"]["broken"]["reported"][0]
        assert with_bug[1] < NOTHING < healthy[1] and with_bug[steps.index(90)] == pytest.approx(
            math.log(16), abs=0.005
        )
        assert all(a > b for a, b in zip(with_bug[30:], healthy[30:], strict=True)) and steps[30] == 610
        assert values("run_10", "unknown")[1][-1] == pytest.approx(1 / 3, abs=0.01)


class TestPictures:
    @pytest.mark.parametrize("name", NAMES)
    def test_the_healthy_run_is_grey_and_every_axis_has_a_label(self, name):
        figure = plot_run(name, stored=STORED)
        assert len(figure.axes) == len(PANELS[name])
        for axis in figure.axes:
            assert axis.lines[0].get_color() == "0.65" and axis.get_xlabel() and axis.get_ylabel()

    def test_yours_is_drawn_beside_them(self, monkeypatch):
        curves = {"reported": ([0, 1], [3.0, 2.0]), "held out": ([0, 1], [3.0, float("nan")])}
        monkeypatch.setitem(tiny_runs.RUNS, "run_1", lambda function: curves)
        figure = plot_run("run_1", yours=lambda: None, stored=STORED)
        assert [line.get_label() for line in figure.axes[0].lines] == ["healthy", "broken", "yours"]

    def test_outside_the_folder_of_the_lessons(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FileNotFoundError, match="open the notebook in the folder of the lessons"):
            plot_run("run_1")

    def test_a_run_that_there_is_not(self):
        with pytest.raises(ValueError, match="there is no run 'run_11'; choose one of run_1"):
            plot_run("run_11")
        with pytest.raises(ValueError, match="there is no run 'run_11'"):
            tiny_runs.run("run_11", lambda: None)


class TestLanguage:
    def test_words_follow_their_successors(self):
        random = np.random.default_rng(0)
        words = np.array(tiny_runs.words_of(random, 20_000)) - tiny_runs.FIRST
        share = np.mean(words[1:] == tiny_runs.SUCCESSOR[words[:-1]])
        assert share == pytest.approx(0.856, abs=0.01)
        assert np.bincount(words, minlength=tiny_runs.WORDS).min() > 500

    def test_the_lowest_loss_is_that_of_a_model_which_knows_the_language(self):
        random = np.random.default_rng(1)
        words = np.array(tiny_runs.words_of(random, 60_000)) - tiny_runs.FIRST
        of_next = np.full((tiny_runs.WORDS,) * 2, (1 - tiny_runs.KEEP) / tiny_runs.WORDS)
        of_next[np.arange(tiny_runs.WORDS), tiny_runs.SUCCESSOR] += tiny_runs.KEEP
        left, word, right = words[:-2], words[1:-1], words[2:]
        given = of_next[left, word] * of_next[word, right] / (of_next @ of_next)[left, right]
        assert -0.8 * np.log(given).mean() == pytest.approx(LOWEST, rel=0.02)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["run_2", "run_6"])
def test_the_stored_curves_are_those_of_today(name):
    found = tiny_runs.run(name, handed_out(name))
    for quantity, (x, y) in CURVES[name]["broken"].items():
        assert found[quantity][0] == x
        np.testing.assert_allclose(found[quantity][1][:10], y[:10], atol=0.02)
