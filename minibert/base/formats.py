"""The format of the files that minibert writes into its folders, so that a later version still reads them."""

from pathlib import Path

FORMAT = 1  # increase when a file changes in a way that this version would misread; 0: files older than format numbers


def with_format(values: dict) -> dict:
    """The content of a file, with the format number added."""
    return {"format": FORMAT, **values}


class FormatError(ValueError):
    """A file that a later version of minibert has written."""


def check_format(values: object, path: Path | str) -> None:
    """Raise FormatError if a file was written by a later version than this one, ValueError if it is not an object."""
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got {type(values).__name__}")
    number = values.get("format", 0)
    if not isinstance(number, int) or number > FORMAT:
        raise FormatError(
            f"{path} has format {number!r}; this version reads formats only up to {FORMAT}; upgrade minibert"
        )


def without_format(values: dict, path: Path | str, renamed: dict[str, str] | None = None) -> dict:
    """The inverse of `with_format`; old names in `renamed` become the new ones.  Errors as in `check_format`."""
    check_format(values, path)
    renamed = renamed or {}
    return {renamed.get(name, name): value for name, value in values.items() if name != "format"}
