"""Maps addresses in a compiled library to source lines, with addr2line."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

TOOLS = ("addr2line", "llvm-addr2line")
RUNTIME = str(Path(__file__).parent / "runtime")


def look_up(library: Path, counters: list[int]) -> dict[int, list[tuple[str, int]]]:
    """Return the source lines (file, line) of each program counter, given as an offset into the library.

    The first is the line itself; if it is in a function that the compiler has inlined, the line of the call follows,
    and so on.  Lines in the emulator's own headers are left out.  A counter whose lines are unknown has an empty list,
    or is missing from the result; without addr2line, the result is empty.
    """
    tool = find_tool()
    counters = [counter for counter in set(counters) if counter]
    if tool is None or not counters:
        return {}
    command = [tool, "-a", "-i", "-e", str(library), *map(hex, counters)]
    lines = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout.splitlines()
    found: dict[int, list[tuple[str, int]]] = {}
    here: list[tuple[str, int]] = []
    for line in lines:
        if line.startswith("0x"):
            here = found.setdefault(int(line, 16), [])
            continue
        file, _, number = line.rpartition(":")
        number = number.split(" ")[0]  # "12 (discriminator 3)"
        if number.isdigit() and int(number) and not file.startswith(RUNTIME) and "??" not in file:
            here.append((shown(file), int(number)))
    return found


def shown(file: str) -> str:
    """Return the file name given in a #line directive, which the debug information turns into a full path."""
    return Path(file).name


@cache
def find_tool() -> str | None:
    return next(filter(None, map(shutil.which, TOOLS)), None)
