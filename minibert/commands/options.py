"""Read a dataclass from the command line with tyro, and say what was wrong in one line where it cannot be."""

import ast
import dataclasses
import inspect
import io
import os
import re
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import pairwise
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

from minibert.base.arguments import Argument

# a wide terminal, for the error boxes only: their lines are then not broken in the middle of a word
WIDE = "10000"

# what the help calls the value of an option that may be left out
METAVARS = {str | None: "STR", int | None: "INT", float | None: "FLOAT"}


def read_options(config_class: type, words: Sequence[str], program: str, note: str = ""):
    """An instance of the dataclass `config_class`, filled from the command line `words`.

    `program` is the name that the help shows, `note` a line below its description.  A class method `defaults`,
    where the dataclass has one, is given the words and returns what options that are left out are.
    Returns None where --help was asked for, and printed. Raises ValueError, in one line, for a command line that
    does not fit.
    """
    import tyro  # here: nothing but a command line needs it

    description = "\n\n".join(part for part in (inspect.getdoc(config_class), note) if part)
    wants_help = not {"-h", "--help"}.isdisjoint(words)
    defaults = config_class.defaults(words) if hasattr(config_class, "defaults") and not wants_help else None
    registry = tyro.constructors.ConstructorRegistry()
    registry.struct_rule(lambda asked: _options_of(config_class, defaults) if asked.type is config_class else None)
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint), _columns(None if wants_help else WIDE):
            return tyro.cli(config_class, prog=program, description=description, args=words, registry=registry)
    except SystemExit as stop:
        if not stop.code:
            return None
    raise ValueError(f"{unbox(complaint.getvalue())}; see {program} --help")


def _options_of(config_class: type, defaults):
    """How tyro makes an instance of `config_class`; left out options are as in the instance `defaults`, if any.

    tyro would find all of this by itself, but break the help where the docstring of a field goes to the next line,
    and call what may be left out {None}|STR.
    """
    import tyro

    hints = get_type_hints(config_class, include_extras=True)
    docs = field_docs(config_class)
    fields = []
    for field in dataclasses.fields(config_class):
        kind = _as_tyro_has_it(hints[field.name])
        if field.default is None and (name := METAVARS.get(kind)):
            kind = Annotated[kind, tyro.conf.arg(metavar=name)]
        default = field.default if defaults is None else getattr(defaults, field.name)
        if default is dataclasses.MISSING:
            default = tyro.MISSING
        fields.append(tyro.constructors.StructFieldSpec(field.name, kind, default, docs.get(field.name)))
    return tyro.constructors.StructConstructorSpec(instantiate=config_class, fields=tuple(fields))


def _as_tyro_has_it(kind):
    """A field's type, with what a note on it (minibert.base.arguments) says in tyro's terms."""
    import tyro

    if get_origin(kind) is not Annotated:
        return kind
    plain, *notes = get_args(kind)
    for note in notes:
        if not isinstance(note, Argument):
            plain = Annotated[plain, note]
            continue
        options = dict(metavar=note.metavar, help_behavior_hint=note.default, aliases=note.aliases or None)
        plain = Annotated[plain, tyro.conf.arg(**{name: value for name, value in options.items() if value is not None})]
        if note.positional:
            plain = Annotated[plain, tyro.conf.Positional]
    return plain


def field_docs(config_class: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, its lines joined."""
    body = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body[0].body
    docs = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[field.target.id] = " ".join(str(below.value.value).split())
    return docs


@contextmanager
def _columns(width: str | None) -> Iterator[None]:
    """Let the terminal be `width` characters wide; None leaves it as it is."""
    before = os.environ.get("COLUMNS")
    if width is not None:
        os.environ["COLUMNS"] = width
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = before


def unbox(box: str) -> str:
    """What one of tyro's error boxes says, in one line.

    A box has a title, then sections divided by rules: what was wrong, perhaps the help of the option, perhaps
    the options that were meant, and where to find help.  It is drawn with other characters where the terminal
    does not take UTF-8.
    """
    box = re.sub(r"\x1b\[[0-9;]*m", "", box)  # colours
    sections: list[list[str]] = [[]]
    for line in box.splitlines()[1:]:  # the first holds the title
        line = line.strip("│ ")
        if line and not line.strip("─-╰╯"):
            sections.append([])
        elif line:
            sections[-1].append(line)
    sections = [section for section in sections if section] or [[]]
    message = " ".join(" ".join(sections[0]).split()) or "the command line was not understood"
    shown = {section[0]: section[1] for section in sections[1:] if len(section) > 1}

    if match := re.match(r"Missing from .*?:", message):
        # the names stand in every second line, their help below them
        return "missing " + " and ".join(sections[0][1::2])
    if match := re.match(r"Unrecognized options: (.*)", message):
        words = match[1].split(", ")
        meant = shown.get("Perhaps you meant:")
        hint = f" (did you mean {meant.split()[0].rstrip(',')!r}?)" if meant else ""
        options = [word for word in words if word.startswith("-")]
        if options:
            return f"there is no option {', '.join(map(repr, options))}{hint}"
        return f"more arguments than it takes: {', '.join(map(repr, words))}"
    if match := re.match(r"Missing value for argument '(.*?)'", message):
        return f"{match[1]} needs a value"
    if match := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*?),?\)", message):
        return f"{match[2]} {match[1]}: expected one of {match[3]}".replace("'", "")
    if match := re.match(r"Error parsing (\S+): (.*)", message):
        option, reason = match.groups()
        if not option.startswith("-") and "Argument helptext:" not in shown:
            return reason  # the dataclass refused the combination; it says which fields
        expected = re.sub(r"^-\S+\s*", "", shown.get("Argument helptext:", ""))
        if wrong := re.match(r"invalid literal for int\(\) with base 10: (.*)", reason):
            reason = f"expected a whole number, given {wrong[1]}"
        elif wrong := re.match(r"could not convert string to float: (.*)", reason):
            reason = f"expected a number, given {wrong[1]}"
        elif wrong := re.match(r"Could not find valid parse for arguments: \[(.*)\]", reason):
            reason = f"expected {expected}, given {wrong[1]}"
        return f"{option}: {reason}"
    return message


def check_writable(option: str, path: Path) -> None:
    """Raise OSError or ValueError, naming the option, where a file cannot be written."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{option} {path} is not a regular file; expected the name of a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: there is no folder {path.parent}; make it first")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OSError(f"{option} {path} cannot be written: {error.strerror}") from None
