"""Contenders: worker processes that take turns (A B C A B C), so that drift in the machine's speed affects all equally.

The results are medians over the turns; speeds are compared by their ratio within each turn.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from minibert.base.processes import environment, python

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class ContenderError(RuntimeError):
    """Raised when a contender does not start or ends early; the message gives the reason in one line."""


class Contender:
    """A handle to one worker process; minibert.bench.worker documents the commands that the process accepts."""

    def __init__(self, name: str, workload: Path, threads: int):
        """Start the process and wait until it is ready.  Raises ContenderError if it fails before it is ready."""
        self.name = name
        self.complaints = tempfile.TemporaryFile()  # the worker's standard error
        self.process: Any = subprocess.Popen(
            python("minibert.bench.worker", name, str(workload), str(threads)),
            env=worker_environment(threads),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
        )
        try:
            self._answer()
        except BaseException:
            self.stop()
            raise

    def ask(self, question: str) -> Any:
        """Send the worker a command and return the answer.  Raises ContenderError if the worker fails or has ended."""
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended; _answer raises an error that says why
        return self._answer()

    def _answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise ContenderError(f"ended with exit code {code}{self._last_complaint()}")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise ContenderError(answer["error"])
        return answer

    def _last_complaint(self) -> str:
        self.complaints.seek(0)
        lines = self.complaints.read().decode(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")

    def stop(self) -> None:
        """Kill the process and close its pipes."""
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):  # closing flushes a command that the process never read
            self.process.stdin.close()
        self.process.stdout.close()
        self.complaints.close()


def worker_environment(threads: int) -> dict[str, str]:
    """The environment variables of a worker, with the thread counts set."""
    return environment(**dict.fromkeys(THREAD_VARIABLES, str(threads)))


@contextmanager
def started(
    names: Iterable[str], workload: Path, threads: int, left_out: dict[str, str], tell: Callable[[str], None]
) -> Iterator[dict[str, Contender]]:
    """A context manager that starts the named contenders, yields {name: Contender}, and always stops them on exit.

    A contender that does not start is omitted, and the reason is stored in left_out under its name.
    tell: called with progress messages.
    """
    contenders: dict[str, Contender] = {}
    try:
        for name in names:
            tell(f"starting {name}")
            try:
                contenders[name] = Contender(name, workload, threads)
            except ContenderError as error:
                left_out[name] = str(error)
        yield contenders
    finally:
        for contender in contenders.values():
            contender.stop()


def take_turns(
    contenders: Mapping[str, Contender], repeats: int, left_out: dict[str, str], tell: Callable[[str], None]
) -> dict[str, list]:
    """Run one warm-up turn and `repeats` measured turns; returns the answers from each contender's measured turns.

    A contender that ends early is dropped from the result, and the reason is stored in left_out under its name.
    """
    turns = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name in list(turns):
            tell(f"turn {turn} of {repeats}: {name}" if turn else f"warming up: {name}")
            try:
                answer = contenders[name].ask("turn")
            except ContenderError as error:
                left_out[name] = str(error)
                del turns[name]
                continue
            if turn:
                turns[name].append(answer)
    return turns


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times as fast minibert is: the median over all turns of our speed divided by theirs."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))


def best_of(names: Iterable[str], speeds: Mapping[str, Sequence[float]]) -> str | None:
    """The contender in `names` with the highest median speed, or None if none of them took part."""
    present = [name for name in names if name in speeds]
    return max(present, key=lambda name: median(speeds[name]), default=None)
