"""`minibert lessons`: the course in JupyterLab, and which exercises are done."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import minibert

FOLDER = "minibert-lessons"  # where the lessons are copied to, if minibert was installed from a wheel


@dataclass(frozen=True)
class LessonsConfig:
    """Open the course in JupyterLab, after a list of the lessons and of the exercises that are done.

    It needs the extra `lessons`: pip install -e ".[lessons,corpus]"
    """

    list: bool = False
    """Only list; open nothing."""
    lesson: int = 0
    """The lesson to open."""
    port: int | None = None
    """Port of JupyterLab, by default the first that is free from 8888 on."""
    browser: bool = True
    """Open the browser; otherwise JupyterLab prints the address."""


@dataclass(frozen=True)
class Lesson:
    """One notebook of the course."""

    number: int
    path: Path
    title: str
    minutes: int
    """how long it takes to run, at most"""
    hours: str
    """how long a student takes, according to the lesson"""


def lessons_folder() -> Path:
    """The notebooks: next to the package in a clone; inside it in a wheel, and then copied to FOLDER.

    Raises FileNotFoundError if there are none.
    """
    package = Path(minibert.__file__).parent
    if (package.parent / "lessons").is_dir():
        return package.parent / "lessons"
    if not (package / "lessons").is_dir():
        raise FileNotFoundError(
            "this installation has no lessons; clone the repository, and install minibert from there"
        )
    if not Path(FOLDER).exists():
        shutil.copytree(package / "lessons", FOLDER)
    return Path(FOLDER)


def find_lessons(folder: Path) -> list[Lesson]:
    """The lessons in their order."""
    found = []
    for path in sorted(folder.glob("[0-9][0-9]*.ipynb")):
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"]["minibert"]
        found.append(Lesson(int(path.name[:2]), path, about["title"], about["minutes"], about["hours"]))
    return found


def lessons(config: LessonsConfig) -> int:
    """List the lessons; open one.  Raises ValueError if there is no such lesson, ImportError without Jupyter."""
    folder = lessons_folder()
    course = find_lessons(folder)
    chosen = next((lesson for lesson in course if lesson.number == config.lesson), None)
    if chosen is None:
        raise ValueError(f"--lesson is {config.lesson}; expected {course[0].number} to {course[-1].number}")
    print(table(course))
    if config.list:
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        raise ImportError(
            f'JupyterLab is not installed; install it with: {sys.executable} -m pip install -e ".[lessons,corpus]"'
        )
    command = [sys.executable, "-m", "jupyter", "lab", str(chosen.path)]
    command += [] if config.port is None else [f"--port={config.port}"]
    command += [] if config.browser else ["--no-browser"]
    return subprocess.run(command).returncode


def table(course: list[Lesson]) -> str:
    """A line for each lesson, with its exercises: done ones with the day, others with a dot."""
    from minibert.exercises import EXERCISES, read_progress

    done, lines = read_progress(), []
    for lesson in course:
        of_lesson = [exercise for exercise in EXERCISES.values() if exercise.lesson == lesson.number]
        count = sum(exercise.name in done for exercise in of_lesson)
        state = f"{count} of {len(of_lesson)} exercises done" if of_lesson else "no exercises"
        lines.append(f"{lesson.number:3}  {lesson.title:58} {lesson.hours:>9}  {state}")
        lines += [
            f"       {'✓' if exercise.name in done else '·'} {exercise.name:26} {exercise.task}"
            + (f" ({done[exercise.name]})" if exercise.name in done else "")
            for exercise in of_lesson
        ]
    return "\n".join(lines)
