"""Bugs to plant in the CUDA kernels: every barrier, every atomic and every bounds check of a file, removed in turn.

A mutant is one changed line.  The environment variable MINIBERT_MUTANT=FILE:LINE:NUMBER plants it (see conftest.py
beside this file), so that any test can be run on it:

    MINIBERT_MUTANT=layernorm.cu:40:0 pytest tests/ops/gpu/test_layernorm.py
"""

import re
from dataclasses import dataclass

from minibert.ops.gpu.kernels import FOLDER

VARIABLE = "MINIBERT_MUTANT"
BARRIER = re.compile(r"(__sync(threads|warp)|wait_copies<\w+>)\s*\([^()]*\)\s*;")
ATOMIC = re.compile(r"atomicAdd\(\s*&?([^,]+),\s*([^;]+)\)\s*;")
# By convention a bounds check is written with < or >= (a maximum with >): `if (row < rows)`, `i < width ? x[i] : 0`
COMPARES = re.compile(r"<(?![<=])|>=")
IF = re.compile(r"\bif\s*(?=\()")
LEAVES = re.compile(r"\s*\{?\s*(return|continue|break)\b")


@dataclass(frozen=True)
class Mutant:
    """One planted bug: a line of a file, and what stands there instead."""

    file: str
    line: int
    """from 1"""
    number: int
    """which of the line's mutants"""
    kind: str
    """"barrier", "atomic" or "bounds check" """
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}:{self.number}"

    def plant(self, source: str) -> str:
        """The text of the file with this bug.  Raises ValueError where the line has changed."""
        lines = source.split("\n")
        if lines[self.line - 1] != self.before:
            raise ValueError(f"{self.name}: the file has changed")
        lines[self.line - 1] = self.after
        return "\n".join(lines)


def kernel_files() -> list[str]:
    """The names of all kernel files and headers."""
    return sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".cu", ".cuh"))


def mutants_of(file: str) -> list[Mutant]:
    """All bugs to plant in a file."""
    found = []
    for number, line in enumerate((FOLDER / file).read_text(encoding="utf-8").split("\n"), start=1):
        changed = list(changes(line))
        found += [Mutant(file, number, i, kind, line, after) for i, (kind, after) in enumerate(changed)]
    return found


def changes(line: str):
    """Each way to spoil a line: (kind, the line instead)."""
    code = line.split("//")[0]
    if code.lstrip().startswith(("#", "*", "/*")) or "alignas" in code:
        return  # no statement
    for match in BARRIER.finditer(code):
        yield "barrier", line[: match.start()] + ";" + line[match.end() :]
    for match in ATOMIC.finditer(code):
        yield "atomic", line[: match.start()] + f"({match[1]}) += {match[2]};" + line[match.end() :]
    for match in IF.finditer(code):
        begin, end = match.end(), closing(code, match.end())
        if end and COMPARES.search(code[begin:end]):
            instead = "(false)" if LEAVES.match(code[end:]) else "(true)"
            yield "bounds check", line[:begin] + instead + line[end:]
    for begin, end in ternary_conditions(code):
        if COMPARES.search(code[begin:end]):
            yield "bounds check", line[:begin] + "true" + line[end:]


def closing(code: str, begin: int) -> int | None:
    """Behind the bracket that closes the one at `begin`; None where it is not in the line."""
    depth = 0
    for i in range(begin, len(code)):
        depth += (code[i] == "(") - (code[i] == ")")
        if depth == 0:
            return i + 1
    return None


def ternary_conditions(code: str):
    """Where the conditions of `condition ? a : b` begin and end."""
    for question in re.finditer(r"\?", code):
        depth, i = 0, question.start() - 1
        while i >= 0 and not (depth == 0 and code[i] in "(=,;{?:&|" and not comparison(code, i)):
            depth += (code[i] in ")]") - (code[i] in "([")
            i -= 1
        begin = i + 1 + len(code[i + 1 :]) - len(code[i + 1 :].lstrip())
        if code[begin:].startswith("return "):
            begin += len("return ")
        yield begin, question.start() - (code[question.start() - 1] == " ")


def comparison(code: str, i: int) -> bool:
    """True where the = at i belongs to <=, >=, == or !=."""
    return code[i] == "=" and (code[i - 1] in "<>=!" or code[i + 1 : i + 2] == "=")
