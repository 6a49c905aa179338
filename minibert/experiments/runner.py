"""Runs the missing cells of an experiment, several at a time, each in a process of its own.

A process that is stopped loses nothing but the time since its last checkpoint: it resumes in its folder.
"""

import datetime
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minibert import __version__
from minibert.base import processes
from minibert.base.folders import is_unfinished, make_folder, remove_folder
from minibert.base.progress import say
from minibert.experiments.cells import PRETRAIN, Cell, Store, figures_of_run, figures_of_task, make_models
from minibert.experiments.plan import Plan
from minibert.ops import facts
from minibert.training.checkpoints import FOLDER, folder_name
from minibert.training.config import OPTIONS
from minibert.training.runs import discard, locked

LOOK_EVERY = 0.2  # seconds between two looks at the processes


@dataclass
class Started:
    """A process that runs a cell."""

    cell: Cell
    process: subprocess.Popen
    began: float


class Runner:
    """Runs cells until none is missing, or until the time is up."""

    def __init__(
        self,
        store: Store,
        work: Path,
        jobs: int,
        threads: int,
        minutes: float | None = None,
        program: Sequence[str] = tuple(processes.python("minibert")),
    ) -> None:
        """work: the folder of the models; jobs: how many processes at a time, each with so many threads; minutes: start
        no cell after this time; program: how to start minibert."""
        self.store, self.work, self.jobs, self.threads, self.program = store, work, jobs, threads, program
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.known: dict[str, Cell] = {}

    def run(self, make_plan: Callable[[], Plan]) -> bool:
        """Run cells, asking for a new plan whenever one has ended; returns whether none is missing any more.

        Raises RuntimeError if a cell fails; the others are stopped, and resume in a later call.
        """
        running: dict[str, Started] = {}
        try:
            while True:
                plan = make_plan()
                self.known |= plan.requested
                ready = [cell for cell in self.ready(plan) if cell.key not in running]
                while ready and len(running) < self.jobs and not self.is_late():
                    cell = ready.pop(0)
                    running[cell.key] = self.start(cell)
                if not running:
                    return not plan.missing
                ended = self.wait_for_one(running)
                self.finish(running.pop(ended))
        finally:
            self.stop(list(running.values()))

    def stop(self, running: list[Started]) -> None:
        """Keep the results of processes that have ended, and ask the others to save and end."""
        ended = [started for started in running if started.process.poll() is not None]
        others = [started for started in running if started not in ended]
        for started in others:
            started.process.send_signal(signal.SIGTERM)
        for started in ended:
            if not started.process.returncode:
                self.finish(started)
        for started in others:
            started.process.wait()

    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def ready(self, plan: Plan) -> list[Cell]:
        """The missing cells, each after the cells whose models it needs and that have to be trained (again) first."""
        order: dict[str, Cell] = {}

        def add(cell: Cell) -> bool:
            """Whether the cell can start now; if not, the runs that it waits for are added."""
            waits = [self.known[key] for key in cell.sources if not self.is_finished(key)]
            for source in waits:
                if add(source):
                    order[source.key] = source
            return not waits

        for cell in plan.missing.values():
            if add(cell):
                order[cell.key] = cell
        return list(order.values())

    def is_finished(self, key: str) -> bool:
        """Whether the model of a run is in the work folder, trained to its end."""
        return (self.work / key / FOLDER / folder_name(dict(self.known[key].options)["steps"])).exists()

    def start(self, cell: Cell) -> Started:
        folder = self.work / cell.key
        words = [*self.program, *cell.words(self.work), "--threads", str(self.threads)]
        if cell.command == PRETRAIN and (folder / OPTIONS).exists():
            words.append("--resume")
        elif is_unfinished(folder):
            words.append("--resume")
        elif folder.exists():
            with locked(folder):  # the process of a killed experiment may still write it
                discard(folder)
        make_folder(self.work)
        make_models(cell, self.work)
        process = self.launch([*words, "--out", str(folder)], self.work / f"{cell.key}.log")
        return Started(cell, process, time.monotonic())

    def launch(self, words: list[str], log: Path) -> subprocess.Popen:
        """Start a process whose output goes to a file."""
        with log.open("w", encoding="utf-8") as file:
            return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, env=environment(self.threads))

    def wait_for_one(self, running: dict[str, Started]) -> str:
        """The key of a cell whose process has ended."""
        while True:
            for key, started in running.items():
                if started.process.poll() is not None:
                    return key
            time.sleep(LOOK_EVERY)

    def finish(self, started: Started) -> None:
        """Keep the result of a cell.  Raises RuntimeError with the last line that it printed if it failed."""
        cell, seconds = started.cell, time.monotonic() - started.began
        folder, log = self.work / cell.key, self.work / f"{cell.key}.log"
        if started.process.returncode:
            lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            last = lines[-1] if lines else f"exit code {started.process.returncode}"
            raise RuntimeError(f"{' '.join(['minibert', *cell.words(self.work)])} failed: {last} (see {log})")
        if self.store.figures(cell) is None:  # a run that was only trained again has its result already
            figures = figures_of_run(folder) if cell.command == PRETRAIN else figures_of_task(folder)
            self.store.add(cell, figures, seconds=round(seconds, 1), **self.circumstances())
        if cell.command != PRETRAIN:
            remove_folder(folder)  # the score is kept; the model is not needed again
        log.unlink()
        say("done", f"{cell.key} in {seconds:.0f} s")

    def circumstances(self) -> dict:
        return circumstances(self.threads) | {"at the same time": self.jobs}


def circumstances(threads: int) -> dict:
    """Where, when and how a result was measured."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "threads": threads,
        "minibert": __version__,
        "commit": commit(),
    }


@cache
def processor() -> str:
    return facts.collect()["processor"]["name"]


@cache
def commit() -> str | None:
    """The commit of the checkout that minibert runs from, or None."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():  # an installed package may lie in a repository that is not minibert's
        return None
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def environment(threads: int) -> dict[str, str]:
    """The environment of a cell's process: threads that wait do not take the core of another process."""
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
    return processes.environment(**limits, OMP_WAIT_POLICY="PASSIVE")
