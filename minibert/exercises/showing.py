"""How a lesson shows verdicts, hints and solutions: as text, or in a notebook folded up until they are asked for."""

import ast
import inspect
import io
import textwrap
import tokenize

from minibert.base.markup import fill
from minibert.exercises.exercise import Exercise, Recorded, Verdict

FOLDED = "<details><summary>{{html title}}</summary>{{html step}}</details>"
NO_SOLUTIONS = "This is the student edition, which has no solutions."
SOLUTION = "<details><summary>The solution</summary><pre>{{html source}}</pre></details>"
MARKS = {"right": "✓", "wrong": "✗", "not done yet": "…"}


class Shown:
    """Something that a notebook displays as HTML and a terminal displays as text."""

    def __init__(self, text: str, markup: str):
        self.text, self.markup = text, markup

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.markup


def show_verdict(name: str, verdict: Verdict) -> str:
    """A verdict, wrapped into lines that fit on a page."""
    return textwrap.fill(f"{MARKS[verdict.state]} {name}: {verdict.text}", 100, subsequent_indent="  ")


def show_hints(exercise: Exercise) -> Shown:
    """The hints, one after the other, and the solution: each is hidden until it is asked for."""
    parts = [(f"Hint {k}", text) for k, text in enumerate(exercise.hints, 1)]
    steps = [f"{title}: {text}" for title, text in parts]
    name, last = repr(exercise.name), len(parts)
    text = f"1 hint: hint({name}, 1)" if last == 1 else f"{last} hints: hint({name}, 1) to hint({name}, {last})"
    folded = [fill(FOLDED, title=title, step=step) for title, step in parts]
    if not isinstance(exercise.solution, Recorded):
        text += f"; the solution: solution({name})"
        folded.append(fill(SOLUTION, source=source_of(exercise)))
    return Shown(text if steps else "There are no hints.", "".join(folded))


def source_of(exercise: Exercise) -> str:
    """The solution's source, as it can be pasted into its cell: without annotations, since the cell has none.

    In the student edition, a sentence that says that there is none.
    """
    solution = exercise.solution
    if isinstance(solution, Recorded):
        return NO_SOLUTIONS
    if isinstance(solution, str):
        return solution
    return without_annotations(textwrap.dedent(inspect.getsource(exercise.shown or solution)))


def without_annotations(source: str) -> str:
    """A function's source with `def f(x, y=1):` on one line instead of `def f(x: int, y: int = 1) -> int:`."""
    lines, function = source.splitlines(keepends=True), ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    first = function.lineno - 1
    last = first + end_of_signature("".join(lines[first:]))
    signature = f"def {function.name}({ast.unparse(function.args)}):\n"
    return "".join([*lines[:first], signature, *lines[last + 1 :]])


def end_of_signature(source: str) -> int:
    """The line, from 0, on which a function's `def ...:` ends: that of the first colon outside all brackets."""
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        depth += (token.string in "([{") - (token.string in ")]}") if token.type == tokenize.OP else 0
        if token.string == ":" and depth == 0:
            return token.start[0] - 1
    raise ValueError("there is no function in the source")
