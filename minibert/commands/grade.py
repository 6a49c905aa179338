"""`minibert grade`: grade the answers in students' notebooks, on hidden cases."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from minibert.base.arguments import Argument
from minibert.base.cores import usable_cores

FOLDER = Argument(metavar="FOLDER", positional=True)
NAMES = Argument(metavar="NAME ...", default="(default: those that any student has)")


@dataclass(frozen=True)
class GradeConfig:
    """Grade the answers in students' notebooks, each in a process of its own, on cases that the students do not know.

    For example: minibert grade submissions --seed 4711 --exercises 3 4 --out grades
    See docs/teaching.md for the course.
    """

    folder: Annotated[Path, FOLDER]
    """Folder with a folder for each student, or with the notebooks of one; a collected mine.py counts, too."""
    seed: int
    """Number from which hidden cases are drawn; students must not know it, and the same one gives the same grades."""
    exercises: Annotated[tuple[str, ...], NAMES] = ()
    """Exercises to grade: names, or numbers of lessons."""
    points: Path | None = None
    """JSON file with other points, such as {"softmax": 4}."""
    out: Path | None = None
    """New folder for grades.csv, grades.json and a text for each student."""
    seconds: float = 20.0
    """Computing time that an answer may take for all its cases."""
    memory: int = 2048
    """Memory that an answer may take beside what Python and minibert take, in MiB."""
    jobs: Annotated[int, Argument(default="(default: one for each core)")] = 0
    """Answers to run at the same time."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"--seed is {self.seed}; expected 0 or more")
        if not 0 < self.seconds <= 3600:
            raise ValueError(f"--seconds is {self.seconds:g}; expected more than 0 and at most 3600")
        if self.memory < 64:
            raise ValueError(f"--memory is {self.memory}; expected at least 64 MiB")
        if self.jobs < 0:
            raise ValueError(f"--jobs is {self.jobs}; expected at least 1, or 0 for one for each core")


def grade(config: GradeConfig) -> None:
    """Print each student's points, and write the report.

    Raises ValueError, OSError or NoCompilerError for a folder, exercise or file that cannot be used.
    """
    if importlib.util.find_spec("minibert.grading") is None:
        raise RuntimeError("this is the student edition, which cannot grade; install minibert itself")
    from minibert.grading import Rules, chosen, find_students, grade_all, points_of, report

    names, points = chosen(config.exercises), points_of(config.points)
    if config.out is not None:
        report.check_new(config.out)
    students = find_students(config.folder)
    rules = Rules(config.seed, config.seconds, config.memory, config.jobs or usable_cores())
    names = grade_all(students, names, rules)
    print(report.table(students, names, points))
    for student in students:
        for note in student.notes:
            print(f"{student.name}: {note}")
        for one in student.grades:
            if one.uses and one.state == "right":
                print(f"{student.name}: {one.exercise} uses {', '.join(one.uses)}")
    if config.out is not None:
        report.write_report(config.out, students, names, points, config.seed)
        print(f"written: {config.out}")
