"""The process in which an answer runs:  python -m minibert.grading.worker < request.json

It gives what the answer computes in each case, as JSON; it never has the right results.  Nothing that the answer
prints is kept.  The answer cannot import the exercises, where the solutions are, and is refused processes, connections
and changes of files.  That guards against accidents and simple tricks; see docs/teaching.md for what it does not guard
against.
"""

import ast
import importlib.abc
import importlib.machinery
import json
import os
import sys
import traceback
import types
from collections.abc import Sequence
from typing import Any, NoReturn

from minibert.exercises import find
from minibert.exercises.calling import computes, outcomes_of_answer
from minibert.exercises.exercise import Exercise
from minibert.exercises.judging import parameters, say_about
from minibert.exercises.layer import EPS, gelu, layernorm, layernorm_forward
from minibert.exercises.limits import LeftThreads, run_limited
from minibert.exercises.packaged import FUNCTIONS
from minibert.exercises.recording import decode, encode, encode_error, encode_outcomes
from minibert.grading.hidden import hidden

SOLVED = "minibert.exercises"
GIVEN = {"EPS": EPS, "gelu": gelu, "layernorm": layernorm, "layernorm_forward": layernorm_forward} | {
    name: FUNCTIONS[name] for name in ("multi_head", "multi_head_backward")
}  # by lesson 5
READY = b"ready\n"  # what comes before the results; without it, it is not the answer that has failed
REFUSED = {
    "os.fork": "start processes", "os.forkpty": "start processes", "os.posix_spawn": "start processes",
    "os.system": "start processes", "os.exec": "start processes", "os.spawn": "start processes",
    "subprocess.Popen": "start processes", "os.startfile": "start processes", "pty.spawn": "start processes",
    "os.kill": "end processes", "os.killpg": "end processes",
    "socket.connect": "open connections", "socket.bind": "open connections",
    "os.remove": "change files", "os.rename": "change files", "os.rmdir": "change files", "os.mkdir": "change files",
    "os.link": "change files", "os.symlink": "change files", "os.truncate": "change files", "os.chmod": "change files",
    "os.chown": "change files", "shutil.rmtree": "change files",
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> NoReturn:
    request = json.load(sys.stdin)
    channel = os.dup(1)
    exercise = hidden(find(request["exercise"]), request["seed"])
    os.write(channel, READY)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    limit(request["seconds"], request["megabytes"])
    if "value" in request:
        verdict = exercise.judge(exercise, decode(request["value"]))  # type: ignore[misc]
        found: dict = {"state": verdict.state, "text": verdict.text}
    else:
        found = results(exercise, request)
    left = json.dumps(found).encode()
    while left:
        left = left[os.write(channel, left) :]
    os._exit(0)  # whatever threads there are


def results(exercise: Exercise, request: dict) -> dict:
    """What an answer gives: {"outcomes", ...}; or its value, for a kernel; or the error of its definitions."""
    tries, names, seconds = list(exercise.tries()), {"__name__": "__main__"}, request["seconds"]
    GIVEN.pop(exercise.name, None)
    shut()
    made: list = []
    try:
        if not run_limited(lambda: made.append(define(request["pieces"], request["expression"], names)), seconds):
            return {"slow": True}
    except LeftThreads:
        return {"left": True}
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename.startswith("<cell")]
        return {"error": encode_error(error), "line": lines[0] if lines else None}
    answer = made[0]
    if exercise.judge is not None:
        try:
            return {"value": encode(answer, strict=True)}  # to be judged in a process that runs nothing of the answer
        except ValueError:
            verdict = exercise.judge(exercise, answer)
            return {"state": verdict.state, "text": verdict.text}
    if not callable(answer):
        return {"type": type(answer).__name__}
    try:
        given = outcomes_of_answer(exercise, answer, tries, seconds)
    except LeftThreads:
        return {"left": True}
    about = None
    if all(one is not None and one.results is not None for one in given):
        about = say_about(exercise, tries)
    return {
        "outcomes": encode_outcomes(given),
        "about": about,
        "begun": computes(answer),
        "parameters": parameters(answer),
    }


def define(pieces: Sequence, expression: str, names: dict[str, Any]) -> Any:
    """Run the statements of an answer; then, the value of the expression."""
    for cell, source, numbers in pieces:
        tree = ast.parse(source)
        tree.body = [tree.body[number] for number in numbers]
        exec(compile(tree, f"<cell {cell}>", "exec"), names)
    return eval(expression, names)


def limit(seconds: float, megabytes: int) -> None:
    """Limit this process's computing time and memory from now on, and let it write no file."""
    try:
        import resource
    except ImportError:  # Windows has none
        return
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    most = int(used + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + megabytes * 2**20,) * 2)
    except (OSError, ValueError):
        pass  # not Linux: the time limit remains


def shut() -> None:
    """From now on, refuse the solutions, processes, connections and changes of files to everything that runs here."""
    for name in [name for name in sys.modules if name == SOLVED or name.startswith(SOLVED + ".")]:
        del sys.modules[name]
    sys.meta_path.insert(0, Given())

    def refuse(event: str, arguments: tuple) -> None:
        if event == "open" and (arguments[2] or 0) & WRITING and arguments[0] != os.devnull:
            raise PermissionError("an answer must not change files")
        if event in REFUSED:
            raise PermissionError(f"an answer must not {REFUSED[event]}")

    def fork_exec(*arguments: Any) -> NoReturn:
        raise PermissionError("an answer must not start processes")

    if "_posixsubprocess" in sys.modules:  # multiprocessing calls it, and no event says so
        sys.modules["_posixsubprocess"].fork_exec = fork_exec  # type: ignore[attr-defined]
    sys.addaudithook(refuse)


class Given(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules with what lessons give, and nothing else, instead of those of the exercises."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name == SOLVED or name.startswith(SOLVED + "."):
            return importlib.machinery.ModuleSpec(name, self, is_package=name == SOLVED)
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        def find_name(name: str) -> Any:
            if name in GIVEN:
                return GIVEN[name]
            if name.startswith("__"):
                raise AttributeError(name)
            raise ImportError(f"an answer must not take {name} from {module.__name__}, where the solutions are")

        module.__getattr__ = find_name  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
