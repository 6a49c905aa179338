"""Finds the cell of a lesson that defines a name, for answers that use it before that cell was run."""

import ast
import difflib
import json
from collections.abc import Iterator
from pathlib import Path

import minibert

IMPORTS = {
    "np": "import numpy as np", "math": "import math", "Counter": "from collections import Counter",
    "defaultdict": "from collections import defaultdict",
}  # fmt: skip


def advice_on_name(name: str, lesson: int | str) -> str:
    """What to do about a name that is not defined, or "" if nothing is known about it."""
    cells = list(code_cells(lesson))
    for number, source in enumerate(cells, 1):
        line = defining_line(source, name)
        if line:
            return f"run the lesson's code cell {number} first, which has the line `{line}`"
    if name in IMPORTS:
        return f"write `{IMPORTS[name]}` in a cell before it"
    known = {defined for source in cells for defined, _ in definitions(source)}
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else ""


def code_cells(lesson: int | str) -> Iterator[str]:
    """The sources of a notebook's code cells; none if the notebook is not found."""
    package = Path(minibert.__file__).parent
    for folder in (Path(), package.parent / "lessons", package / "lessons"):
        for path in folder.glob(f"{lesson:0>2}-*.ipynb"):
            try:
                cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
                yield from ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
            except (OSError, ValueError, KeyError, TypeError):  # this is only for a hint
                continue
            return


def defining_line(source: str, name: str) -> str | None:
    """The line of a cell that defines a name."""
    line = next((line for defined, line in definitions(source) if defined == name), None)
    return None if line is None else source.splitlines()[line - 1].strip()


def definitions(source: str) -> Iterator[tuple[str, int]]:
    """The names that a cell defines, with their lines, from 1."""
    lines = ["" if line.startswith(("%", "!")) else line for line in source.splitlines()]  # magics
    try:
        tree = ast.parse("\n".join(lines))
    except SyntaxError:
        return
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield statement.name, statement.lineno
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.alias):
                yield (node.asname or node.name).split(".")[0], node.lineno
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id, node.lineno
