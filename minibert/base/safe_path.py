"""Where Python looks for modules when minibert runs: never in the current folder.

`python -m` puts the current folder first on sys.path, so that a random.py there would run instead of Python's own.
This module is imported before any other, and therefore needs only what Python itself has already loaded.
"""

import os
import sys

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the folder `minibert`
NAME = os.path.basename(PACKAGE)


def leave_out_current_folder() -> None:
    """Remove the current folder from sys.path if `python -m minibert`, or a module of it, has put it there.

    If the package itself lies in the current folder, its folder moves behind Python's own and those of installed
    packages.  A current folder that PYTHONPATH names as well stays.
    """
    if sys.flags.safe_path or not runs_this_package(sys.argv, sys.orig_argv):
        return
    here = current_folder()
    if here and sys.path and os.path.realpath(sys.path[0]) == here:
        sys.path[:] = with_package(sys.path[1:])


def runs_this_package(argv: list[str], orig_argv: list[str]) -> bool:
    """Whether these are the arguments of `python -m minibert`, or of a module of it, while Python looks for the module.

    argv: sys.argv, which begins with "-m" until the module is found; orig_argv: sys.orig_argv, the whole command line.
    """
    if argv[:1] != ["-m"] or len(orig_argv) <= len(argv):
        return False
    word = orig_argv[-len(argv)]  # `minibert`, or its option as well: `-mminibert`, `-Bmminibert`
    name = word.partition("m")[2] if word.startswith("-") else word
    return name.partition(".")[0] == NAME


def search_path() -> list[str]:
    """The folders in which a process that minibert starts looks for modules: sys.path without the current folder.

    A current folder that PYTHONPATH names by its absolute path stays, as does the folder of the package.
    """
    here = current_folder()
    named = {
        os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(path)
    }
    known = [path if here is None else os.path.abspath(path) for path in sys.path if here or os.path.isabs(path)]
    return with_package([path for path in dict.fromkeys(known) if path in named or os.path.realpath(path) != here])


def with_package(path: list[str]) -> list[str]:
    """`path` with the folder of this package: as late as possible, but before a folder that holds another minibert."""
    folder = os.path.dirname(PACKAGE)
    holds = (i for i, entry in enumerate(path) if os.path.isfile(os.path.join(entry, NAME, "__init__.py")))
    first = next(holds, len(path))
    if first < len(path) and os.path.realpath(path[first]) == os.path.realpath(folder):
        return list(path)
    return [*path[:first], folder, *path[first:]]


def current_folder() -> str | None:
    """The path of the current folder without links; None if the folder has been deleted."""
    try:
        return os.path.realpath(os.getcwd())
    except OSError:
        return None
