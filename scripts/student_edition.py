"""Make the student edition: the package and the lessons without solutions, wrong answers and the grader.

    python -m scripts.student_edition OUT            # a folder: pip install OUT
    python -m scripts.student_edition OUT --wheel    # and a wheel beside its pyproject.toml, in OUT/dist

OUT must be new or empty.  Instead of the exercises' modules it has their cases and the results that solutions and
known mistakes give in them (minibert/exercises/recorded.json.gz), so check() says what it says in the full edition.
What a check or a lesson needs of those modules stays; solution() says that there is none; hints stay.  Recording the
kernels' mistakes takes a C++ compiler.  The package itself stays whole, and an exercise such as linear_backward has
its counterpart there: see docs/teaching.md.
"""

import argparse
import ast
import gzip
import html
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from minibert.base.processes import environment, python
from minibert.exercises import EXERCISES
from minibert.exercises.exercise import Recorded
from minibert.exercises.kernels import KernelExercise
from minibert.exercises.packaged import FUNCTIONS
from minibert.exercises.recorded import FILE, record, tries_of
from minibert.exercises.showing import show_hints

ROOT = Path(__file__).resolve().parent.parent
COPIED = "minibert", "lessons", "pyproject.toml", "README.md", "LICENSE"
LEFT_OUT = ("minibert/grading",)
WHERE = "minibert/exercises"
LIST = re.compile(r"^from minibert\.exercises import \(.*?^\)\n", re.M | re.S)  # in __init__.py
LOADED = "from minibert.exercises import recorded\n\nrecorded.load()\n"
REST = "\nfrom minibert.exercises.recorded import given as __getattr__  # noqa: E402, F401  (for what lessons import)\n"
IMPORT = re.compile(r"^from minibert\.exercises\.(\w+) import ([\w, ]+)", re.M)
PACKAGE = "minibert/ops/", "minibert/nn/", "minibert/tasks/", "minibert/training/"  # the code is the course
# what run_lessons.py puts at the top of a lesson: it installs and opens the full edition
HOSTED = re.compile(r"^(\[!\[Open in Colab\][^\n]*\n\n|# in a hosted notebook, first: [^\n]*\n)", re.M)
SHORTEST = 25  # characters of a line, without spaces, that can give an answer away
SHORTEST_WRONG = 45  # the same for a wrong answer: an expression that lessons use, too, gives nothing away


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--wheel", action="store_true", help="also build a wheel, in OUT/dist")
    options = parser.parse_args()
    try:
        write_edition(options.out)
        found = leaks(options.out)
        if found:
            raise ValueError(f"{options.out} still has parts of an answer: {'; '.join(found)}")
        print(f"{options.out}: {len(EXERCISES)} exercises, without their solutions; pip install {options.out}")
        if options.wheel:
            print(build_wheel(options.out))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"student_edition: error: {error}", file=sys.stderr)
        return 2
    return 0


