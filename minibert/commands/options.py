"""Fill a dataclass from the command line: argparse finds the words given for each option, and this file converts them.

Every error in a command line is reported in one line, unlike argparse's own messages, which repeat the usage and
mention Python types.
"""

import argparse
import ast
import dataclasses
import difflib
import inspect
import tempfile
import textwrap
import types
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, Union, get_args, get_origin, get_type_hints

from minibert.base.arguments import Argument, flag_of

VALUE_MISSING = object()  # stands for the value of an option that was given without one
NAMES = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}  # type -> placeholder for a value in the help
EXPECTED = {int: "a whole number", float: "a number"}


def read_options(config_class: type, words: Sequence[str], program: str, note: str = "") -> Any:
    """An instance of the dataclass `config_class`, filled from the command line `words`; None if they include --help.

    program: the program name shown in the help; note: a line added below the help's description.
    If the dataclass has a class method `defaults`, it is called with the words and returns the instance that supplies
    the values of omitted options, or None.  For --help, the help is printed.  Raises ValueError with a one-line message
    for an invalid command line.
    """
    options = options_of(config_class)
    description = "\n\n".join(filter(None, (inspect.getdoc(config_class), note)))
    before, after = split(words)
    if not {"-h", "--help"}.isdisjoint(before):
        print(parser_of(options, program, description).format_help(), end="")
        return None
    try:
        given = words_of(options, before, after)
        values = {option.name: option.read(given[option.name]) for option in options if option.name in given}
        base = config_class.defaults(words) if hasattr(config_class, "defaults") else None
        if base is not None:
            return dataclasses.replace(base, **values)
        required = [option for option in options if option.default is dataclasses.MISSING]
        if missing := [option.shown for option in required if option.name not in values]:
            raise ValueError(f"missing {' and '.join(missing)}")
        return config_class(**values)
    except ValueError as error:
        raise ValueError(f"{error}; see {program} --help") from None


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first "--", and the words after it, which are never options."""
    words = list(words)
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


class Kind(NamedTuple):
    """The type of an option's value.

    element: str, int, float, bool or Path; choices: the allowed values if the field is a Literal, otherwise (); many:
    whether the field is a tuple of such values.
    """

    element: type
    choices: tuple[str, ...] = ()
    many: bool = False


def kind_of(annotation: Any) -> Kind:
    """The Kind for a field's annotation, such as int, int | None, Literal["a", "b"] or tuple[int, ...]."""
    if get_origin(annotation) in (types.UnionType, Union):  # Literal[...] | None is of the second kind
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is tuple:
        return kind_of(get_args(annotation)[0])._replace(many=True)
    if get_origin(annotation) is Literal:
        return Kind(str, get_args(annotation))
    if annotation not in (str, int, float, bool, Path):
        raise TypeError(f"{annotation} is not a supported option type")
    return Kind(annotation)


@dataclasses.dataclass(frozen=True)
class Option:
    """A command-line option or positional argument, which corresponds to one field of the dataclass."""

    name: str
    kind: Kind
    doc: str
    default: Any
    note: Argument

    @property
    def flag(self) -> str:
        return flag_of(self.name)

    @property
    def metavar(self) -> str:
        if self.note.metavar or not self.kind.choices:
            return self.note.metavar or NAMES.get(self.kind.element, "")
        return "{" + ",".join(self.kind.choices) + "}"

    @property
    def shown(self) -> str:
        """The option's name as shown in error messages."""
        return self.metavar if self.note.positional else self.flag

    @property
    def help(self) -> str:
        default = self.default
        if isinstance(default, tuple):
            default = " ".join(map(str, default))
        required = "(required)" if default is dataclasses.MISSING else f"(default: {default})"
        return f"{self.doc} {self.note.default or required}".replace("%", "%%")

    def read(self, given: Any) -> Any:
        """Convert the words given for the option to the field's value.  Raises ValueError for invalid words."""
        if self.kind.many:
            return tuple(map(self.read_word, given))
        return given if isinstance(given, bool) else self.read_word(given)

    def read_word(self, word: str) -> Any:
        if word is VALUE_MISSING:
            raise ValueError(f"{self.shown} requires a value")
        if self.kind.choices and word not in self.kind.choices:
            raise ValueError(f"{self.shown} is {word!r}; expected one of {', '.join(self.kind.choices)}")
        try:
            return self.kind.element(word)
        except ValueError:
            raise ValueError(f"{self.shown} is {word!r}; expected {EXPECTED[self.kind.element]}") from None


