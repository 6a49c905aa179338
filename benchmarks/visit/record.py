"""One file of results: each row is a line of JSON that is on disk before the next is measured."""

import json
import os
import sys
from pathlib import Path

RESULTS, LOG = "results.jsonl", "log.txt"
# results are published: hide the paths of the machine that measured them
HIDDEN = ((str(Path(__file__).parents[2]), "(minibert)"), (sys.prefix, "(python)"), (str(Path.home()), "~"))


class Record:
    """Appends rows of one stage to the results in a folder."""

    def __init__(self, folder, stage: str, echo: bool = True):
        self.path, self.stage, self.echo = Path(folder) / RESULTS, stage, echo

    def row(self, name: str, **values) -> None:
        """name: what was measured; values: plain numbers and strings, with units in their names."""
        line = json.dumps({"stage": self.stage, "name": name, **values}, default=float)
        for folder, stand_in in HIDDEN:
            line = line.replace(folder + "/", stand_in + "/")
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("\n" * half_written(self.path) + line + "\n")
            file.flush()
            os.fsync(file.fileno())
        if self.echo:
            print(line, flush=True)


def half_written(path: Path) -> bool:
    """Whether a killed process has left an unfinished line at the end of a file."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read() not in (b"", b"\n")


def read_rows(folder) -> list[dict]:
    """All rows; a line that a killed process left half-written is skipped."""
    rows = []
    path = Path(folder) / RESULTS
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
