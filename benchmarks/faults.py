"""The fault harness: kills, signals, full disks, read-only folders, damaged files, and two of every command.

    python -m benchmarks.faults --kills 100 --seed 0 --out docs/reliability/faults.json

Every case ends in a result that is bit for bit that of an undisturbed run, or in one line and exit code 2.  Anything
else is a failure, and its folder is kept.  A call that is stopped goes on where it was, with the same command: each
kind of case is a sequence of random cases that depend only on the seed.  The models are tiny and run on the reference
backend, so that a case takes two or three seconds.
"""

import argparse
import ctypes
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from minibert.base.files import write_text
from minibert.base.folders import is_unfinished

ROOT = Path(__file__).resolve().parents[1]
KINDS = "pretrain", "vocab", "shards", "finetune"
WORDS = "river mountain harbour village garden winter captain sailor teacher farmer".split()
VERBS = "watches follows remembers forgets carries praises guards leaves".split()
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # of Linux
SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "emptied": lambda data, chance: b"",
    "cut short": lambda data, chance: data[: chance.randrange(max(len(data), 1))],
    "one bit changed": lambda data, chance: flipped(data, chance),
    "replaced by []": lambda data, chance: b"[]\n",
    "deleted": lambda data, chance: None,
}


class Failure(Exception):
    """What a case should not have done."""


