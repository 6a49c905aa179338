"""Standard streams that are closed, as by `<&-` and `>&-` in a shell or in a program without a console."""

import os
import sys
from contextlib import suppress
from typing import BinaryIO


def open_closed_streams() -> None:
    """Discard output to standard streams that are closed, and keep files that are opened later from taking their place.

    A closed standard input stays None in Python; see standard_input.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            if descriptor:
                os.set_inheritable(descriptor, True)  # processes that are started need it as well
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def standard_input() -> BinaryIO:
    """The bytes of standard input.  Raises ValueError if it is closed."""
    if sys.stdin is None:
        raise ValueError("standard input is closed; expected text on it, or the name of a file instead of -")
    return sys.stdin.buffer


def discard_output_of_broken_streams() -> None:
    """Discard output that can no longer be written, so that Python's own flush at the end does not fail."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
