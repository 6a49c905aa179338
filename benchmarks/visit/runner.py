"""A process for each stage, with a time limit: one that fails, hangs or is killed loses only its own results."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from visit.record import LOG, Record

LAST_LINES = 15


@dataclass(frozen=True)
class Stage:
    """One stage: its name, what it does in a few words, and its time limit in seconds."""

    name: str
    what: str
    seconds: float
    parts: tuple[str, ...] = ()
    """the parts that it consists of: each runs in a process of its own, within the shared time limit"""


def run_stage(stage: Stage, folder: Path, limit: float, words: list[str]) -> str:
    """Run one stage; returns "passed", "failed", "timed out", "killed"."""
    record = Record(folder, stage.name, echo=False)
    end = time.monotonic() + limit
    outcomes = [run_part(name, folder, end - time.monotonic(), words, record) for name in stage.parts or (stage.name,)]
    return next((outcome for outcome in outcomes if outcome != "passed"), "passed")


def run_part(name: str, folder: Path, limit: float, words: list[str], record: Record) -> str:
    """One process of a stage.  Its output goes to the log, and its last lines into the results if it fails."""
    if limit <= 0:
        record.row("outcome", part=name, outcome="not started", last_lines=["no time was left"])
        return "not started"
    log = folder / LOG
    began = time.monotonic()
    with open(log, "a", encoding="utf-8") as file:
        print(f"=== {name}, at most {limit:.0f} s", file=file, flush=True)
        start = log.stat().st_size
        environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1")
        process = subprocess.Popen(
            command_of(name, words), stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
        try:
            code = process.wait(limit)
            outcome = "passed" if code == 0 else "killed" if code < 0 else "failed"
        except subprocess.TimeoutExpired:
            code, outcome = None, "timed out"
        kill_group(process)
    with open(log, "rb") as file:
        file.seek(start)
        said = file.read().decode("utf-8", "replace").splitlines()
    lines = [] if outcome == "passed" else [line for line in said if line.strip()][-LAST_LINES:]
    record.row("outcome", part=name, outcome=outcome, exit=code, seconds=time.monotonic() - began, last_lines=lines)
    return outcome


def command_of(name: str, words: list[str]) -> list[str]:
    return [sys.executable, str(Path(__file__).parents[1] / "gpu_visit.py"), "--stage", name, *words]


def kill_group(process: subprocess.Popen) -> None:
    """Kill the process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
