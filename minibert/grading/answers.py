"""Takes answers from notebooks without running them: the statements that an answer consists of, and nothing else.

An answer is what a cell passes to check("name", answer); in a Python file, or in a notebook without any check, it is a
function with the name of an exercise.  It consists of its own definition and of everything that this uses: imports,
functions, classes and assigned names, each as it was defined last before the check, or else after it.  No other
statement runs.
"""

import ast
import builtins
import json
import re
import symtable
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minibert.exercises import EXERCISES, find

SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
MAGIC = re.compile(r"\s*([%!?].*|[\w.]+\?{1,2})$")  # IPython's own lines


@dataclass(frozen=True)
class Cell:
    """A code cell: its number, from 1, among the code cells; its source; its statements."""

    number: int
    source: str
    statements: list[ast.stmt]


@dataclass(frozen=True)
class Piece:
    """The statements of a cell, by their numbers from 0, that belong to an answer."""

    cell: int
    source: str
    statements: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """An answer as it was found.

    exercise    its name
    where       file and cell
    pieces      what to run
    expression  what is then the answer
    uses        what of minibert it imports
    begun       False for a function that returns nothing
    taken       whether the answer itself is imported from minibert
    """

    exercise: str
    where: str
    pieces: tuple[Piece, ...]
    expression: str
    uses: tuple[str, ...] = ()
    begun: bool = True
    taken: bool = False


@dataclass
class Found:
    """What a file has: its answers, and, in one line each, what could not be used."""

    answers: list[Answer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def answers_in(path: Path, shown: str) -> Found:
    """The answers in a notebook, or in a Python file such as mine.py.  shown: the file's name in notes."""
    found = Found()
    script = path.suffix == ".py"
    try:
        text = path.read_text(encoding="utf-8")
        sources = [text] if script else list(code_cells(text))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        found.notes.append(f"{shown}: this is not a {'text file' if script else 'notebook'} ({reason})")
        return found
    cells = []
    for number, source in enumerate(sources, 1):
        try:
            source = without_magics(source)
            cells.append(Cell(number, source, ast.parse(source).body))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            what = error.msg if isinstance(error, SyntaxError) else error
            found.notes.append(f"{shown}, cell {number}{line}: {what}; nothing of this cell is used")
    for name, (number, expression) in checked(cells, script, shown, found.notes).items():
        found.answers.append(answer_of(cells, name, number, expression, shown, found.notes))
    if not found.answers and not found.notes:
        found.notes.append(f"{shown}: there is no answer in it")
    return found


def code_cells(text: str) -> Iterator[str]:
    """The sources of a notebook's code cells.  Raises ValueError, KeyError or TypeError if it is no notebook."""
    notebook = json.loads(text)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("it has no list of cells")
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def without_magics(source: str) -> str:
    """A cell with empty lines instead of IPython's own: %magic, !command and name?; nothing of a cell with %%magic."""
    if source.lstrip().startswith("%%"):
        return ""
    text = "\n".join("" if MAGIC.match(line) else line for line in source.split("\n"))
    try:
        ast.parse(source)
        return source  # it has none: such a line is within a string
    except SyntaxError:
        return text


# ------------------------------------------------------------------------------------------- where answers are


def checked(cells: Sequence[Cell], script: bool, shown: str, notes: list[str]) -> dict[str, tuple[int, ast.expr]]:
    """Exercise -> (number of the cell, answer) of each check("name", answer), the last one of each exercise.

    In a script, or if there are none: of each function with the name of an exercise.
    """
    found: dict[str, tuple[int, ast.expr]] = {}
    calls = [
        (cell.number, node)
        for cell in cells
        for statement in cell.statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and called_name(node) == "check" and len(node.args) == 2 and not node.keywords
    ]
    for number, call in calls:
        name = call.args[0].value if isinstance(call.args[0], ast.Constant) else ast.unparse(call.args[0])
        try:
            exercise = find(name).name  # type: ignore[arg-type]
            found.pop(exercise, None)
            found[exercise] = number, call.args[1]
        except ValueError as error:
            notes.append(f"{shown}, cell {number}: {error}")
    if script or not calls:
        for cell in cells:
            for statement in cell.statements:
                alias = script and isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name)
                if isinstance(statement, ast.FunctionDef) or alias:
                    for name in sorted(bound_names(statement).intersection(EXERCISES)):
                        found[name] = cell.number, ast.Name(name, ast.Load())
    return found


