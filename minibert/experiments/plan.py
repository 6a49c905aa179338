"""How an experiment asks for its cells.

An experiment is a function of a Plan.  It asks for a figure; if the cell has no result yet, the plan notes that it is
missing and answers None.  The runner runs what is missing, and the function is called again, until nothing is.  An
experiment can therefore depend on its own results, for example on the best of several learning rates.
"""

from dataclasses import dataclass, field
from typing import Any

from minibert.experiments.cells import FINETUNE, PRETRAIN, Cell, Store, reference
from minibert.tasks.registry import task_info

POINTS = 5  # models of each run that are kept, for the experiment on steps
# learning rates of pre-training: the experiment on rates compares RATES_OF_PRETRAINING for each system
RATES_OF_PRETRAINING = 1e-3, 2e-3, 4e-3
RATE_OF: dict[str, float] = {"bert": 2e-3, "gpt": 2e-3, "elmo": 2e-3, "distilbert": 1e-3}
RATES, RATES_OF_FROZEN = (1e-4, 3e-4, 1e-3), (5e-4, 2e-3, 8e-3)  # the small budget in which each system's is chosen
ALL = 1000  # checkpoints: none is ever removed, however often a run is stopped
# the recipe of all runs, spelt out, so that results stay what they are when the commands' defaults change
PRETRAINING: dict[str, Any] = dict(
    batch_tokens=1024,
    lengths=("8:0.1:0.4", "16:0.2:0.4", "64:0.2:0.25", "128:0.5"),
    nsp_from=64,
    mask_rate=0.15,
    random_positions=True,
    max_positions=512,
    position_init="sinusoids",
    warmup=0.06,
    beta1=0.9,
    beta2=0.98,
    adam_eps=1e-6,
    weight_decay=0.01,
    clip=1.0,
    dropout=0.0,
    vocab_size=8192,
    held_out=0.05,
    final_pairs=2000,
)
DISTILLING: dict[str, Any] = dict(loss_weights=(5.0, 2.0, 1.0), temperature=2.0, soft_targets="masked")
LENGTHS_OF_STUDENTS = "64:0.6", "128:0.4"  # a student that starts from a teacher's layers knows word order already
FINE_TUNING: dict[str, Any] = dict(
    train_examples=4000,
    epochs=3,
    batch_size=32,
    warmup=0.1,
    weight_decay=0.01,
    clip=1.0,
    max_length=128,
    layers="weighted",
)
TASKS = "sotu-shuffled", "sotu-next", "sotu-punctuation", "sotu-replaced"  # one of each kind


@dataclass(frozen=True)
class Budget:
    """What all rows of an experiment have in common."""

    steps: int
    """optimiser steps of pre-training"""
    seeds: int
    """number of seeds, each for pre-training and for fine-tuning"""
    tasks: tuple[str, ...] = TASKS
    gpu: bool = False


@dataclass
class Plan:
    """The results so far, and what is still missing.

    missing      the cells without a result that can run now, in the order in which they were asked for
    requested    all cells that were asked for, by key
    """

    store: Store
    budget: Budget
    missing: dict[str, Cell] = field(default_factory=dict)
    requested: dict[str, Cell] = field(default_factory=dict)

    @property
    def seeds(self) -> range:
        return range(self.budget.seeds)

    def figures(self, cell: Cell) -> dict[str, float] | None:
        """The figures of a cell, or None, with the cell noted as missing."""
        self.requested[cell.key] = cell
        found = self.store.figures(cell)
        if found is None:
            self.missing[cell.key] = cell
        return found

    def pretrained(self, seed: int, **options: Any) -> Cell:
        """The cell of a pre-training run with the budget's steps; options: fields of PretrainConfig."""
        steps, rate = self.budget.steps, RATE_OF[options.get("model", "bert")]
        values: dict[str, Any] = {"steps": steps, "eval_every": steps, "seed": seed, "learning_rate": rate}
        values |= {"save_every": max(steps // POINTS, 1), "keep": ALL} | PRETRAINING
        if self.budget.gpu:
            values["backend"] = "gpu"
        cell = Cell.of(PRETRAIN, **values | options)
        self.figures(cell)
        return cell

    def figure(self, cell: Cell, name: str) -> float | None:
        """One figure of a cell."""
        found = self.figures(cell)
        return None if found is None else found.get(name)

    def score(self, source: Cell, tuned_on: Cell, task: str, seed: int, **options: Any) -> float | None:
        """The score of a model that is fine-tuned on a task, with the learning rate that suits its system best.

        source: the cell of the pre-trained model; tuned_on: that of the same system with the first seed, on which the
        rate is chosen; options: fields of FinetuneConfig, or `step`, the step of the run whose model is fine-tuned.
        """
        step = options.pop("step", None)
        if self.figures(source) is None or self.figures(tuned_on) is None:
            return None
        rate = self.best_rate(tuned_on, task, options)
        if rate is None:
            return None
        cell = self.fine_tuned(reference(source.key, step), task, seed=seed, learning_rate=rate, **options)
        return self.figure(cell, metric_of(task))

    def best_rate(self, source: Cell, task: str, options: dict[str, Any]) -> float | None:
        """The learning rate with the best score on training examples set aside for this choice; None if unknown."""
        frozen = options.get("frozen") or dict(source.options).get("model") == "elmo"
        scores = {}
        for rate in RATES_OF_FROZEN if frozen else RATES:
            cell = self.fine_tuned(reference(source.key), task, seed=0, learning_rate=rate, tune=True, **options)
            scores[rate] = self.figure(cell, metric_of(task))
        known = {rate: score for rate, score in scores.items() if score is not None}
        return max(known, key=known.__getitem__) if len(known) == len(scores) else None

    def fine_tuned(self, run: str, task: str, **options: Any) -> Cell:
        """The cell of a fine-tuning."""
        on_gpu = {"backend": "gpu"} if self.budget.gpu else {}
        return Cell.of(FINETUNE, run=run, task=task, **FINE_TUNING | on_gpu | options)


def metric_of(task: str) -> str:
    """The metric that counts: the first of the task's."""
    return task_info(task).metrics[0]
