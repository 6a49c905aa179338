"""Contenders: worker processes that take turns, A B C A B C, so that drift in the machine's speed affects all of them.

The results are medians over the turns, and ratios within each turn.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import minibert

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class ContenderError(RuntimeError):
    """Raised for a contender that did not start or that ended early, with the reason in one line."""


class Contender:
    """One worker process; minibert.bench.worker describes the questions that it answers."""

    def __init__(self, name: str, workload: Path, threads: int):
        """Start the process, and wait until it is ready.  Raises ContenderError if the process does not start."""
        self.name = name
        self.complaints = tempfile.TemporaryFile()  # the worker's standard error
        self.process: Any = subprocess.Popen(
            [sys.executable, "-m", "minibert.bench.worker", name, str(workload), str(threads)],
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
        """The worker's answer to a question.  Raises ContenderError if the process has ended."""
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the process ended, and the answer explains why
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
        """End the process."""
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):  # a question that the process did not read before it ended
            self.process.stdin.close()
        self.process.stdout.close()
        self.complaints.close()


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker: our own, with this minibert first on the path, and the number of threads."""
    here = str(Path(minibert.__file__).parents[1])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


@contextmanager
def started(
    names: Iterable[str], workload: Path, threads: int, left_out: dict[str, str], tell: Callable[[str], None]
) -> Iterator[dict[str, Contender]]:
    """A context manager that starts contenders, as {name: Contender}, and ends all of them, whatever happens.

    Contenders that do not start are left out, with the reason in left_out; tell: called with a line about progress.
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
    """The answers of each contender in `repeats` measured turns, after a warm-up turn.

    A contender that ends early is dropped, with the reason in left_out.
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
    """How many times as fast minibert is: the median, over the turns, of the ratio within a turn."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))


def best_of(names: Iterable[str], speeds: Mapping[str, Sequence[float]]) -> str | None:
    """The contender with the highest median speed among `names`, or None if no such contender took part."""
    present = [name for name in names if name in speeds]
    return max(present, key=lambda name: median(speeds[name]), default=None)
