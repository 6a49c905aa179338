"""`minibert lessons`: list the lessons and the exercises completed, and open the course in JupyterLab."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import minibert
from minibert.base.arguments import Argument
from minibert.base.processes import python

FOLDER = "minibert-lessons"  # the folder to which the lessons are copied if minibert was installed from a wheel


@dataclass(frozen=True)
class LessonsConfig:
    """List the lessons and the exercises you have completed, then open the course in JupyterLab.

    Requires the extras `lessons` and `corpus`: pip install -e ".[lessons,corpus]"
    """

    list: bool = False
    """Only print the list; do not open JupyterLab."""
    mine: bool = False
    """Only print how much of your own BERT there is: the right answers that a training step calls."""
    lesson: str = "0"
    """Number of the lesson to open, such as 3, or of a project, such as p1."""
    port: Annotated[int | None, Argument(default="(default: the first free port from 8888)")] = None
    """Port for JupyterLab."""
    browser: bool = True
    """Open a browser; if not, JupyterLab prints the address."""


@dataclass(frozen=True)
class Lesson:
    """One lesson or project of the course, which is a notebook."""

    number: int | str
    """of a lesson: 0, 1, ...; of a project: p1, p2, ..."""
    path: Path
    title: str
    minutes: int
    """the maximum running time of the notebook, in minutes"""
    hours: str
    """the study time that the lesson states"""


def lessons_folder() -> Path:
    """The folder that contains the notebooks.

    In a clone of the repository, it is next to the package.  In an installation from a wheel, it is FOLDER in the
    current directory, to which the notebooks are first copied.  Raises FileNotFoundError if there are no notebooks.
    """
    package = Path(minibert.__file__).parent
    if (package.parent / "lessons").is_dir():
        return package.parent / "lessons"
    if not (package / "lessons").is_dir():
        raise FileNotFoundError(
            "this installation does not include the lessons; clone the repository and install minibert from there"
        )
    if not Path(FOLDER).exists():
        shutil.copytree(package / "lessons", FOLDER)
    return Path(FOLDER)


def find_lessons(folder: Path) -> list[Lesson]:
    """The lessons in a folder, in course order, and after them the projects."""
    found = []
    for path in sorted(folder.glob("[0-9p][0-9]*.ipynb")):
        about, number = json.loads(path.read_text(encoding="utf-8"))["metadata"]["minibert"], path.name[:2]
        number_or_name = int(number) if number.isdecimal() else number
        found.append(Lesson(number_or_name, path, about["title"], about["minutes"], about["hours"]))
    return found


def lessons(config: LessonsConfig) -> int:
    """Print the list of lessons and open the chosen one in JupyterLab; returns the exit code.

    Raises ValueError if there is no such lesson, and ImportError if JupyterLab is needed but not installed.
    """
    if config.mine:
        from minibert.exercises.own_bert import own_file, page

        print(page() + (f"\nthe file: {own_file()}" if own_file().is_file() else ""))
        return 0
    folder = lessons_folder()
    course = find_lessons(folder)
    chosen = next((one for one in course if str(one.number) == (config.lesson.lstrip("0") or "0")), None)
    if chosen is None:
        numbers = [one.number for one in course if isinstance(one.number, int)]
        names = [f", {one.number}" for one in course if isinstance(one.number, str)]
        raise ValueError(f"--lesson is {config.lesson}; expected {numbers[0]} to {numbers[-1]}{''.join(names)}")
    print(table(course))
    if config.list:
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        raise ImportError(
            f'JupyterLab is not installed; install it with: {sys.executable} -m pip install -e ".[lessons,corpus]"'
        )
    command = [*python("jupyter"), "lab", str(chosen.path)]  # its notebooks do look in their own folder
    command += [] if config.port is None else [f"--port={config.port}"]
    command += [] if config.browser else ["--no-browser"]
    return subprocess.run(command).returncode


def table(course: list[Lesson]) -> str:
    """The list of lessons as text, each followed by its exercises.

    A completed exercise has a check mark and its completion date; any other has a dot.
    """
    from minibert.exercises import EXERCISES, read_progress

    done, lines = read_progress(), []
    for lesson in course:
        of_lesson = [exercise for exercise in EXERCISES.values() if exercise.lesson == lesson.number]
        count = sum(exercise.name in done for exercise in of_lesson)
        state = f"{count} of {len(of_lesson)} exercises completed" if of_lesson else "no exercises"
        lines.append(f"{lesson.number:>3}  {lesson.title:58} {lesson.hours:>9}  {state}")
        lines += [
            f"       {'✓' if exercise.name in done else '·'} {exercise.name:26} {exercise.task}"
            + (f" ({done[exercise.name]})" if exercise.name in done else "")
            for exercise in of_lesson
        ]
    return "\n".join(lines)
