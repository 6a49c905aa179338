"""Format numbers for the JSON files that minibert writes, so that later versions can still read them."""

from pathlib import Path

FORMAT = 1  # increase when a file changes in a way that this version would misread; 0: files older than format numbers


def with_format(values: dict) -> dict:
    """The content of a JSON file, with the format number added."""
    return {"format": FORMAT, **values}


class FormatError(ValueError):
    """Raised for a file that a later version of minibert has written."""


def check_format(values: object, path: Path | str) -> None:
    """Raise FormatError if a later version than this one wrote the file, ValueError if it holds no JSON object."""
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got {type(values).__name__}")
    number = values.get("format", 0)
    if not isinstance(number, int) or number > FORMAT:
        raise FormatError(
            f"{path} has format {number!r}; this version reads formats only up to {FORMAT}; upgrade minibert"
        )


def without_format(values: dict, path: Path | str, renamed: dict[str, str] | None = None) -> dict:
    """The inverse of `with_format`, which also replaces old names by new ones.

    renamed: old name -> new name.  Raises the same errors as `check_format`.
    """
    check_format(values, path)
    renamed = renamed or {}
    return {renamed.get(name, name): value for name, value in values.items() if name != "format"}
