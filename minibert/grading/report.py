"""What a teacher gets: a table, a CSV file, a JSON file, and a text for each student."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from minibert.base.files import write_text
from minibert.exercises import EXERCISES
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG, Verdict
from minibert.exercises.showing import show_verdict
from minibert.grading.grade import MISSING, Student

STATES = RIGHT, WRONG, NOT_DONE, MISSING


def table(students: Sequence[Student], names: Sequence[str], points: dict[str, float]) -> str:
    """A line for each student: points, how many answers are right, wrong, not done yet or missing."""
    most, width = total(names, points), max([7, *(len(student.name) for student in students)])
    lines = [f"{'student':{width}}  {'points':>8}  {'of':>6}  " + "  ".join(f"{state:>12}" for state in STATES)]
    for student in students:
        counts = Counter(grade.state for grade in student.grades)
        numbers = "  ".join(f"{counts[state]:12}" for state in STATES)
        lines.append(f"{student.name:{width}}  {student.points(points):8g}  {most:6g}  {numbers}")
    return "\n".join(lines)


def total(names: Sequence[str], points: dict[str, float]) -> float:
    return sum(points[name] for name in names)


def as_csv(students: Sequence[Student], names: Sequence[str], points: dict[str, float]) -> str:
    """A row for each student: the points of each exercise, and their sum."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", *names, "total"])
    writer.writerow(["(points)", *(f"{points[name]:g}" for name in names), f"{total(names, points):g}"])
    for student in students:
        own = [f"{points[grade.exercise] if grade.state == RIGHT else 0:g}" for grade in student.grades]
        writer.writerow([student.name, *own, f"{student.points(points):g}"])
    return text.getvalue()


def as_json(students: Sequence[Student], names: Sequence[str], points: dict[str, float], seed: int) -> str:
    """All there is, as JSON."""
    found = {
        "seed": seed,
        "points": {name: points[name] for name in names},
        "students": [
            {
                "student": student.name,
                "points": student.points(points),
                "of": total(names, points),
                "exercises": {
                    grade.exercise: {
                        "state": grade.state,
                        "points": points[grade.exercise] if grade.state == RIGHT else 0,
                        "text": grade.text,
                        "where": grade.where,
                        "uses": list(grade.uses),
                    }
                    for grade in student.grades
                },
                "notes": student.notes,
            }
            for student in students
        ],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def feedback(student: Student, names: Sequence[str], points: dict[str, float]) -> str:
    """What a student reads: each exercise with its verdict or hint, and what could not be used."""
    lines = [f"{student.name}: {student.points(points):g} of {total(names, points):g} points", ""]
    for grade in student.grades:
        lesson, most = EXERCISES[grade.exercise].lesson, points[grade.exercise]
        lines.append(f"lesson {lesson}: {most if grade.state == RIGHT else 0:g} of {most:g}")
        if grade.state == MISSING:
            lines.append(f"· {grade.exercise}: {grade.text}")
        else:
            lines.append(show_verdict(grade.exercise, Verdict(grade.state, grade.text)))
    if student.notes:
        lines += ["", "not used:", *student.notes]
    return "\n".join(lines) + "\n"


def write_report(
    out: Path, students: Sequence[Student], names: Sequence[str], points: dict[str, float], seed: int
) -> None:
    """Write grades.csv, grades.json and feedback/STUDENT.txt into a new or empty folder."""
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    write_text(out / "grades.csv", as_csv(students, names, points))
    write_text(out / "grades.json", as_json(students, names, points, seed))
    for student in students:
        write_text(out / "feedback" / f"{student.name}.txt", feedback(student, names, points))


def check_new(out: Path) -> None:
    """Raise ValueError unless a folder is new or empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out} is not empty; give a new folder")
