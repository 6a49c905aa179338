"""Grades answers: each runs in a process of its own, with limits of time and memory, on hidden cases."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minibert.base.processes import environment, python
from minibert.exercises import EXERCISES
from minibert.exercises.exercise import NOT_DONE, RIGHT, WRONG, Exercise, Verdict
from minibert.exercises.judging import LEFT_THREADS, judge_outcomes
from minibert.exercises.kernels import KernelExercise, need_compiler
from minibert.exercises.recording import decode_outcomes
from minibert.grading.answers import Answer, answers_in
from minibert.grading.hidden import hidden
from minibert.grading.worker import READY

MISSING = "no answer"
TOO_SLOW = "it does not end within the time limit: is there a loop that never ends?"
START = 60.0  # seconds in which a process starts, on a slow machine
MOST_BYTES = 100_000_000  # of results that are read
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
ANSWERS = ".ipynb", ".py"


@dataclass(frozen=True)
class Rules:
    """How to grade.  seed: of the hidden cases; seconds, megabytes: what an answer may take; jobs: at the same time."""

    seed: int
    seconds: float = 20.0
    megabytes: int = 2048
    jobs: int = 1


@dataclass(frozen=True)
class Grade:
    """The grade of one answer: the verdict's state, or "no answer", why, and where the answer is."""

    exercise: str
    state: str
    text: str
    where: str = ""
    uses: tuple[str, ...] = ()


@dataclass
class Student:
    """A student's folder: the files with answers, the grades in the order of the course, and notes, a line each."""

    name: str
    files: list[Path]
    grades: list[Grade] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def points(self, points: dict[str, float]) -> float:
        return sum(points[grade.exercise] for grade in self.grades if grade.state == RIGHT)


def find_students(folder: Path) -> list[Student]:
    """The students in a folder: one for each subfolder with notebooks; or one, if the notebooks are in it.

    Raises FileNotFoundError or NotADirectoryError if it is no folder, and ValueError if there is no notebook, or if
    notebooks are both in it and in subfolders.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; expected a folder of notebooks, or of students' folders")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected the folder that it is in")
    own = files_of(folder, "*")
    below = {path: files_of(path, "**/*") for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] != "."}
    below = {path: files for path, files in below.items() if files}
    if own and below:
        raise ValueError(
            f"{folder} has notebooks ({own[0].name}) and folders with notebooks ({next(iter(below)).name}); "
            "give each student a folder"
        )
    if own:
        return [Student(folder.resolve().name, own)]
    if not below:
        raise ValueError(f"{folder} has no notebooks (.ipynb) and no mine.py, nor have its folders")
    return [Student(path.name, files) for path, files in below.items()]


def files_of(folder: Path, pattern: str) -> list[Path]:
    """The notebooks and Python files below a folder, but nothing in hidden folders, such as .ipynb_checkpoints."""
    found = (path for path in folder.glob(pattern) if path.suffix in ANSWERS and path.is_file())
    return sorted(path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts))


def grade_all(students: Sequence[Student], names: Sequence[str], rules: Rules) -> list[str]:
    """Grade all answers, and fill in the students' grades and notes.  Returns the names of the exercises graded.

    names: of the exercises; if there are none, those that any student has.
    Raises NoCompilerError if there are kernels to grade, and no C++ compiler.
    """
    found: list[dict[str, list[Answer]]] = []
    for student in students:
        answers: dict[str, list[Answer]] = {}
        base = Path(os.path.commonpath([path.parent for path in student.files]))
        for path in student.files:
            of_file = answers_in(path, path.relative_to(base).as_posix())
            student.notes += of_file.notes
            for answer in of_file.answers:
                answers.setdefault(answer.exercise, []).append(answer)
        found.append(answers)
    names = names or [name for name in EXERCISES if any(name in answers for answers in found)]
    if any(isinstance(EXERCISES[name], KernelExercise) and name in answers for name in names for answers in found):
        need_compiler()
    wanted = [(answers[name], name) for answers in found for name in names if name in answers]
    tasks = [answer for several, _ in wanted for answer in several]
    with ThreadPoolExecutor(rules.jobs) as pool:
        results = iter(list(pool.map(lambda answer: result_of(answer, rules), tasks)))
    for student, answers in zip(students, found, strict=True):
        for name in names:
            several = [(answer, verdict(answer, next(results), rules)) for answer in answers.get(name, ())]
            student.grades.append(best(name, several))
    return list(names)


def best(name: str, several: Sequence[tuple[Answer, Verdict]]) -> Grade:
    """The grade of an exercise that may have been answered in several files: a right answer counts."""
    if not several:
        return Grade(name, MISSING, "no notebook checks it")
    order = {RIGHT: 0, WRONG: 1, NOT_DONE: 2}
    answer, chosen = min(several, key=lambda pair: order[pair[1].state])
    return Grade(name, chosen.state, chosen.text, answer.where, answer.uses)


# ---------------------------------------------------------------------------------------------- one answer


def result_of(answer: Answer, rules: Rules) -> dict[str, Any]:
    """What an answer gave in its process, or {} where there is nothing to run."""
    if not answer.begun or answer.taken:
        return {}
    request = {"exercise": answer.exercise, "expression": answer.expression, **limits_of(rules)}
    pieces = [(piece.cell, piece.source, piece.statements) for piece in answer.pieces]
    found = run_process({**request, "pieces": pieces}, rules)
    if "value" in found:
        return run_process({**request, "value": found["value"]}, rules)
    return found


def limits_of(rules: Rules) -> dict[str, Any]:
    values = asdict(rules)
    return {name: values[name] for name in ("seed", "seconds", "megabytes")}


def verdict(answer: Answer, found: dict[str, Any], rules: Rules) -> Verdict:
    """The verdict on what an answer gave; the right results are computed here, not in the answer's process."""
    if answer.taken:
        return Verdict(WRONG, f"the answer is imported from minibert ({', '.join(answer.uses)}); write it yourself")
    if not answer.begun:
        return Verdict(NOT_DONE, "not done yet")
    exercise = hidden(EXERCISES[answer.exercise], rules.seed)
    try:
        return verdict_on(exercise, found)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return Verdict(WRONG, "the answer has interfered with its grading")


