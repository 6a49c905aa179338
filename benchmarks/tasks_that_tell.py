"""Do the tasks of the default corpus tell a pre-trained model from one that was not pre-trained?

For each seed, fine-tunes the pre-trained model and a model of the same shape with fresh weights on the same examples,
with the same options.  Prints the mean and the standard deviation of the task's first metric over the seeds, and the
separation: the difference of the means divided by the larger standard deviation.  A task that tells has at least 5.

    python benchmarks/tasks_that_tell.py lessons/model --task sotu-replaced sotu-next --seeds 4
"""

import argparse
import contextlib
import io
import shutil
import tempfile
from pathlib import Path

import numpy as np

from minibert import BertConfig, BertForPreTraining
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.finetune import finetune_task
from minibert.tasks.sotu import SOTU_TASKS

TOKENIZER = "vocab.txt", "tokenizer_config.json"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a pre-trained model")
    parser.add_argument("--task", nargs="+", choices=SOTU_TASKS, default=list(SOTU_TASKS))
    parser.add_argument("--seeds", type=int, default=4, help="number of seeds, at least 2 (default: 4)")
    parser.add_argument("--train-examples", type=int, help="train on only this many examples")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds must be at least 2")
    print(f"{'task':18}{'pre-trained':>16}{'fresh':>16}{'separation':>12}")
    for task in options.task:
        scores = np.array([scores_of(options, task, seed) for seed in range(options.seeds)])  # [seeds, 2]
        mean, spread = scores.mean(axis=0), scores.std(axis=0, ddof=1)
        cells = [f"{m:.1%} ± {s:.1%}".rjust(16) for m, s in zip(mean, spread, strict=True)]
        print(f"{task:18}{''.join(cells)}{(mean[0] - mean[1]) / spread.max():12.1f}", flush=True)
    return 0


def scores_of(options: argparse.Namespace, task: str, seed: int) -> list[float]:
    """The best dev scores, by the task's first metric, of the pre-trained model and of one with fresh weights."""
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        for source in (options.model, fresh_model(options.model, folder, seed)):
            config = FinetuneConfig(
                source,
                task,
                train_examples=options.train_examples,
                epochs=options.epochs,
                seed=seed,
                threads=options.threads,
                out=f"{folder}/fine-tuned-{len(scores)}",
            )
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                result = finetune_task(config)
            scores.append(next(iter(result.scores.values())))
    return scores


def fresh_model(model: str, folder: str, seed: int) -> str:
    """Save a model of the same shape and vocabulary with fresh weights, as `minibert pretrain` starts; its folder."""
    target = Path(folder) / f"weights-{seed}"
    BertForPreTraining(BertConfig.load(model), seed=seed, position_init="sinusoids").save_pretrained(target)
    for name in TOKENIZER:
        shutil.copy(Path(model) / name, target / name)
    return str(target)


if __name__ == "__main__":
    raise SystemExit(main())
