"""The course: its notebooks are whole, run from top to bottom, and show what they would show today."""

import importlib
import json
import os
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from minibert.commands.lessons import LessonsConfig, find_lessons, lessons, lessons_folder, table
from minibert.exercises import EXERCISES

ROOT = Path(__file__).parents[2]
LESSONS = find_lessons(ROOT / "lessons")
SECONDS = 120  # that a lesson may take on two cores
EACH = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.path.stem)


def cells(lesson, kind: str | None = None) -> list[dict]:
    found = json.loads(lesson.path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def source(cell) -> str:
    return "".join(cell["source"])


def outputs(lesson) -> list[dict]:
    return [output for cell in cells(lesson, "code") for output in cell["outputs"]]


def shown(output) -> str:
    """An output's text."""
    data = output.get("data", {})
    return "".join(output.get("text", [])) + "".join(data.get("text/plain", [])) + "".join(data.get("text/html", []))


def test_the_course_is_numbered_from_0_to_12_with_projects_after_it():
    numbers = [lesson.number for lesson in LESSONS]
    assert numbers[:13] == list(range(13))
    assert all(re.fullmatch("p[1-9]", number) for number in numbers[13:]) and numbers[13:] == sorted(set(numbers[13:]))
    assert len(LESSONS) == len(list((ROOT / "lessons").glob("*.ipynb")))
    assert lessons_folder() == ROOT / "lessons"


@EACH
def test_a_lesson_begins_with_its_goals_and_ends_with_what_was_learnt(lesson):
    text = "\n".join(source(cell) for cell in cells(lesson, "markdown"))
    assert source(cells(lesson)[0]).splitlines()[0].removeprefix("# ") == lesson.title
    assert all(words in text for words in ("**Goals.**", "**You need**", "**Time**"))
    if lesson.number:
        assert "## What you have learnt" in text and "**In the package**" in text and "**In the paper**" in text


@EACH
def test_stored_outputs_are_whole(lesson):
    """Every cell was run, in order; no error, no warning, no path of the machine that ran it."""
    code = cells(lesson, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for output in outputs(lesson):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"
        assert not re.search(r"/home/|/root/|/tmp/|/work/|\\Users\\|Warning", shown(output))
    assert any("image/png" in output.get("data", {}) for output in outputs(lesson)) or lesson.number == 12


@EACH
def test_its_exercises_are_handed_out_unsolved_with_hints(lesson):
    text = "\n".join(source(cell) for cell in cells(lesson, "code"))
    names = [name for name, exercise in EXERCISES.items() if exercise.lesson == lesson.number]
    for name in names:
        assert re.search(rf'check\("{name}", \w+\)', text) and f'hints("{name}")' in text
    printed = "\n".join(map(shown, outputs(lesson)))
    assert all(f"{name}: not done yet" in printed for name in names)


@EACH
def test_it_imports_the_package_and_pastes_no_class_from_it(lesson):
    text = "\n".join(source(cell) for cell in cells(lesson, "code"))
    assert "minibert" in text and not re.search(r"^class ", text, re.M)


def test_the_model_of_the_course_is_small():
    size = sum(path.stat().st_size for path in (ROOT / "lessons" / "model").iterdir())
    assert size <= 4_000_000


def test_the_readme_leads_to_the_course_and_lists_it():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for lesson in LESSONS:
        assert f"lessons/{lesson.path.name}" in readme
    assert readme.index(f"lessons/{LESSONS[0].path.name}") < readme.index("## Using it")


def test_the_list_shows_what_is_done(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    path.write_text('{"softmax": "2026-01-31"}')
    monkeypatch.setenv("MINIBERT_PROGRESS", str(path))
    lines = table(LESSONS).splitlines()
    assert any(line.split()[:2] == ["✓", "softmax"] and "(2026-01-31)" in line for line in lines)
    assert any(line.split()[:2] == ["·", "attend"] for line in lines)
    assert any("1 of 5 exercises completed" in line for line in lines)


def minibert(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "minibert", *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_the_command_lists():
    result = minibert("lessons", "--list")
    assert result.returncode == 0 and len(re.findall(r"exercises", result.stdout)) == len(LESSONS)


def test_a_lesson_that_there_is_not():
    result = minibert("lessons", "--lesson", "99")
    assert result.returncode == 2 and "--lesson is 99; expected 0 to 12" in result.stderr


def test_projects_come_after_the_lessons_and_are_chosen_by_name(tmp_path, monkeypatch, capsys):
    about = {"metadata": {"minibert": {"title": "A title", "minutes": 1, "hours": "1 hour"}}}
    for name in ("p2-b", "03-c", "p1-a", "00-d"):
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(about))
    assert [one.number for one in find_lessons(tmp_path)] == [0, 3, "p1", "p2"]
    monkeypatch.setattr("minibert.commands.lessons.lessons_folder", lambda: tmp_path)
    for name in ("p1", "3", "03", "00"):
        assert lessons(LessonsConfig(list=True, lesson=name)) == 0
    assert " p2  A title" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--lesson is p3; expected 0 to 3, p1, p2"):
        lessons(LessonsConfig(list=True, lesson="p3"))


class TestWhereTheyAre:
    """In a clone beside the package; in a wheel inside of it."""

    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        import minibert as package

        folder = tmp_path / "site-packages" / "minibert"
        folder.mkdir(parents=True)
        monkeypatch.setattr(package, "__file__", str(folder / "__init__.py"))
        (tmp_path / "home").mkdir()
        monkeypatch.chdir(tmp_path / "home")
        return folder

    def test_from_a_wheel_they_are_copied_to_where_one_works(self, package):
        (package / "lessons").mkdir()
        (package / "lessons" / "00-ten-minutes.ipynb").write_text("as it came")
        copied = lessons_folder() / "00-ten-minutes.ipynb"
        assert copied == Path("minibert-lessons/00-ten-minutes.ipynb") and copied.read_text() == "as it came"
        copied.write_text("with my answers")
        lessons_folder()
        assert copied.read_text() == "with my answers"

    def test_without_them_it_says_where_they_are(self, package):
        with pytest.raises(FileNotFoundError, match="clone the repository"):
            lessons_folder()


def script_named(name: str):
    """A module of scripts/."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


class TestLevels:
    """What lesson 7 says about the plateau, with the figures in lessons/data/levels.json."""

    def test_the_level_is_the_loss_of_the_best_model_without_context(self):
        """Summed over all expected and visible pieces.  The level leaves out random pieces that happen to be right."""
        counts = np.random.default_rng(0).zipf(1.3, 2000).clip(max=10**6)
        counts[:5] = 0  # special
        p, u = counts / counts.sum(), np.where(np.arange(2000) < 5, 0, 1 / 1995)
        found = script_named("make_course_model").levels(counts, np.arange(5, 2000, dtype=np.int32))
        assert found["frequencies"] == pytest.approx(-(p[5:] * np.log(p[5:])).sum())
        joint = u * p[:, None] / 2 + np.diag(p) / 2  # [asked for, seen], of the fifth that is visible
        given = joint / np.maximum(joint.sum(axis=0), 1e-300)
        visible = -(joint[joint > 0] * np.log(given[joint > 0])).sum()
        level = 0.9 * found["frequencies"] + 0.2 * (np.log(2) - found["divergence"])
        assert 0.8 * found["frequencies"] + 0.2 * visible == pytest.approx(level, abs=1e-3)

    def test_lessons_and_docs_state_the_level_that_follows(self):
        measured = json.loads((ROOT / "lessons" / "data" / "levels.json").read_text(encoding="utf-8"))
        level = f"{0.9 * measured['frequencies'] + 0.2 * (np.log(2) - measured['divergence']):.2f}"
        for name in ("lessons/00-ten-minutes.ipynb", "lessons/07-pretraining.ipynb", "docs/pretraining.md"):
            assert level in (ROOT / name).read_text(encoding="utf-8"), name


class TestScript:
    """scripts/run_lessons.py: what counts as fresh."""

    @pytest.fixture
    def script(self):
        pytest.importorskip("nbclient")
        return script_named("run_lessons")

    def test_rounding_is_no_difference(self, script):
        assert script.alike("error 3.14e-11, 1,234 tokens", "error 4.0e-11, 1,234 tokens")
        assert not script.alike("accuracy 78.3%", "accuracy 71.3%")
        assert not script.alike("right", "wrong")

    def test_a_stale_output_is_seen(self, script):
        import nbformat

        before = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(6 * 7)")])
        after = script.run(before)
        assert script.text_of(after.cells[0]).strip() == "42"
        assert script.compare(before, after) != []
        assert script.compare(after, after) == []
        after.cells[0].metadata["tags"] = ["varies"]
        before.cells[0].metadata["tags"] = ["varies"]
        assert script.compare(before, after) == []

    def test_a_cell_that_shows_published_weights_is_compared_only_where_they_are(self, script, tmp_path, capsys):
        import nbformat

        code = "import os\nprint('published' if os.environ['MINIBERT_WEIGHTS'] else 'course')"
        before = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code, metadata={"tags": ["weights"]})])
        stored = script.run(before, weights=tmp_path)
        assert script.text_of(stored.cells[0]).strip() == "published" and not script.needs_weights(stored.cells[0])
        without = script.run(stored)
        assert script.text_of(without.cells[0]).strip() == "course"
        assert script.compare(stored, without) != [] and script.compare(stored, without, with_weights=False) == []
        script.report_not_compared(stored, "12.ipynb")
        assert "12.ipynb: cells 0 are not compared" in capsys.readouterr().out
        script.keep_outputs_of_weights(stored, without)
        assert script.compare(stored, without) == []
        stored.cells[0].source += "  # changed since"
        assert "its code has changed" in script.compare(stored, without, with_weights=False)[0]

    def test_stored_outputs_of_the_published_model_are_of_that_model_and_of_the_code_that_stands_there(self, script):
        import nbformat

        (lesson,) = (lesson for lesson in LESSONS if lesson.number == 12)
        shown = [cell for cell in nbformat.read(lesson.path, 4).cells if script.has_tag(cell, "weights")]
        assert len(shown) == 5 and not any(map(script.needs_weights, shown))
        assert "6 layers, 384 wide, 12 heads" in script.text_of(shown[0])

    def test_the_published_model_is_where_the_tests_expect_it(self, script, tmp_path, monkeypatch):
        monkeypatch.setenv("MINIBERT_TEST_WEIGHTS", str(tmp_path))
        assert script.published_model() is None
        (tmp_path / "minilm").mkdir()
        (tmp_path / "minilm" / "model.safetensors").touch()
        assert script.published_model() == (tmp_path / "minilm").resolve()

    def test_the_badge_is_there_where_the_project_has_an_address_and_only_there(self, script):
        import nbformat

        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("x = 1")]
        )
        script.put_badge(notebook, "https://github.com/someone/minibert", "00.ipynb")
        assert "github/someone/minibert/blob/main/lessons/00.ipynb" in notebook.cells[0].source
        assert notebook.cells[1].source.startswith("# in a hosted notebook, first: %pip install")
        script.put_badge(notebook, None, "00.ipynb")
        assert [cell.source for cell in notebook.cells] == ["# Title", "x = 1"]


@pytest.mark.lessons
@EACH
def test_it_runs_from_top_to_bottom_and_its_stored_outputs_are_fresh(lesson):
    pytest.importorskip("nbclient")
    began = time.perf_counter()
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run_lessons.py"), "--check", lesson.path.name[:2]],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=5 * SECONDS,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for line in re.findall(r".* are not compared: .*", result.stdout):
        warnings.warn(line, stacklevel=1)
    assert time.perf_counter() - began < SECONDS * (2 if os.environ.get("PYTEST_XDIST_WORKER") else 1)
