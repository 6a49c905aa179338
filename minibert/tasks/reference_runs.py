"""Reference runs of fine-tuning, for `minibert compare`; see minibert.training.reference_runs.

    python -m minibert.tasks.reference_runs FOLDER NAME

writes minibert/training/references/NAME.json from a fine-tuned model's folder.
"""

import sys
from pathlib import Path
from typing import Any

from minibert.models.model_card import command_line
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.registry import task_info
from minibert.training.diagnosis import Run
from minibert.training.metrics import read_metrics
from minibert.training.reference_runs import FOLDER, POINTS, curves_of, write_curves

NOT_THE_RECIPE = {"run", "revision", "train", "dev", "out", "seed", "seeds", "backend", "emulate", "precision",
                  "accumulate", "threads", "evaluations", "teacher", "n_best", "null_threshold"}  # fmt: skip
LOSS = "loss"


def options_of(folder: Path) -> dict[str, Any]:
    """The options with which a model was fine-tuned.  Raises the errors of FinetuneConfig.stored."""
    return dict(FinetuneConfig.stored(folder))


def run_of_task(folder: Path, points: int | None = None) -> Run:
    """What is compared of a fine-tuning: the training loss and the dev scores of its first seed.

    Raises ValueError if its steps were not recorded; the errors of FinetuneConfig.stored.
    """
    options, records = options_of(folder), read_metrics(folder)
    first = [record for record in records if record.get("seed", options["seed"]) == options["seed"]]
    score = task_info(options["task"]).metrics[0]
    training = curves_of([record for record in first if record["kind"] == "train"], [LOSS], points)
    held_out = curves_of([record for record in first if record["kind"] == "evaluation"], [score])
    if LOSS not in training:
        raise ValueError(f"{folder} has no record of its steps; fine-tune again")
    return Run(training, held_out, LOSS, score=score)


def recipe_of_task(options: dict[str, Any]) -> dict[str, Any]:
    """The options that a curve depends on."""
    return {name: value for name, value in options.items() if name not in NOT_THE_RECIPE}


def write_reference(folder: Path, path: Path) -> None:
    """Write a reference file from a fine-tuned model's folder."""
    options = options_of(folder)
    config, defaults = FinetuneConfig(**options), FinetuneConfig(run="", task=options["task"], train=options["train"])
    command = command_line("finetune", config, defaults, ("run",), ("out", "threads"), always=("task", "train"))
    write_curves(path, command, recipe_of_task(options), run_of_task(folder, POINTS))


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]), FOLDER / f"{sys.argv[2]}.json")