def write_edition(out: Path, names: list[str] | None = None) -> None:
    """Write the student edition into a new or empty folder.

    names: the exercises that it has (for tests); by default all.  Raises ValueError if the folder has files, or if
    something cannot be left out.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; give a new folder")
    recorded = [record(EXERCISES[name]) for name in (names or EXERCISES)]
    out.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source, ignore = ROOT / name, shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.pyc")
        if source.is_dir():
            shutil.copytree(source, out / name, ignore=ignore)
        else:
            shutil.copyfile(source, out / name)
    for name in LEFT_OUT:
        shutil.rmtree(out / name, ignore_errors=True)
    (out / WHERE / FILE.name).write_bytes(gzip.compress(json.dumps(recorded).encode(), mtime=0))
    for module, kept in kept_names().items():
        path = out / WHERE / f"{module}.py"
        path.write_text(pruned(path.read_text(encoding="utf-8"), kept, module), encoding="utf-8")
    replace_once(out / WHERE / "__init__.py", LIST, LOADED)
    replace_once(
        out / "minibert" / "__init__.py", re.compile(r'^__version__ = "([^"]+)"', re.M), r'__version__ = "\1+student"'
    )
    nothing = Recorded(list)
    shown = {name: show_hints(replace(exercise, solution=nothing)) for name, exercise in EXERCISES.items()}
    for path in sorted((out / "lessons").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            hide_solution(cell, shown)
            source = HOSTED.sub("", "".join(cell["source"]))
            cell["source"] = source.splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def replace_once(path: Path, pattern: re.Pattern, text: str) -> None:
    """Replace a pattern in a file.  Raises ValueError if it is not there exactly once."""
    replaced, count = pattern.subn(text, path.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{path} has the pattern {pattern.pattern[:60]!r} {count} times; expected once")
    path.write_text(replaced, encoding="utf-8")


def hide_solution(cell: dict, shown: dict) -> None:
    """Reduce a stored output that has the hints and the solution to the hints."""
    called = re.search(r'hints\("(\w+)"\)', "".join(cell["source"]))
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "The solution" in "".join(data.get("text/html", [])) and called and called[1] in shown:
            data["text/html"] = shown[called[1]].markup.splitlines(keepends=True)
            data["text/plain"] = shown[called[1]].text.splitlines(keepends=True)


def build_wheel(out: Path) -> Path:
    """Build the wheel of an edition.  Raises RuntimeError if that fails."""
    command = python("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out / "dist"), str(out))
    if importlib.util.find_spec("hatchling"):
        command.append("--no-build-isolation")  # needs no network
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the wheel cannot be built: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return next((out / "dist").glob("*.whl"))


# ------------------------------------------------------------------------------- what stays of a module


def exercise_modules() -> list[str]:
    """The modules with exercises, in the order in which they are imported."""
    block = LIST.search((ROOT / WHERE / "__init__.py").read_text(encoding="utf-8"))
    assert block is not None
    return re.findall(r"^    (\w+),", block[0], re.M)


@cache
def kept_names() -> dict[str, set[str]]:
    """Module -> the names of it that checks and lessons need."""
    kept: dict[str, set[str]] = {module: set() for module in exercise_modules()}
    for exercise in EXERCISES.values():
        functions = [exercise.wrap, exercise.about]
        if not isinstance(exercise, KernelExercise) and isinstance(tries_of(exercise), str):
            functions.append(exercise.tries)
        elif not isinstance(exercise, KernelExercise):
            functions += [a for one in exercise.tries() for a in one.arguments if callable(a)]
        for function in filter(None, functions):
            function = function.func if isinstance(function, partial) else function
            module = function.__module__.split(".")[-1]
            if module in kept and function.__module__.startswith("minibert.exercises."):
                kept[module].add(function.__qualname__)
    for path in sorted((ROOT / "lessons").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for module, names in IMPORT.findall("".join(cell["source"]) if cell["cell_type"] == "code" else ""):
                wanted = {name.split(" as ")[0].strip() for name in names.split(",")}
                if module in kept:
                    kept[module] |= wanted - set(FUNCTIONS) - set(EXERCISES)
    return kept


def answers_of(module: str) -> set[str]:
    """The names of a module that are solutions or mistakes, or make them."""
    found = set()
    for exercise in EXERCISES.values():
        functions = exercise.solution, exercise.shown, *(mistake.function for mistake in exercise.mistakes)
        for function in map(unwrapped, functions):
            if getattr(function, "__module__", "") == f"minibert.exercises.{module}":
                found.add(function.__qualname__.split(".")[0])
    return found - {"<lambda>"}


def unwrapped(function: Any) -> Any:
    """The function inside what an exercise's `wrap` has made of it."""
    wraps = {exercise.wrap.__qualname__ for exercise in EXERCISES.values() if exercise.wrap}
    if type(function).__name__ in wraps:  # a class whose instances are called
        return unwrapped(function.function)
    if getattr(function, "__qualname__", "").split(".")[0] in wraps and function.__closure__:
        inside = [cell.cell_contents for cell in function.__closure__]
        return unwrapped(next(one for one in inside if callable(one)))
    return function


def pruned(source: str, kept: set[str], module: str) -> str:
    """A module's source with the kept names alone, and what they need.

    Raises ValueError if one of them needs a solution or a mistake.
    """
    tree = ast.parse(source)
    defined = {name: node for node in tree.body for name in names_of(node)}
    needed, waiting = set(), set(kept)
    while waiting:
        name = waiting.pop()
        if name not in defined:
            raise ValueError(f"{module}.py has no {name}, which a lesson imports; put it into exercises/packaged.py")
        needed.add(name)
        waiting |= {one for one in used_names(defined[name]) if one in defined} - needed
    if given_away := sorted(needed & answers_of(module)):
        raise ValueError(
            f"{module}.py: what a check or a lesson needs uses the answer {given_away[0]}; write it without that, or "
            "put it into exercises/packaged.py"
        )
    docstring = (ast.get_docstring(tree) or "").splitlines()[0]
    lines = [f'"""{docstring}  (The student edition: only what checks and lessons need.)"""\n']
    for node in tree.body:
        if not needed.intersection(names_of(node)):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in needed]
            lines.append(ast.unparse(node))
        else:
            lines.append("\n\n" + ast.get_source_segment(source, node, padded=True))
    return "\n".join(lines) + "\n" + REST


