"""Progress of a fine-tuning with one or several seeds, kept at the end of each epoch so that it can be resumed.

A resumed fine-tuning takes the same steps, with the same results, as one without interruption.  The checkpoints of all
seeds are numbered through: after step s of seed number n, the number is n * (steps of a seed) + s.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from minibert.base.files import write_text
from minibert.base.formats import with_format, without_format
from minibert.models.huggingface import read_tensors, save_tensors
from minibert.training.checkpoints import (
    BEST,
    PROGRESS,
    check_files,
    damaged,
    fill,
    list_checkpoints,
    load_checkpoint,
    read_state,
    save_checkpoint,
)
from minibert.training.finetuning import FineTuningWatch, History, Keeper
from minibert.training.interrupts import Stopped, StopRequest
from minibert.training.optimizer import AdamW


class Progress(Keeper):
    """The progress of a fine-tuning: its checkpoints, and the histories of the seeds that are done.

    histories   (seed, History) of each seed that is done, in order
    """

    keeps = True

    def __init__(self, folder: Path, seed: int, steps: int, stop: StopRequest) -> None:
        """folder: where the checkpoints are; seed: the first seed; steps: the steps of a seed, at most.

        Raises ValueError if the newest checkpoint is damaged, FormatError if a later version has written it.
        """
        self.folder, self.first, self.steps, self.stop = folder, seed, steps, stop
        self.histories: list[tuple[int, History]] = []
        self.before, self.began = 0.0, time.perf_counter()
        self.current: History | None = None  # of the seed that was interrupted
        checkpoints = list_checkpoints(folder)
        self.checkpoint = checkpoints[-1] if checkpoints else None
        if self.checkpoint is not None:
            self.read(self.checkpoint)

    def read(self, checkpoint: Path) -> None:
        """Read the histories of a checkpoint."""
        state = read_state(checkpoint)
        if PROGRESS not in state["sha256"]:
            raise damaged(checkpoint, f"state.json does not have the checksum of {PROGRESS}")
        check_files(checkpoint, state)
        values = json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8"))
        values = without_format(values, checkpoint / PROGRESS)
        histories = [(int(one["seed"]), history_from(one)) for one in values["histories"]]
        number = (state["step"] - 1) // self.steps
        if [seed for seed, _ in histories] != [self.first + n for n in range(number + 1)]:
            raise damaged(checkpoint, f"{PROGRESS} is of other seeds than state.json")
        *self.histories, (_, self.current) = histories
        self.before = float(values["seconds"])

    @property
    def seed(self) -> int:
        """The seed that is being trained."""
        return self.first + len(self.histories)

    @property
    def seconds(self) -> float:
        """The time since the beginning, without the time between an interruption and the resumption."""
        return self.before + time.perf_counter() - self.began

    @property
    def steps_done(self) -> int:
        """The steps of all seeds together that the newest checkpoint has."""
        return 0 if self.checkpoint is None else read_state(self.checkpoint)["step"]

    def ended(self, history: History) -> None:
        """Note that a seed is done and its model saved."""
        self.histories.append((self.seed, history))
        self.current = None

    def restore(self, watch: FineTuningWatch, optimizer: AdamW) -> int:
        self.watch, self.optimizer = watch, optimizer
        if self.current is None:
            return 0
        assert self.checkpoint is not None
        model, parameters = watch.objective.model, watch.objective.model.parameters
        done = load_checkpoint(self.checkpoint, model, optimizer)
        watch.history = self.current
        if self.current.best >= 0:
            best = parameters.backend.xp.zeros_like(parameters.masters)
            fill(parameters, best, read_tensors([self.checkpoint / BEST]), self.checkpoint)
            watch.best_weights = parameters.backend.numpy(best).copy()
            watch.best_score = next(iter(self.current.evaluations[self.current.best][2].values()))
        return done - len(self.histories) * self.steps

    def save(self, step: int) -> None:
        watch = self.watch
        values = [as_values(seed, history) for seed, history in (*self.histories, (self.seed, watch.history))]
        text = json.dumps(with_format({"seconds": self.seconds, "histories": values})) + "\n"
        others: dict[str, Callable[[Path], object]] = {PROGRESS: lambda path: write_text(path, text)}
        if watch.best_weights is not None:
            tensors = watch.objective.model.parameters.tensors(
                watch.objective.model.parameters.backend.array(watch.best_weights)
            )
            others[BEST] = lambda path: save_tensors(path, tensors)
        number = len(self.histories) * self.steps + step
        self.checkpoint = save_checkpoint(self.folder, number, watch.objective.model, self.optimizer, 1, others=others)

    def asked_to_stop(self) -> bool:
        return self.stop.signal is not None

    def stopped(self, step: int) -> NoReturn:
        raise Stopped(
            self.stop.signal or 0,
            f"stopped after step {step:,} of seed {self.seed}, saved; resume with: {self.stop.how_to_resume}",
        )


def as_values(seed: int, history: History) -> dict[str, Any]:
    """A seed and its history as they stand in progress.json."""
    return {"seed": seed, **vars(history)}


def history_from(values: Mapping[str, Any]) -> History:
    """The History in an entry of progress.json."""
    losses = [(int(step), float(loss)) for step, loss in values["losses"]]
    evaluations = [(int(step), float(epochs), dict(scores)) for step, epochs, scores in values["evaluations"]]
    return History(losses, evaluations, int(values["best"]), bool(values["stopped_early"]))
