"""Annotations for how a dataclass field appears on the command line, beyond what its type and docstring say.

    text: Annotated[tuple[str, ...], Argument(metavar="TEXT ...", positional=True)]

Only minibert.commands.options reads these annotations, so a dataclass of options needs no command-line package.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """How one dataclass field appears on the command line.

    metavar: the value's name in the help text; default: the default value that the help text shows;
    aliases: other names of the option, such as "-o"; positional: True for an argument given by position, not by name.
    """

    metavar: str | None = None
    default: str | None = None
    aliases: tuple[str, ...] = ()
    positional: bool = False


def flag_of(name: str) -> str:
    """The option of a field: model_max_length -> --model-max-length, and from_ (a keyword of Python) -> --from."""
    return "--" + name.rstrip("_").replace("_", "-")
