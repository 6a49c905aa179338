"""Why the default run starts with short sequences: the same small budget, with three schedules.

    python benchmarks/length_schedule.py --out schedules

Trains a tiny BERT several times from the start, `--steps` steps each, and prints the held-out masked-token accuracy at
length 128 for every schedule, learning rate and seed. A run that stays near 15 % never left the plateau on which it
knows which words are frequent and nothing about their order. Existing runs are not repeated, so the
experiment can be stopped and started again. The table of docs/pretraining.md was made with it.
"""

import argparse
import contextlib
import io
from dataclasses import replace
from pathlib import Path

from minibert.training import PretrainConfig, pretrain
from minibert.training.checkpoints import FOLDER as CHECKPOINTS
from minibert.training.checkpoints import folder_name
from minibert.training.metrics import read_metrics

SCHEDULES = {
    "128 only": ("128:1",),
    "16, then 128": ("16:0.6", "128:0.4"),
    "8, 16, 128; 40 % masked at first": ("8:0.2:0.4", "16:0.4:0.4", "128:0.4"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="schedules", help="folder for the runs")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3, 3e-3], help="learning rates")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--schedules", type=int, nargs="+", default=[0, 1, 2], help="which of the three, from 0")
    parser.add_argument("--vocab", help="folder with a vocabulary, so that not every run learns its own")
    options = parser.parse_args()
    print(f"{'schedule':35} {'rate':>6} {'seed':>4}   held-out accuracy and cross-entropy at length 128")
    for name in [list(SCHEDULES)[number] for number in options.schedules]:
        for rate in options.rates:
            for seed in options.seeds:
                last = run(options, name, rate, seed)
                print(f"{name:35} {rate:6g} {seed:4}   {last['mlm_accuracy']:.1%}  {last['mlm_loss']:.3f}", flush=True)


def run(options, name, rate, seed):
    """One run; returns its last evaluation."""
    schedule = "_".join(SCHEDULES[name]).replace(":", "-")
    folder = Path(options.out) / f"{schedule}-steps{options.steps}-rate{rate:g}-seed{seed}"
    config = PretrainConfig(
        out=str(folder),
        vocab=options.vocab,
        lengths=SCHEDULES[name],
        learning_rate=rate,
        seed=seed,
        steps=options.steps,
        eval_every=options.steps,
        final_pairs=500,
    )
    if not (folder / CHECKPOINTS / folder_name(options.steps)).exists():
        with contextlib.redirect_stdout(io.StringIO()):
            code = pretrain(replace(config, resume=(folder / "pretrain.json").exists()))
        if code:
            raise SystemExit(code)  # stopped; the next call continues from there
    return [record for record in read_metrics(folder) if record["kind"] == "evaluation"][-1]


if __name__ == "__main__":
    main()
