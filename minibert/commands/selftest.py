"""`minibert selftest`: is a backend correct on this machine, and how fast is it?  One report, to keep or to send.

The checks run in groups (selftest_checks.py), each in a process of its own with a time limit: an illegal access on a
GPU fails every later call of its process, and a kernel may hang.  The report is written as it grows.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minibert.base.progress import write_line
from minibert.commands import selftest_checks
from minibert.commands.options import check_writable
from minibert.commands.selftest_checks import Group
from minibert.ops import load_backend


@dataclass(frozen=True)
class SelftestConfig:
    """Check a backend on this machine: gradients, agreement with the reference, equal bits; and measure its speed.

    Writes one report file, and exits with 1 if a check failed.
    """

    backend: Literal["cpu", "gpu"] = "gpu"
    """What to check."""
    emulate: bool = False
    """Run the kernels of the gpu backend on the CPU; then speed is not measured."""
    out: str = "minibert-selftest.txt"
    """The report's file; an older one is replaced."""
    speed: bool = True
    """Measure speed too."""


def selftest(config: SelftestConfig) -> int:
    """Run the checks, print and write the report while it grows.  Returns 1 if a check failed, otherwise 0."""
    check_writable("--out", Path(config.out))
    load_backend(config.backend, emulate=config.emulate)  # reports in one line what is missing
    report = Report(Path(config.out))
    try:
        for group in selftest_checks.groups(config.backend, config.emulate, config.speed):
            run_group(group, command_of(config, group), report)
    except KeyboardInterrupt:
        report.line("interrupted: the report ends here")
        raise
    if not config.speed or config.emulate:
        report.line("speed: not measured" + (" (the kernels ran on the emulator)" if config.emulate else ""))
    report.line(f"{report.failed} of {report.checked} checks failed" if report.failed else "all checks passed")
    print(f"\nwritten to {config.out}")
    return 1 if report.failed else 0


class Report:
    """Lines that are printed as they come, each written to the file before the next."""

    def __init__(self, path: Path):
        self.path = path
        self.checked = self.failed = 0
        path.write_text("", encoding="utf-8")

    def line(self, text: str) -> None:
        write_line(text)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())

    def check(self, title: str, passed: bool, seen: str) -> None:
        self.checked += 1
        self.failed += not passed
        self.line(f"{'pass' if passed else 'FAIL':6}{title:52}{seen}")


def command_of(config: SelftestConfig, group: Group) -> list[str]:
    """The command that runs a group."""
    backend = "gpu-emulated" if config.emulate else config.backend
    return [sys.executable, "-m", selftest_checks.__name__, backend, group.name]


def run_group(group: Group, command: list[str], report: Report) -> None:
    """Run a group of checks and report its results; a crash is one line, and skips the group's remaining checks."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, errors="replace", start_new_session=True
        )
        waiting, running, ended = [], None, None
        try:
            for event in events_of(process, group.seconds):
                if "line" in event:
                    report.line(event["line"])
                elif "titles" in event:
                    waiting = event["titles"]
                elif "begin" in event:
                    running = event["begin"]
                else:
                    report.check(event["title"], event["passed"], event["seen"])
                    waiting, running = waiting[1:], None
            code = process.wait()
        except TimeoutError:
            code, ended = None, f"timed out after {group.seconds:g} s"
        finally:
            stop(process)
        if code and ended is None:
            complaints.seek(0)
            said = [line.strip() for line in complaints if line.strip()]
            killed = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            ended = ": ".join([killed, *said[-1:]])
    if running is not None or (ended and not waiting):
        report.check(running or group.name, False, ended or "ended without a result")
        waiting = waiting[1:]
    for title in waiting:
        report.check(title, False, f"not run: the group's process {'ended' if running is None else 'broke off'}")


def events_of(process: subprocess.Popen, seconds: float) -> Iterator[dict]:
    """The events of a group, until it ends.  Raises TimeoutError after that many seconds in all."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    end = time.monotonic() + seconds
    while True:
        try:
            line = lines.get(timeout=max(end - time.monotonic(), 0))
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            return
        if line.startswith("{"):  # libraries may print too
            yield json.loads(line)


def stop(process: subprocess.Popen) -> None:
    """End a process and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
