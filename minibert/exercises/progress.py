"""Which exercises are done, remembered in a small file from lesson to lesson and from day to day.

A broken cell, a killed kernel or a full disk never loses what was there: the file is written under another name and
renamed, and if it cannot be written or read, lessons go on without it.
"""

import datetime
import json
import os
from pathlib import Path

from minibert.base.files import write_text
from minibert.exercises.exercise import FORMER_NAMES

VARIABLE = "MINIBERT_PROGRESS"  # names another file


def progress_file() -> Path:
    """MINIBERT_PROGRESS, or progress.json in the user's data folder."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "minibert" / "progress.json"


def read_progress() -> dict[str, str]:
    """Exercise -> the day on which it was done.  An unreadable file is set aside, not overwritten."""
    try:
        done = json.loads(progress_file().read_text(encoding="utf-8"))
        if isinstance(done, dict) and all(isinstance(day, str) for day in done.values()):
            return {FORMER_NAMES.get(name) or name: day for name, day in done.items()}
        raise ValueError
    except (FileNotFoundError, RuntimeError):
        return {}
    except OSError:
        return {}
    except ValueError:
        set_aside(progress_file())
        return {}


def set_aside(path: Path) -> None:
    """Rename a file that is not a record of progress, so that nothing in it is lost."""
    try:
        path.rename(path.with_suffix(".unreadable"))
    except OSError:
        pass


def remember(name: str) -> None:
    """Note an exercise as done, with today's date; the first day counts."""
    done = read_progress()
    if name in done:
        return
    try:
        path = progress_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {**done, name: datetime.date.today().isoformat()}
        write_text(path, json.dumps(record, indent=1, sort_keys=True) + "\n")
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        pass
