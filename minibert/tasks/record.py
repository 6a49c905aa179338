"""What a fine-tuning leaves in its folder besides the model: losses, scores and predictions."""

from pathlib import Path
from typing import Any

from minibert.base.files import write_text
from minibert.tasks.codecs import Codec, Prediction
from minibert.training.finetuning import History
from minibert.training.metrics import FILE, as_line


def write_metrics(folder: Path, histories: list[tuple[int, History]]) -> None:
    """Write metrics.jsonl, which has one line for each step's loss and one for each evaluation."""
    lines = []
    for seed, history in histories:
        lines += [{"kind": "train", "seed": seed, "step": step, "loss": loss} for step, loss in history.losses]
        for step, epochs, scores in history.evaluations:
            lines.append({"kind": "evaluation", "seed": seed, "step": step, "epoch": epochs, **scores})
    write_text(folder / FILE, "".join(map(as_line, lines)))


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
