"""The commands that the fault harness (faults.py) kills and disturbs, each in a process of its own.

    python -m benchmarks.fault_programs KIND FILES OUT [hold]

prints `ready` after the imports and `ended` at the end.
"""

import sys
from pathlib import Path

from minibert.base.folders import is_unfinished


def child(kind: str, files: str, out: str, hold: bool) -> int:
    """Run one command as far as it is not done yet; print `ready` before it, and wait in its lock if it is to hold."""
    from minibert import cli
    from minibert.data.corpus import read_corpus
    from minibert.data.shards import write_shards
    from minibert.models import PRESETS
    from minibert.text import Tokenizer
    from minibert.training import pretraining, runs  # noqa: F401  (imported before the clock starts)

    PRESETS["tiny"] = (1, 16, 2)
    if hold:
        hold_lock(runs)
    print("ready", flush=True)
    text, long, folder = f"{files}/text.txt", f"{files}/long.txt", Path(out)
    if kind == "pretrain":
        if (folder / "pretrain.json").exists():
            return cli.main(["pretrain", "--out", out, "--resume"])
        return cli.main([*"pretrain --backend reference --vocab-size 120 --max-positions 40 --steps 40".split(), text,
                         *"--batch-tokens 128 --lengths 8:0.5 32:0.5 --nsp-from 32 --dropout 0.1".split(),
                         *"--eval-every 20 --eval-pairs 8 --final-pairs 8 --save-every 8 --log-every 4".split(),
                         "--out", out])  # fmt: skip
    if kind == "finetune":
        if is_unfinished(folder):
            return cli.main(["finetune", "--out", out, "--resume"])
        return cli.main(["finetune", f"{files}/model", *"--task sentence --backend reference --seeds 3".split(),
                         *"--epochs 3 --batch-size 8 --learning-rate 5e-3 --max-length 16 --train".split(),
                         f"{files}/train.jsonl", "--dev", f"{files}/train.jsonl", "--out", out])  # fmt: skip
    if kind == "vocab":
        return cli.main(["vocab", long, "--size", "300", "--out", out])
    try:
        write_shards(read_corpus([long]), Tokenizer.load(f"{files}/model"), folder, processes=1, shard_tokens=20_000)
    except cli.USER_ERRORS as error:
        print(cli.one_line(error), file=sys.stderr)
        return cli.EXIT_ERROR
    except KeyboardInterrupt:  # as the command line does
        return cli.EXIT_INTERRUPTED
    return 0


def hold_lock(runs) -> None:
    """Make the command say when it holds the lock of its folder, and wait there for a line on standard input."""
    honest = runs.locked

    def locked(folder):
        context = honest(folder)
        enter = context.__enter__

        class Held:
            def __enter__(self):
                enter()
                print("locked", flush=True)
                sys.stdin.readline()

            def __exit__(self, *given):
                return context.__exit__(*given)

        return Held()

    runs.locked = locked


if __name__ == "__main__":
    code = child(*sys.argv[1:4], hold=len(sys.argv) > 4)
    print("ended", flush=True)
    sys.exit(code)
