"""`minibert selftest`: check that a backend is correct on this machine and measure its speed, in one report.

The checks run in groups (see selftest_checks.py).  Each group runs in a separate process with a time limit, because an
illegal memory access on a GPU makes every later GPU call in the process fail, and because a kernel may hang.  The
report is written to disk line by line.
"""

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minibert.base.processes import environment, python
from minibert.base.progress import write_line
from minibert.commands import selftest_checks
from minibert.commands.options import check_writable
from minibert.commands.selftest_checks import Group
from minibert.ops import load_backend


@dataclass(frozen=True)
class SelftestConfig:
    """Check a backend on this machine (gradients, agreement with the reference, bitwise reproducibility) and its speed.

    Writes a report to a file and exits with status 1 if a check fails.
    """

    backend: Literal["cpu", "gpu"] = "gpu"
    """Backend to check."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU; the speed is not measured then."""
    out: str = "minibert-selftest.txt"
    """File to write the report to; an existing one is overwritten."""
    speed: bool = True
    """Also measure the speed."""


def selftest(config: SelftestConfig) -> int:
    """Run the checks, printing and saving the report line by line.  Returns 1 if a check failed, otherwise 0."""
    check_writable("--out", Path(config.out))
    load_backend(config.backend, emulate=config.emulate)  # raises an error if the backend is not available
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
    print(f"\nreport written to {config.out}")
    return 1 if report.failed else 0


class Report:
    """A report, each line of which is printed and immediately saved to a file; also counts passed and failed checks."""

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
    """The command line that runs a group of checks in a separate process."""
    backend = "gpu-emulated" if config.emulate else config.backend
    return python(selftest_checks.__name__, backend, group.name)


def run_group(group: Group, command: list[str], report: Report) -> None:
    """Run a group of checks in a separate process and report the results.

    If the process crashes or times out, the check that was running fails, and so do the group's remaining checks.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
            start_new_session=True,
            env=environment(),
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
        report.check(title, False, f"not run: the group's process {'ended early' if running is None else 'crashed'}")


def events_of(process: subprocess.Popen, seconds: float) -> Iterator[dict]:
    """Yield the events from a group's process until it ends.  Raises TimeoutError after `seconds` seconds in total."""
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
        if line.startswith("{"):  # ignore any other lines, which libraries may print
            yield json.loads(line)


def stop(process: subprocess.Popen) -> None:
    """Kill a process and the processes that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
