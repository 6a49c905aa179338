"""Notes on how a dataclass field appears on the command line, beyond what its type and docstring say.

    text: Annotated[tuple[str, ...], Argument(metavar="TEXT ...", positional=True)]

Only minibert.commands.options reads these notes, so a dataclass of options needs no command-line package.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """metavar: what the help calls the value; default: the default that the help shows; aliases: other names, such as
    "-o"; positional: True for an argument given by position, not by name."""

    metavar: str | None = None
    default: str | None = None
    aliases: tuple[str, ...] = ()
    positional: bool = False