def options_of(config_class: type) -> list[Option]:
    """The options defined by a dataclass, in the order of its fields."""
    hints, docs = get_type_hints(config_class, include_extras=True), field_docs(config_class)
    options = []
    for field in dataclasses.fields(config_class):
        annotation, note = hints[field.name], Argument()
        if get_origin(annotation) is Annotated:
            annotation, note = get_args(annotation)
        options.append(Option(field.name, kind_of(annotation), docs.get(field.name, ""), field.default, note))
    return options


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises ValueError instead of printing an error and exiting."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parser_of(options: list[Option], program: str, description: str) -> Parser:
    positionals = "".join(f" {option.metavar}" for option in options if option.note.positional)
    parser = Parser(
        program,
        usage=f"{program} [OPTIONS]{positionals}",
        description=description,
        formatter_class=Help,
        allow_abbrev=False,
        exit_on_error=False,
    )
    for option in options:
        names: tuple[str, ...] = (*option.note.aliases, option.flag)
        shape: dict[str, Any] = dict(dest=option.name, metavar=option.metavar)
        if option.note.positional:
            names, shape = (option.name,), dict(metavar=option.metavar, nargs="*")
        elif option.kind.element is bool:
            shape = dict(dest=option.name, action=argparse.BooleanOptionalAction)
        elif option.kind.many:
            shape["nargs"] = "*"
        else:  # nargs="?", so that Option.read reports a missing value, not argparse
            shape |= dict(nargs="?", const=VALUE_MISSING)
        parser.add_argument(*names, default=argparse.SUPPRESS, help=option.help, **shape)
    return parser


class Help(argparse.RawDescriptionHelpFormatter):
    """A help formatter that keeps the description's line breaks and does not break lines at hyphens.

    It shows a single metavar for an option that takes any number of values.
    """

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _format_args(self, action: argparse.Action, default_metavar: str | None) -> str:
        metavar = str(action.metavar or default_metavar)
        return f"{metavar} ..." if action.nargs == "*" and not metavar.endswith("...") else metavar


def words_of(options: list[Option], before: list[str], after: list[str]) -> dict[str, Any]:
    """What was given for each option, by name: one word, a list of words if several are allowed, or a bool for a flag.

    before, after: the words before and after "--".  Raises ValueError for words that belong to no option.
    """
    named = [option for option in options if not option.note.positional]
    try:
        # argparse is given the named options only: it would reject positional words in two places, as in
        # "a.txt --steps 3 b.txt"
        found, others = parser_of(named, "", "").parse_known_args([with_hyphens(word) for word in before])
    except argparse.ArgumentError as error:
        raise ValueError(f"{error.argument_name}: {error.message}") from None
    given = vars(found)
    if unknown := [word for word in others if word.startswith("-") and word != "-" and " " not in word]:
        flags = [option.flag for option in named]
        close = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1, cutoff=0.7)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"unknown option {', '.join(map(repr, unknown))}{hint}")
    others += after
    for option in options:
        if option.note.positional and others:
            given[option.name] = others if option.kind.many else others.pop(0)
            others = [] if option.kind.many else others
    if others:
        raise ValueError(f"unexpected arguments: {', '.join(map(repr, others))}")
    return given


def with_hyphens(word: str) -> str:
    """Replace underscores in an option's name by hyphens, so that --batch_tokens is the same as --batch-tokens."""
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") and " " not in flag else word


def field_docs(config_class: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, by field name, with its lines joined."""
    tree: Any = ast.parse(textwrap.dedent(inspect.getsource(config_class)))
    docs: dict[str, str] = {}
    for field, below in pairwise(tree.body[0].body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return docs


def check_writable(option: str, path: Path) -> None:
    """Raise OSError or ValueError, with a message that names the option, if a file cannot be written at `path`."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{option} {path} exists and is not a regular file; choose another file name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: the folder {path.parent} does not exist; create it first")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OSError(f"{option} {path} cannot be written: {error.strerror}") from None
