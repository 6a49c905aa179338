"""The format of the files that minibert writes into its folders, so that a later version still reads them."""

from pathlib import Path

FORMAT = 1  # raise it when a file changes in a way that this version would misread; files before there were formats: 0


def with_format(values: dict) -> dict:
    """The content of a file, with the number of the format that it is written in."""
    return {"format": FORMAT, **values}


class FormatError(ValueError):
    """A file that a later version of minibert has written."""


def check_format(values: object, path: Path | str) -> None:
    """Raise FormatError where a file was written by a later version than this one, ValueError where it is no object."""
    if not isinstance(values, dict):
        raise ValueError(f"it holds {type(values).__name__}, not an object")
    number = values.get("format", 0)
    if not isinstance(number, int) or number > FORMAT:
        raise FormatError(f"{path} has format {number!r}, and this version of minibert reads up to {FORMAT}: update it")


def without_format(values: dict, path: Path | str, renamed: dict[str, str] | None = None) -> dict:
    """What `with_format` was given; a name that is an old one in `renamed` becomes the new one.  Errors as above."""
    check_format(values, path)
    renamed = renamed or {}
    return {renamed.get(name, name): value for name, value in values.items() if name != "format"}