@dataclass
class Files:
    """The inputs of all cases, and for each kind an undisturbed result and how long it took after its imports."""

    folder: Path
    expected: dict[str, dict[str, bytes]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------ the programs


def start(kind: str, files: Path, out: Path, *, hold: bool = False, prepare: Callable | None = None):
    """Start a child, and wait until it is ready."""
    command = [sys.executable, "-P", "-m", "benchmarks.fault_programs", kind, str(files), str(out)]
    limits = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    process = subprocess.Popen(
        [*command, "hold"] if hold else command,
        cwd=ROOT,
        env={**os.environ, **limits, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare or (lambda: [signal.signal(number, signal.SIG_DFL) for number in SIGNALS]),
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise Failure(f"{kind} did not begin: {process.communicate()[1][-500:]}")
    return process


def end(process) -> tuple[int, str]:
    """Wait for a child; returns its exit code and what it wrote on standard error."""
    try:
        _, complaint = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Failure("it did not end within 300 s") from None
    if "Traceback" in complaint:
        raise Failure(f"a traceback: {complaint[-1500:]}")
    return process.returncode, complaint


def refused(code: int, complaint: str) -> None:
    """Raise Failure unless a command ended with exit code 2 and one line."""
    if code != 2 or complaint.count("\n") != 1:
        raise Failure(f"exit code {code}, {complaint.count(chr(10))} lines: {complaint[-500:]}")


def go_on(kind: str, files: Files, out: Path) -> None:
    """Run a command once more, undisturbed, unless it is done, and compare its result."""
    if not is_done(kind, out):
        code, complaint = end(start(kind, files.folder, out))
        if code:
            raise Failure(f"going on: exit code {code}: {complaint[-500:]}")
    compare(result_of(kind, out), files.expected[kind])


def is_done(kind: str, out: Path) -> bool:
    """Whether a command that would not run twice in this folder has ended."""
    marks = {"vocab": "vocab.txt", "shards": "manifest.json", "finetune": "config.json"}
    return kind in marks and (out / marks[kind]).exists() and not is_unfinished(out)


def result_of(kind: str, out: Path) -> dict[str, bytes]:
    """The files of a folder, without the speed that metrics.jsonl records; temporary ones are a failure."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if name.startswith(".unfinished."):
            continue  # what a killed fine-tuning was deleting when it had ended already
        data = path.read_bytes()
        if path.name == "metrics.jsonl":
            records = [json.loads(line) for line in data.splitlines()]
            data = json.dumps([{k: v for k, v in r.items() if k != "tokens_per_second"} for r in records]).encode()
        found[name] = data
    return found


def compare(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Raise Failure if two results differ, naming the files."""
    if found.keys() != expected.keys():
        raise Failure(f"other files: {sorted(found.keys() ^ expected.keys())}")
    if differing := [name for name in found if found[name] != expected[name]]:
        raise Failure(f"other contents: {', '.join(differing)}")


# ------------------------------------------------------------------------------------------------ the cases


def kill(kind: str, files: Files, out: Path, chance: random.Random) -> str:
    """SIGKILL at a random moment, sometimes twice."""
    for _ in range(chance.choice([1, 1, 2])):
        process = start(kind, files.folder, out)
        time.sleep(files.seconds[kind] * chance.uniform(0, 1.0))
        process.kill()
        process.communicate()
        if is_done(kind, out):
            break
    state = "done" if is_done(kind, out) else "unfinished" if out.exists() and any(out.iterdir()) else "not begun"
    go_on(kind, files, out)
    return f"the kill left it {state}"


def signals(kind: str, files: Files, out: Path, chance: random.Random) -> str:
    """TERM, INT or HUP at a random moment, and once more shortly afterwards."""
    number = chance.choice(SIGNALS)
    process = start(kind, files.folder, out)
    time.sleep(files.seconds[kind] * chance.uniform(0, 1.0))
    process.send_signal(number)
    time.sleep(chance.uniform(0, 0.1))
    process.send_signal(number)
    code, complaint = end(process)
    if code not in (0, 128 + number, -number):
        raise Failure(f"{number.name} twice: exit code {code}: {complaint[-500:]}")
    go_on(kind, files, out)
    return f"{number.name}: exit code {code}"


def full_disk(kind: str, files: Files, out: Path, chance: random.Random) -> str:
    """No file can grow beyond a random size, as on a disk that is full; then there is space again."""
    largest = max(map(len, files.expected[kind].values()))
    limit = int(largest ** chance.uniform(0.3, 1.0))
    process = start(kind, files.folder, out, prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    code, complaint = end(process)
    if code:
        refused(code, complaint)
    go_on(kind, files, out)
    return "it fitted" if code == 0 else "refused"


def read_only(kind: str, files: Files, out: Path, chance: random.Random) -> str:
    """A folder that one may not write to."""
    out.mkdir()
    out.chmod(0o555)

    code, complaint = end(start(kind, files.folder, out, prepare=respect_permissions))
    refused(code, complaint)
    if list(out.iterdir()):
        raise Failure("something was written")
    out.chmod(0o755)
    go_on(kind, files, out)
    return "refused"


def respect_permissions() -> None:
    """Take from root, in a child before it runs, the right to write where the permissions do not allow it (Linux)."""
    if os.geteuid() == 0:
        if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def two(kind: str, files: Files, out: Path, chance: random.Random) -> str:
    """The same command twice: the second comes while the first holds the lock and has written nothing yet."""
    first = start(kind, files.folder, out, hold=True)
    assert first.stdin is not None and first.stdout is not None
    while (line := first.stdout.readline()) and line != "locked\n":
        pass
    if not line:
        raise Failure("the first did not lock its folder")
    before = result_of(kind, out)
    code, complaint = end(start(kind, files.folder, out))
    compare(result_of(kind, out), before)
    refused(code, complaint)
    code, complaint = end(first)  # which closes its standard input, so that it goes on
    if code:
        raise Failure(f"the first: exit code {code}: {complaint[-500:]}")
    compare(result_of(kind, out), files.expected[kind])
    return "the second was refused"


def damage(kind: str, files: Files, out: Path, chance: random.Random) -> str:
    """A damaged file in a run that was killed: it is refused in one line, or makes no difference to the model."""
    for _ in range(5):
        process = start(kind, files.folder, out)
        time.sleep(files.seconds[kind] * chance.uniform(0.4, 1.0))
        process.kill()
        process.communicate()
        found = sorted(p for p in out.rglob("*") if p.is_file()) if out.exists() else []
        if not is_done(kind, out) and any(path.parent.name.startswith("step-") for path in found):
            break
        shutil.rmtree(out, ignore_errors=True)
    else:
        return "not killed at the right moment"
    path, how = chance.choice(found), chance.choice(list(DAMAGES))
    changed = DAMAGES[how](path.read_bytes(), chance)
    path.unlink()
    if changed is not None:
        path.write_bytes(changed)
    name = str(path.relative_to(out))
    try:
        process = start(kind, files.folder, out)
        code, complaint = end(process)
        if code:
            refused(code, complaint)
            return "refused"
        found, expected = result_of(kind, out), files.expected[kind]
        compare({n: found[n] for n in ("model.safetensors",)}, {n: expected[n] for n in ("model.safetensors",)})
    except Failure as error:
        raise Failure(f"{name}, {how}: {error}") from None
    return "the same model"


def flipped(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    position = chance.randrange(len(data))
    return data[:position] + bytes([data[position] ^ 1 << chance.randrange(8)]) + data[position + 1 :]


CASES: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "kill": (kill, KINDS),
    "signals": (signals, KINDS),
    "full disk": (full_disk, KINDS),
    "read-only": (read_only, ("pretrain", "vocab", "finetune")),
    "two": (two, ("pretrain", "vocab", "finetune")),
    "damage": (damage, ("pretrain", "finetune")),
}


# ------------------------------------------------------------------------------------------------ the whole


def make_files(folder: Path) -> Files:
    """Write the inputs, and run every command once without disturbing it."""
    from minibert.models import BertConfig, BertForPreTraining
    from minibert.text import Tokenizer

    folder.mkdir(parents=True)
    chance = random.Random(0)
    sentence = lambda: (  # noqa: E731
        f"The {chance.choice(WORDS)} {chance.choice(VERBS)} the {chance.choice(WORDS)} {chance.choice(VERBS)}."
    )
    for name, count in (("text.txt", 40), ("long.txt", 2000)):  # the long one for what would be done at once otherwise
        documents = ["\n".join(sentence() for _ in range(12)) for _ in range(count)]
        (folder / name).write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    examples = [{"text": sentence(), "label": ["good", "bad"][number * number % 3 % 2]} for number in range(48)]
    (folder / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in examples), encoding="utf-8")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", ".", *WORDS, *VERBS]
    shape = BertConfig(len(vocabulary), 16, 1, 2, 32, max_position_embeddings=16, initializer_range=0.1)
    BertForPreTraining(shape, "reference", seed=1).save_pretrained(folder / "model")
    Tokenizer(vocabulary).save(folder / "model")
    files = Files(folder)
    for kind in KINDS:
        out = folder / "undisturbed" / kind / "out"
        for _ in range(2):  # once for caches that are made only once
            shutil.rmtree(out, ignore_errors=True)
            out.parent.mkdir(parents=True, exist_ok=True)
            process = start(kind, folder, out)
            began = time.perf_counter()
            assert process.stdout is not None
            while (line := process.stdout.readline()) and line != "ended\n":
                pass
            files.seconds[kind] = time.perf_counter() - began
            code, complaint = end(process)
            if code:
                raise SystemExit(f"{kind} fails undisturbed: {complaint}")
        files.expected[kind] = result_of(kind, out)
    return files


def run(name: str, kind: str, number: int, seed: int, files: Files, folder: Path) -> tuple[bool, str]:
    """Run one case; returns whether it passed, and what happened."""
    case = folder / f"{name}-{kind}-{number}".replace(" ", "-")
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir(parents=True)
    try:
        said = CASES[name][0](kind, files, case / "out", random.Random(f"{seed} {name} {kind} {number}"))
    except Failure as error:
        return False, f"case {number}: {error}"
    shutil.rmtree(case)
    return True, said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="kills of each command")
    parser.add_argument("--others", type=int, default=20, help="cases of each other kind and command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES), help="kinds of cases")
    parser.add_argument("--minutes", type=float, default=None, help="begin no case after this time")
    parser.add_argument("--out", type=Path, default=Path("faults.json"))
    parser.add_argument("--work", type=Path, default=None, help="folder for the runs; those that fail are kept")
    given = parser.parse_args()
    began, work = time.monotonic(), given.work or Path(tempfile.mkdtemp(prefix="faults-"))
    work.mkdir(parents=True, exist_ok=True)
    work.chmod(0o755)
    report = json.loads(given.out.read_text()) if given.out.exists() else {"seed": given.seed, "cases": {}}
    if report["seed"] != given.seed:
        parser.error(f"{given.out} holds the cases of seed {report['seed']}; give the same --seed, or another --out")
    shutil.rmtree(work / "files", ignore_errors=True)
    files = make_files(work / "files")
    wanted = {name: given.kills if name == "kill" else given.others for name in given.only}
    pending = [(number, name, kind) for name in given.only for kind in CASES[name][1] for number in range(wanted[name])]
    for number, name, kind in sorted(pending, key=lambda case: case[0]):  # some of everything first
        entry = report["cases"].setdefault(f"{name}, {kind}", {"cases": 0, "passed": 0, "ended": {}, "failures": []})
        if number < entry["cases"]:
            continue
        if given.minutes is not None and time.monotonic() > began + 60 * given.minutes:
            break
        passed, said = run(name, kind, number, given.seed, files, work)
        entry["cases"] += 1
        entry["passed"] += passed
        if passed:
            entry["ended"][said] = entry["ended"].get(said, 0) + 1
        else:
            entry["failures"].append(said)
            print(f"FAILED {name}, {kind}: {said}", flush=True)
        report |= {"python": platform.python_version(), "system": platform.platform()}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(given.out, json.dumps(report, indent=1) + "\n")
    for title, entry in report["cases"].items():
        print(f"{title:24} {entry['passed']:4} of {entry['cases']:4}")
    return 0 if all(entry["passed"] == entry["cases"] for entry in report["cases"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
