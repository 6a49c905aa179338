"""Make a course for nbgrader: each lesson an assignment, whose exercises are answer cells and test cells with points.

    python -m scripts.nbgrader_course OUT --seed 4711            # all lessons
    python -m scripts.nbgrader_course OUT --seed 4711 03 04      # some

OUT is nbgrader's course folder, new or empty: it gets source/lesson-03/03-backpropagation.ipynb and nbgrader_config.py.
Then, in OUT:

    nbgrader generate_assignment lesson-03      # the students' version: without solutions and hidden tests
    nbgrader autograde lesson-03                # of what is in submitted/STUDENT/lesson-03

Where nbgrader grades, minibert itself has to be installed, since hidden cases are drawn by minibert.grading; students
install the student edition.  Points are those of `minibert grade`; --points takes the same file.
"""

import argparse
import ast
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from minibert.exercises import EXERCISES
from minibert.exercises.showing import source_of
from minibert.grading import points_of

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
CHECK = re.compile(r'check\("(\w+)", (\w+)\)\n?')
HELPERS = re.compile(r"^from minibert\.exercises import .*\n?", re.M)
NOT_WRITTEN = re.compile(r"^( +)\.\.\.$", re.M)
CONFIG = """c = get_config()
c.CourseDirectory.course_id = "minibert"
c.ClearSolutions.code_stub = {"python": "...  # your code"}
c.ExecutePreprocessor.timeout = 300
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("numbers", nargs="*", help="of lessons, such as 03; by default all")
    parser.add_argument("--seed", type=int, required=True, help="of the hidden cases")
    parser.add_argument("--points", type=Path, help='JSON file with other points, such as {"softmax": 4}')
    options = parser.parse_intermixed_args()
    try:
        written = write_course(options.out, options.numbers, options.seed, points_of(options.points))
    except (ValueError, OSError) as error:
        print(f"nbgrader_course: error: {error}", file=sys.stderr)
        return 2
    for name, points in written.items():
        print(f"{name}: {points:g} points")
    return 0


def write_course(out: Path, numbers: Sequence[str], seed: int, points: dict[str, float]) -> dict[str, float]:
    """Write nbgrader's course folder.  Returns assignment -> points.

    Raises ValueError if the folder has files, or for a lesson that is none or has no exercises.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; give a new folder")
    lessons = {path.name[:2]: path for path in sorted((ROOT / "lessons").glob("[0-9]*.ipynb"))}  # no projects
    for number in numbers:
        if number not in lessons:
            raise ValueError(f"there is no lesson {number!r}; expected one of {', '.join(lessons)}")
    written = {}
    for number, path in lessons.items():
        notebook = assignment(json.loads(path.read_text(encoding="utf-8")), number.lstrip("0"), seed, points)
        of_lesson = [grade["points"] for cell in notebook["cells"] if (grade := graded(cell))]
        if number in numbers and not of_lesson:
            raise ValueError(f"lesson {number} has no exercises")
        if not of_lesson or (numbers and number not in numbers):
            continue
        folder = out / "source" / f"lesson-{number}"
        folder.mkdir(parents=True)
        (folder / path.name).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for needed in ("data", "model"):
            shutil.copytree(ROOT / "lessons" / needed, folder / needed)
        written[folder.name] = sum(of_lesson)
    (out / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    return written


def graded(cell: dict) -> dict | None:
    """The nbgrader metadata of a cell with points."""
    found = cell["metadata"].get("nbgrader", {})
    return found if found.get("grade") else None


def assignment(notebook: dict, lesson: str, seed: int, points: dict[str, float]) -> dict:
    """A lesson as nbgrader's instructor version: solutions in their regions, hidden tests in theirs."""
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        found = CHECK.search(source) if cell["cell_type"] == "code" else None
        if found is None or found[1] not in EXERCISES or str(EXERCISES[found[1]].lesson) != lesson:
            cells.append(cell)
            continue
        name, variable = found.groups()
        rest = "".join(HELPERS.findall(source)) + found[0]
        stub = CHECK.sub("", HELPERS.sub("", source)).rstrip() + "\n"
        cells.append(code_cell(f"answer-{name}", solved(stub, name, variable), solution=True))
        cells.append(code_cell(f"check-{name}", rest))
        cells.append(code_cell(f"points-{name}", tests(name, variable, seed), points=points[name]))
    for number, cell in enumerate(cells):
        cell.setdefault("id", f"cell-{number}")
    return {**notebook, "cells": cells}


def solved(stub: str, name: str, variable: str) -> str:
    """What a lesson hands out, with the solution in a region that nbgrader clears."""
    solution = source_of(EXERCISES[name])
    if isinstance(EXERCISES[name].solution, str):
        return f'{stub}{BEGIN}\n{variable} = r"""\n{solution}"""\n{END}\n'
    tree = ast.parse(solution).body[0]
    assert isinstance(tree, ast.FunctionDef)
    first = tree.body[ast.get_docstring(tree) is not None]
    body = textwrap.dedent("\n".join(solution.splitlines()[first.lineno - 1 :]))
    found = list(NOT_WRITTEN.finditer(stub))
    if len(found) != 1:
        raise ValueError(f"the cell of {name} has {len(found)} lines `...`; expected one, for the solution")
    indent = found[0][1]
    region = textwrap.indent(f"{BEGIN}\n{body.rstrip()}\n{END}", indent)
    return stub[: found[0].start()] + region + stub[found[0].end() :]


def tests(name: str, variable: str, seed: int) -> str:
    """The test cell: public cases, and hidden ones in a region that students do not get."""
    return textwrap.dedent(f"""\
        from minibert.exercises import judge
        verdict = judge("{name}", {variable})
        assert verdict.right, verdict.text
        {HIDDEN}
        from minibert.grading import judge_hidden
        verdict = judge_hidden("{name}", {variable}, seed={seed})
        assert verdict.right, verdict.text
        {END_HIDDEN}
        """)


def code_cell(identity: str, source: str, solution: bool = False, points: float | None = None) -> dict:
    """A cell with nbgrader's metadata, version 3 of its schema; only a test cell has points."""
    about = {
        "schema_version": 3,
        "grade_id": identity,
        "grade": points is not None,
        "solution": solution,
        "task": False,
        "locked": not solution,
    }
    if points is not None:
        about["points"] = points
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": identity[:64],
        "metadata": {"nbgrader": about},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


if __name__ == "__main__":
    sys.exit(main())
