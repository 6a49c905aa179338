"""Notes on how a dataclass field appears on the command line, beyond what its type and docstring say.

    text: Annotated[tuple[str, ...], Argument(metavar="TEXT ...", positional=True)]

Only minibert.commands.options reads these notes, so a dataclass of options needs no command-line package.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """metavar: what the help calls the value; default: what it shows as the default; aliases: other names, like "-o";
    positional: given by position, not by name."""

    metavar: str | None = None
    default: str | None = None
    aliases: tuple[str, ...] = ()
    positional: bool = False
