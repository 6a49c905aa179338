"""How minibert starts Python processes: none of them looks for modules in the current folder."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from minibert.base.safe_path import search_path

SAFE = "PYTHONSAFEPATH"


def python(module: str, *words: str) -> list[str]:
    """The command line that runs a module with this Python; to be started with the variables of `environment`."""
    return [sys.executable, "-P", "-m", module, *words]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment variables, for a process that finds the same modules, and the same minibert.

    changes: further variables.  Processes that the process starts ignore the current folder, too.
    """
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search_path()), SAFE: "1", **changes}


@contextmanager
def safe_path() -> Iterator[None]:
    """A context manager: Python processes that a library starts within the block ignore the current folder."""
    before = os.environ.get(SAFE)
    os.environ[SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE]
        else:
            os.environ[SAFE] = before