def names_of(node: ast.stmt) -> set[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}


def used_names(node: ast.AST) -> set[str]:
    """The names that a statement reads."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


# ------------------------------------------------------------------------------------- what must not be there


def leaks(out: Path) -> list[str]:
    """Where an edition, or its unpacked wheel, has an answer's body, or a line of one in its exercises."""
    files = {
        path.relative_to(out).as_posix(): packed(text_of(path))
        for path in sorted(out.rglob("*"))
        if path.suffix in (".py", ".ipynb", ".md", ".toml") and path.is_file()
    }
    others = {name: text for name, text in files.items() if not name.startswith(PACKAGE)}
    everything = "\n".join(others.values())
    found = [
        f"{what} in {name}"
        for what, body in bodies()
        if packed(body) in everything
        for name, text in others.items()
        if packed(body) in text
    ]
    exercises = {name: text for name, text in files.items() if name.startswith(WHERE)}
    for module in exercise_modules():
        source = (ROOT / WHERE / f"{module}.py").read_text(encoding="utf-8")
        stays = files[f"{WHERE}/{module}.py"]
        lines = {line for line in map(packed, source.splitlines()) if len(line) >= SHORTEST and line not in stays}
        found += [
            f"a line of {module}.py in {name}: {line}"
            for line in sorted(lines)
            for name, text in exercises.items()
            if line in text and line not in packed(text_of(ROOT / name))
        ]
    return found


@cache
def bodies() -> tuple[tuple[str, str], ...]:
    """(what it is, source) of each solution and wrong answer that is written in an exercise's module."""
    found = []
    for exercise in EXERCISES.values():
        functions = [("the solution of", SHORTEST, exercise.shown or exercise.solution)]
        functions += [("a wrong answer to", SHORTEST_WRONG, mistake.function) for mistake in exercise.mistakes]
        for what, shortest, function in functions:
            body = function[function.index("{") :] if isinstance(function, str) else body_of(function)
            if len(packed(body)) >= shortest:
                found.append((f"{what} {exercise.name}", body))
    return tuple(found)


def body_of(function: Callable) -> str:
    """The source of a function's or lambda's body, without its docstring; "" for what is not an exercise's own."""
    function = unwrapped(function)
    code = getattr(function, "__code__", None)
    if code is None or not function.__module__.startswith("minibert.exercises."):
        return ""  # one of the package's ops
    source, nodes = parsed(code.co_filename)
    for node in nodes.get(code.co_firstlineno, ()):
        if isinstance(node, ast.Lambda) and function.__name__ == "<lambda>":
            return segment(source, node.body)
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            body = node.body[ast.get_docstring(node) is not None :]
            return "\n".join(source[body[0].lineno - 1 : node.end_lineno])
    raise ValueError(f"the source of {function.__qualname__} is not found")


@cache
def parsed(path: str) -> tuple[list[str], dict[int, list[ast.AST]]]:
    """The lines of a module, and its functions and lambdas by their first lines."""
    source, found = Path(path).read_text(encoding="utf-8"), {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
    return source.splitlines(), found


def segment(lines: list[str], node: ast.AST) -> str:
    """The source of an expression (as ast.get_source_segment, which splits the source into lines at each call)."""
    found = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]
    found[-1] = found[-1][: node.end_col_offset]
    found[0] = found[0][node.col_offset :]
    return b"\n".join(found).decode()


def text_of(path: Path) -> str:
    """A file's text; of a notebook, that of its cells and their outputs."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        parts += cell["source"]
        for output in cell.get("outputs", []):
            parts += output.get("text", [])
            parts += [line for kind in ("text/plain", "text/html") for line in output.get("data", {}).get(kind, [])]
    return html.unescape("".join(parts))


def packed(text: str) -> str:
    """A text without spaces and line breaks."""
    return "".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
