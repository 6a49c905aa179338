"""What a fine-tuning leaves in its folder besides the model: losses, scores and predictions."""

import json
from pathlib import Path
from typing import Any

from minibert.base.files import write_text
from minibert.tasks.codecs import Codec, Prediction
from minibert.tasks.config import FinetuneConfig
from minibert.training.finetuning import History
from minibert.training.runs import RUNS, fresh_folder, is_leftover


def open_folder(config: FinetuneConfig) -> tuple[Path, bool]:
    """Create the output folder if necessary; returns the folder and whether it is new.

    Raises FileExistsError if the folder contains anything other than minibert's temporary files.
    """
    if config.out is None:
        parent = Path(RUNS) / config.task
        return fresh_folder(parent), True
    folder = Path(config.out)
    if folder.exists() and (not folder.is_dir() or not all(map(is_leftover, folder.iterdir()))):
        raise FileExistsError(f"--out {folder} is not an empty folder; choose a new or empty one")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    return folder, made


def write_metrics(folder: Path, histories: list[tuple[int, History]]) -> None:
    """Write metrics.jsonl, which has one line for each step's loss and one for each evaluation."""
    lines = []
    for seed, history in histories:
        lines += [{"kind": "train", "seed": seed, "step": step, "loss": loss} for step, loss in history.losses]
        for step, epochs, scores in history.evaluations:
            lines.append({"kind": "evaluation", "seed": seed, "step": step, "epoch": epochs, **scores})
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def record(codec: Codec, example: Any, prediction: Prediction) -> dict:
    """The dictionary that is written as one line of dev_predictions.jsonl."""
    return {
        "example": as_plain(example),
        "truth": codec.truth(example),
        "answer": prediction.answer,
        "probability": prediction.probability,
    }


def as_plain(example: Any) -> dict:
    """The fields of an example as a dictionary, without labels and missing values."""
    hidden = ("label", "labels", "answers")
    return {name: value for name, value in vars(example).items() if name not in hidden and value is not None}
