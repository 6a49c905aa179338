"""How the field of a dataclass appears on the command line, where its type and docstring do not say it.

    text: Annotated[tuple[str, ...], Argument(metavar="TEXT ...", positional=True)]

Only minibert.commands.options reads these notes, so that a dataclass of options needs no package for command lines.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """metavar: what the help calls the value; default: what it shows as the default; aliases: other names, as "-o";
    positional: given by its place, not by a name."""

    metavar: str | None = None
    default: str | None = None
    aliases: tuple[str, ...] = ()
    positional: bool = False