def called_name(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


# ------------------------------------------------------------------------------------------ what an answer is


def answer_of(
    cells: Sequence[Cell], name: str, number: int, expression: ast.expr, shown: str, notes: list[str]
) -> Answer:
    """An answer with the statements that it needs."""
    chosen: dict[tuple[int, int], ast.stmt] = {}
    waiting, seen = used_names(expression), set()
    while waiting:
        wanted = waiting.pop()
        seen.add(wanted)
        for position, statement in definitions_of(cells, wanted, number):
            if position not in chosen:
                chosen[position] = statement
                waiting |= used_names(statement) - seen
    own = {one for statement in chosen.values() for one in bound_names(statement)}
    for cell in cells:
        for statement in cell.statements:
            if isinstance(statement, ast.Expr) and changed_by_call(statement.value) in own:
                notes.append(
                    f"{shown}, cell {cell.number}, line {statement.lineno}: `{ast.unparse(statement)[:60]}` is not run "
                    f"for {name}: an answer consists of definitions and assignments"
                )
    pieces = []
    for cell in cells:
        numbers = tuple(sorted(index for where, index in chosen if where == cell.number))
        if numbers:
            pieces.append(Piece(cell.number, cell.source, numbers))
    uses = sorted({use for one in chosen.values() for use in imported(one) if use.split(".")[0] == "minibert"})
    itself = [one for one in chosen.values() if isinstance(expression, ast.Name) and expression.id in bound_names(one)]
    begun = not any(isinstance(one, ast.FunctionDef) and unwritten(one) for one in itself)
    taken = any(use.split(".")[0] == "minibert" for one in itself for use in imported(one, outermost=True))
    where = shown if shown.endswith(".py") else f"{shown}, cell {number}"
    return Answer(name, where, tuple(pieces), ast.unparse(expression), tuple(uses), begun, taken)


def definitions_of(cells: Sequence[Cell], name: str, number: int) -> Iterator[tuple[tuple[int, int], ast.stmt]]:
    """The last definition of a name in cells up to that number, or else the first one after it.

    A definition that changes what was there (x += 1, x[0] = 1) comes with the earlier ones.  For a name that has no
    definition and is not Python's, all `from module import *` are taken.
    """
    positions = [
        ((cell.number, index), statement)
        for cell in cells
        for index, statement in enumerate(cell.statements)
        if name in bound_names(statement)
    ]
    before = [one for one in positions if one[0][0] <= number]
    for position, statement in reversed(before):
        yield position, statement
        if not changes(statement, name):
            return
    if positions and not before:
        yield positions[0]
    if not positions and not hasattr(builtins, name):
        for cell in cells:
            for index, statement in enumerate(cell.statements):
                if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
                    yield (cell.number, index), statement


def changes(statement: ast.stmt, name: str) -> bool:
    """Whether a statement needs the earlier value of a name that it binds."""
    if isinstance(statement, SCOPES | ast.Import | ast.ImportFrom):
        return False
    whole = isinstance(statement, ast.Assign | ast.AnnAssign)
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    plain = whole and any(isinstance(one, ast.Name) and one.id == name for t in targets if t for one in ast.walk(t)
                          if isinstance(getattr(one, "ctx", None), ast.Store))  # fmt: skip
    return not plain or name in used_names(statement)


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """A node and those below it, but nothing inside functions, classes and lambdas."""
    yield node
    if not isinstance(node, SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from inside(child)


def bound_names(statement: ast.stmt) -> set[str]:
    """The names that a statement defines or changes."""
    found = set()
    for node in inside(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(getattr(node, "ctx", None), ast.Store):
            while isinstance(node, ast.Subscript | ast.Attribute):
                node = node.value
            if isinstance(node, ast.Name):
                found.add(node.id)
    return found


def used_names(node: ast.AST) -> set[str]:
    """The names that a statement or expression reads from outside; a function's own variables are not among them."""
    outermost = symtable.symtable(ast.unparse(node), "<answer>", "exec")
    found = {symbol.get_name() for symbol in outermost.get_symbols() if symbol.is_referenced()}
    waiting = list(outermost.get_children())
    while waiting:
        table = waiting.pop()
        found |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        waiting += table.get_children()
    return found


def changed_by_call(node: ast.expr) -> str | None:
    """The name in front of a call such as TABLE.update(...)."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return node.func.value.id
    return None


def imported(statement: ast.stmt, outermost: bool = False) -> Iterator[str]:
    """What a statement imports, such as minibert.ops.reference.linear_backward; outermost: not what is inside it."""
    for node in [statement] if outermost else ast.walk(statement):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unwritten(function: ast.FunctionDef) -> bool:
    """Whether a function returns nothing at all; one with a decorator may be something else."""
    return not function.decorator_list and not any(
        isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) for node in ast.walk(function)
    )