def verdict_on(exercise: Exercise, found: dict[str, Any]) -> Verdict:
    """The verdict on what a process gave.  Raises ValueError, KeyError or TypeError for what it cannot have given."""
    if "failed" in found:
        return Verdict(WRONG, found["failed"])
    if found.get("slow"):
        return Verdict(WRONG, TOO_SLOW)
    if found.get("left"):
        return Verdict(WRONG, LEFT_THREADS)
    if "error" in found:
        error, line = found["error"], found["line"]
        where = f" in line {int(line)} of its cell" if line else ""
        return Verdict(WRONG, f"its definition raises {error['error']}{where}: {first_line(error['text'])}")
    if "state" in found:
        if exercise.judge is None or found["state"] not in (RIGHT, WRONG, NOT_DONE):
            raise ValueError
        return Verdict(found["state"], str(found["text"]))
    if "type" in found:
        return Verdict(WRONG, f"expected a function; got {found['type']}")
    tries = list(exercise.tries())
    given = decode_outcomes(found["outcomes"])
    if len(given) != len(tries) or any(
        one and one.results and len(one.results) != len(exercise.outputs) for one in given
    ):
        raise ValueError
    return judge_outcomes(exercise, tries, given, begun=bool(found["begun"]), about=lambda: found["about"])


def first_line(text: str) -> str:
    return (text.splitlines() or [""])[0]


def run_process(request: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """What a process gave; {"failed": why} if it gave nothing, because it was ended or ended itself.

    Raises RuntimeError if it was ended before it had begun to run the answer.
    """
    seconds = START + 3 * rules.seconds
    with (
        tempfile.TemporaryDirectory(prefix="minibert-grade-") as folder,
        open(f"{folder}/result", "w+b") as result,
        open(f"{folder}/errors", "w+b") as errors,
    ):
        variables = environment(**ONE_THREAD, MINIBERT_PROGRESS=f"{folder}/progress.json")
        process = subprocess.Popen(
            python("minibert.grading.worker"),
            stdin=subprocess.PIPE, stdout=result, stderr=errors,
            cwd=folder, env=variables, start_new_session=True,
        )  # fmt: skip
        try:
            with suppress(BrokenPipeError):
                process.communicate(json.dumps(request).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            return {"failed": TOO_SLOW}
        finally:
            end(process)
        result.seek(0)
        began, written = result.readline(100), result.read(MOST_BYTES + 1)
        if began != READY:
            errors.seek(0)
            reason = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"the process that runs answers does not start: {' '.join(reason)}")
    if process.returncode == 0 and len(written) <= MOST_BYTES:
        with suppress(ValueError, RecursionError):
            found = json.loads(written)
            if isinstance(found, dict):
                return found
    return {"failed": why_ended(process.returncode, len(written))}


def end(process: subprocess.Popen) -> None:
    """End a process, and those that it has started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def why_ended(code: int, size: int) -> str:
    """Why a process gave no result."""
    if size > MOST_BYTES:
        return "its results are too large"
    if -code == getattr(signal, "SIGXCPU", None):
        return TOO_SLOW
    if code < 0:
        names = {signal.SIGKILL: "too much memory, or too much time", signal.SIGSEGV: "a wrong address"}
        reason = f": {names[-code]}" if -code in names else ""  # type: ignore[index]
        return f"it ends Python itself, with signal {-code}{reason}"
    return f"it ends Python itself, with exit code {code}: leave out os._exit()"
