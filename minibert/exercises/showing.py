"""How a lesson shows verdicts, hints and solutions: as text, and in a notebook folded up until asked for."""

import ast
import html
import inspect
import textwrap

from minibert.exercises.exercise import Exercise, Verdict

MARKS = {"right": "✓", "wrong": "✗", "not done yet": "…"}


class Shown:
    """Something that a notebook displays as HTML, and a terminal as text."""

    def __init__(self, text: str, markup: str):
        self.text, self.markup = text, markup

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.markup


def show_verdict(name: str, verdict: Verdict) -> str:
    """A verdict in lines that fit on a page."""
    return textwrap.fill(f"{MARKS[verdict.state]} {name}: {verdict.text}", 100, subsequent_indent="  ")


def show_hints(exercise: Exercise) -> Shown:
    """The hints, one after the other, and the solution: each hidden until asked for."""
    parts = [(f"Hint {k}", text) for k, text in enumerate(exercise.hints, 1)]
    steps = [f"{title}: {text}" for title, text in parts]
    name, last = repr(exercise.name), len(parts)
    text = f"a hint, hint({name}, 1)" if last == 1 else f"{last} hints, hint({name}, 1) to hint({name}, {last})"
    text += f"; solution({name})"
    folded = [f"<details><summary>{title}</summary>{html.escape(step)}</details>" for title, step in parts]
    source = html.escape(source_of(exercise))
    folded.append(f"<details><summary>The solution</summary><pre>{source}</pre></details>")
    return Shown(text if steps else "no hints", "".join(folded))


def source_of(exercise: Exercise) -> str:
    """The solution's source, as it can be pasted into its cell: without annotations, since the cell has none."""
    solution = exercise.solution
    if isinstance(solution, str):
        return solution
    return without_annotations(textwrap.dedent(inspect.getsource(exercise.shown or solution)))


def without_annotations(source: str) -> str:
    """A function's source with `def f(x, y=1):` on one line for `def f(x: int, y: int = 1) -> int:` on any number."""
    lines, function = source.splitlines(keepends=True), ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    first = function.lineno - 1
    last = next(number for number in range(first, len(lines)) if lines[number].rstrip().endswith(":"))
    signature = f"def {function.name}({ast.unparse(function.args)}):\n"
    return "".join([*lines[:first], signature, *lines[last + 1 :]])
