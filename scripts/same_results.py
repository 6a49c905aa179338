"""Compare this working tree with an older commit: are all losses and all parameters the same, bit for bit?

    python scripts/same_results.py COMMIT                  # every case; --list names them
    python scripts/same_results.py COMMIT --only emulated-gpu-float16 --work same

Each case runs `minibert` from both trees on this machine (another processor would round differently).  Results of the
older commit are kept in --work and reused.  Exit code 1 if anything differs.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORKTREE = "tree"  # of the older commit, inside the working folder
TIMES = "tokens_per_second", "seconds"  # what may differ

# a short run that has lengths, pairs, dropout and micro-batches; the default run has no dropout
SMALL = (
    "--steps 60 --dropout 0.1 --lengths 8:0.5 64:0.5 --nsp-from 64 --accumulate 2 --vocab-size 2000 "
    "--eval-every 30 --eval-pairs 20 --final-pairs 40 --keep 9"
).split()
EMULATED = (
    "--steps 10 --backend gpu --emulate --dropout 0.1 --lengths 8:0.5 32:0.5 --nsp-from 32 --batch-tokens 128 "
    "--vocab-size 1000 --eval-pairs 4 --final-pairs 4 --accumulate 2"
).split()
KINDS = "sentence", "pair", "regression", "tokens", "span", "choice"


class Tree:
    """One of the two trees, and the folder for its results."""

    def __init__(self, source: Path, out: Path):
        self.source, self.out = source, out
        out.mkdir(parents=True, exist_ok=True)

    def start(self, *words) -> subprocess.Popen:
        """Start `minibert` with these words."""
        environment = dict(os.environ, PYTHONPATH=str(self.source), PYTHONSAFEPATH="1", MPLBACKEND="Agg")
        command = [sys.executable, "-P", "-m", "minibert", *map(str, words)]
        log = open(self.out / "log.txt", "a")
        print("$", *words, file=log, flush=True)
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.out)

    def run(self, *words) -> None:
        if code := self.start(*words).wait():
            raise SystemExit(f"minibert {' '.join(map(str, words))} failed ({code}): see {self.out / 'log.txt'}")

    def run_until(self, step: int, run: Path, *words) -> None:
        """Run `minibert` and kill it as soon as it has saved a step."""
        process = self.start(*words)
        while not (run / "checkpoints" / f"step-{step:08d}").exists():
            if process.poll() is not None:
                raise SystemExit(f"it ended before step {step}: see {self.out / 'log.txt'}")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()


def default_run(tree: Tree) -> list[Path]:
    """The first 200 steps of the default run."""
    run = tree.out / "default"
    tree.run_until(200, run, "pretrain", "--out", run, "--save-every", 100, "--keep", 9)
    return [run / "metrics.jsonl", *(run / "checkpoints").glob("step-00000[12]00/*.safetensors")]


def resumed(backend: str):
    """60 steps with everything that a resumed run must get right, killed at step 37."""

    def case(tree: Tree) -> list[Path]:
        run = tree.out / f"resumed-{backend}"
        tree.run_until(37, run, "pretrain", "--out", run, "--backend", backend, *SMALL, "--save-every", 37)
        tree.run("pretrain", "--out", run, "--resume")
        return [run / "metrics.jsonl", run / "model.safetensors", *run.glob("checkpoints/*/*.safetensors")]

    return case


def emulated(precision: str):
    """Ten steps of the gpu backend on the emulator."""

    def case(tree: Tree) -> list[Path]:
        run = tree.out / f"emulated-{precision}"
        tree.run("pretrain", "--out", run, *EMULATED, "--precision", precision)
        return [run / "metrics.jsonl", run / "model.safetensors", *run.glob("checkpoints/*/*.safetensors")]

    return case


def finetuned(kind: str, *options):
    """20 steps of fine-tuning on 80 invented examples; the model is that of the case resumed-cpu."""

    def case(tree: Tree) -> list[Path]:
        examples = tree.out / f"{kind}.jsonl"
        examples.write_text("".join(json.dumps(example) + "\n" for example in examples_of(kind)))
        name = "-".join([kind, *(option.strip("-") for option in options)])
        folder = tree.out / f"finetuned-{name}"
        words = ["--train", examples, "--dev", examples, "--out", folder, *options]
        words += ["--epochs", 1, "--batch-size", 4, "--accumulate", 2, "--learning-rate", "1e-3", "--max-length", 24]
        words += ["--pair-column", "pair"] if kind == "pair" else []
        task = "sentence" if kind == "pair" else kind
        tree.run("finetune", tree.out / "resumed-cpu", "--task", task, *words)
        return [folder / "metrics.jsonl", folder / "dev_predictions.jsonl", *folder.glob("*.safetensors")]

    return case


def examples_of(kind: str) -> list[dict]:
    """80 examples of a kind of task."""
    subjects = ["the senate", "a nation", "our people", "my friend", "the old law", "a great war", "the army", "peace"]
    verbs, things = ["asks for", "gives", "takes", "needs"], ["the land", "a treaty", "more money", "good will", "help"]
    examples = []
    for number in range(80):
        subject, verb, thing = subjects[number % 8], verbs[number // 8 % 4], things[number % 5]
        text, odd = f"{subject} {verb} {thing}", number % 2
        examples.append(
            {
                "sentence": {"text": text, "label": ("good", "bad")[odd]},
                "pair": {"text": text, "pair": f"it is {'very ' * odd}good", "label": f"class {odd}"},
                "regression": {"text": text, "label": float(number % 4)},
                "tokens": {
                    "words": text.split(),
                    "labels": ["who"] * len(subject.split()) + ["O"] * (len(text.split()) - len(subject.split())),
                },
                "span": {
                    "question": "who ?" if odd else "what ?",
                    "context": text,
                    "answers": [
                        {"text": subject, "start": 0} if odd else {"text": thing, "start": len(text) - len(thing)}
                    ],
                },
                "choice": {"text": text, "endings": ["it is good", "it is very bad"], "label": odd},
            }[kind]
        )
    return examples


CASES = {
    "default": default_run,
    "resumed-cpu": resumed("cpu"),
    "resumed-reference": resumed("reference"),
    **{f"finetuned-{kind}": finetuned(kind) for kind in KINDS},
    "finetuned-frozen-tokens": finetuned("tokens", "--frozen", "--layers", "weighted"),
    "finetuned-frozen-sentence": finetuned("sentence", "--frozen", "--head", "linear", "--layers", "-1"),
    "emulated-gpu-float32": emulated("float32"),
    "emulated-gpu-float16": emulated("float16"),
}


def fingerprints(paths: list[Path], out: Path) -> dict[str, str]:
    """name -> a hash of what must be equal: all bytes of tensors, all figures of metrics except times."""
    found = {}
    for path in sorted(paths):
        data = path.read_bytes().replace(str(out).encode(), b"")  # predictions name the file of their examples
        if path.name == "metrics.jsonl":
            # what a killed process wrote after its last checkpoint depends on when it was killed
            last = 200 if path.parent.name == "default" else 10**9
            rows = [json.loads(line) for line in data.decode().splitlines()]
            rows = [{k: v for k, v in row.items() if k not in TIMES} for row in rows if row["step"] <= last]
            data = "\n".join(map(json.dumps, rows)).encode()
            found[f"{path.relative_to(out)}: rows"] = str(len(rows))
        found[str(path.relative_to(out))] = hashlib.sha256(data).hexdigest()
    return found


def results_of(tree: Tree, names: list[str], keep: bool) -> dict[str, dict[str, str]]:
    """case -> fingerprints; with `keep`, cases that have been run before are not repeated."""
    results = {}
    for name in names:
        path = tree.out / f"{name}.fingerprints.json"
        if keep and path.exists():
            results[name] = json.loads(path.read_text())
            continue
        began = time.perf_counter()
        results[name] = fingerprints(CASES[name](tree), tree.out)
        path.write_text(json.dumps(results[name], indent=1))
        print(f"  {name}: {time.perf_counter() - began:.0f} s", flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", help="the older commit")
    parser.add_argument("--only", nargs="*", default=[], choices=CASES, metavar="CASE", help="these cases")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir(), "minibert-same"), help="folder for results"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    options = parser.parse_args()
    if options.list or options.commit is None:
        print("\n".join(CASES))
        return 0
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", options.commit], check=True, capture_output=True, text=True).stdout[:12]
    work = options.work.resolve() / commit
    if not (work / WORKTREE).exists():
        subprocess.run([*git, "worktree", "add", "--detach", str(work / WORKTREE), commit], check=True)
    names = options.only or list(CASES)
    if any(name.startswith("finetuned") for name in names) and "resumed-cpu" not in names:
        names.insert(0, "resumed-cpu")  # their model
    print(f"{commit}:")
    before = results_of(Tree(work / WORKTREE, work / "before"), names, keep=True)
    subprocess.run(["rm", "-rf", str(work / "after")], check=True)
    print("the working tree:")
    after = results_of(Tree(ROOT, work / "after"), names, keep=False)
    different = 0
    for name in names:
        wrong = sorted(k for k in before[name] | after[name] if before[name].get(k) != after[name].get(k))
        different += bool(wrong)
        print(f"{name:28}{'DIFFERENT: ' + ', '.join(wrong) if wrong else f'same, {len(after[name])} files'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
