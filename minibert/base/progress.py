"""Progress bars, printing that does not disturb them, and checks for required packages."""

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(iterable: Iterable | None = None, **options: Any) -> "tqdm":
    """A tqdm bar on standard error, hidden if standard error is not a terminal; `options` are passed to tqdm."""
    from tqdm import tqdm

    return tqdm(iterable, **{"disable": True if sys.stderr is None else None, "leave": False, **options})


def say(what: str, text: str) -> None:
    """Print one line of a command's report: the label `what`, then the text."""
    write_line(f"{what:11}{text}")


def write_line(text: str) -> None:
    """Print a line, above the progress bar if there is one."""
    if sys.stdout is None:  # a program without a console
        return
    text = printable(text, sys.stdout)
    drawing = sys.modules.get("tqdm")
    if drawing is None:
        print(text)
    else:
        drawing.tqdm.write(text, file=sys.stdout)


def printable(text: str, stream: Any) -> str:
    r"""The text with characters that the stream's encoding lacks as escapes, such as \u4f60."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def escape_unprintable(*streams: Any) -> None:
    """Make text streams write escapes for characters that their encoding lacks, rather than raise an error."""
    for stream in streams:
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def require(command: str, *packages: str) -> None:
    """Raise ModuleNotFoundError with a one-line message if packages that a command needs are not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        names = " and ".join(missing)
        verb = "is" if len(missing) == 1 else "are"
        raise ModuleNotFoundError(
            f"{command} needs {names}, which {verb} not installed: pip install {' '.join(missing)}"
        )
