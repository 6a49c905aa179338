"""Fuzz every reader: valid files with one thing changed.  Each answer must be right, or a refusal in one line.

    python -m benchmarks.fuzz --reader all --inputs 100000 --seed 0 --out FILE.json --seconds 280

`--inputs` is the number over all chosen readers.  The command goes on where FILE.json ends, so that it can run in
pieces; failing inputs are saved in FILE-failures/.  The exit code is 1 if any input failed.
"""

import argparse
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.reader import ANY, Reader
from benchmarks.fuzz.readers import READERS

SECONDS, KILOBYTES = 2.0, 200 * 1024  # what one input may take
PLACE = re.compile(
    r"(line|row|item|offset|byte|column|sentence)s? \d+|is empty|contains no|not a parquet|damaged|is UTF|is compressed"
)
HARMLESS = 0.3  # the share of inputs whose change must not matter


class Hang(BaseException):
    """Raised by the alarm in an input that takes too long."""


def ring(*_: Any) -> None:
    raise Hang


def write(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


class Fuzzer:
    """One reader with its valid files, in a folder of its own."""

    def __init__(self, reader: Reader, folder: Path, seed: int) -> None:
        self.reader, self.folder, self.seed = reader, folder, seed
        self.bases = reader.bases()
        self.before = []
        for files, target in self.bases:
            write(folder, files)
            self.before.append(reader.read(folder, target))

    def input(self, number: int) -> tuple[int, bytes, bool]:
        """The number of the base, the changed file, and whether the change must not matter."""
        random_of = Random(f"{self.seed} {self.reader.name} {number}")
        base = random_of.randrange(len(self.bases))
        files, target = self.bases[base]
        harmless = random_of.random() < HARMLESS
        mutate = random_of.choice(self.reader.harmless if harmless else self.reader.mutators)
        return base, mutate(random_of, files[target]), harmless

    def outcome(self, number: int) -> tuple[str, str]:
        """("accepted" or "refused" or the kind of failure, its message)."""
        base, data, harmless = self.input(number)
        files, target = self.bases[base]
        write(self.folder, files | {target: data})
        began, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.alarm(20)
        try:
            value, refusal = self.reader.read(self.folder, target), None
        except (ValueError, OSError) as error:
            value, refusal = None, error
        except Hang:
            return "hang", "more than 20 s"
        except Exception as error:
            return "traceback", f"{type(error).__name__}: {error}"[:300]
        finally:
            signal.alarm(0)
        taken, grown = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        if taken > SECONDS or grown > KILOBYTES:
            return "slow or large", f"{taken:.1f} s, {grown >> 10} MB"
        if refusal is not None:
            return self.refused(refusal, target, harmless)
        return self.compared(value, base, target, harmless)

    def refused(self, error: Exception, target: str, harmless: bool) -> tuple[str, str]:
        message = str(error)
        if harmless:
            return "valid refused", message
        if isinstance(error, UnicodeError) or str(self.folder) not in message:
            return "unclear refusal", f"{type(error).__name__}: {message}"[:300]
        if self.reader.numbered and not PLACE.search(message):
            return "no place", message[:300]
        return "refused", ""

    def compared(self, value: Any, base: int, target: str, harmless: bool) -> tuple[str, str]:
        right = self.before[base]
        if harmless:
            return ("accepted", "") if value == right else ("silent change", f"{value!r}"[:300])
        if self.reader.oracle is not None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    right = self.reader.oracle(self.folder, target)
            except Exception:
                right = self.before[base]
        if right is ANY or value == right:
            return "accepted", ""
        return "silent change", f"got {value!r}"[:400] + f"; expected {right!r}"[:400]


def work(name: str, seed: int, first: int, last: int, until: float, results: Any, begun: Any) -> None:
    """In a process of its own: the outcomes of inputs first to last - 1."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="critical")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    import logging

    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, ring)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        fuzzer = Fuzzer(READERS[name], Path(folder) / "files", seed)
        for number in range(first, last):
            if time.monotonic() > until:
                break
            begun.value = number
            results.put((number, *fuzzer.outcome(number)))
    results.put(None)


def run(name: str, seed: int, first: int, last: int, seconds: float, row: dict, failures: Path | None) -> None:
    """Add the outcomes of the inputs from `first` on to a row of the report."""
    context = multiprocessing.get_context("fork")
    results, begun = context.Queue(), context.Value("q", -1)
    clock = time.monotonic()
    process = context.Process(target=work, args=(name, seed, first, last, clock + seconds, results, begun))
    process.start()
    while True:
        try:
            found = results.get(timeout=1.0)
        except Exception:
            if process.is_alive() or not results.empty():
                continue
            if begun.value < first:
                raise RuntimeError(f"{name}: its valid files cannot be read; exit code {process.exitcode}") from None
            found = (begun.value, "crash", f"exit code {process.exitcode}")
        if found is None:
            break
        number, kind, message = found
        row["next"] = number + 1
        row[kind] = row.get(kind, 0) + 1
        if kind not in ("accepted", "refused") and (kind == "crash" or len(row.setdefault("failing", [])) < 40):
            row.setdefault("failing", []).append({"input": number, "kind": kind, "message": message})
            if failures is not None:
                with tempfile.TemporaryDirectory() as folder:
                    fuzzer = Fuzzer(READERS[name], Path(folder) / "files", seed)
                    failures.mkdir(parents=True, exist_ok=True)
                    (failures / f"{name.replace(' ', '-')}-{seed}-{number}").write_bytes(fuzzer.input(number)[1])
        if kind == "crash":
            break
    process.join()
    row["seconds"] = round(row.get("seconds", 0) + time.monotonic() - clock, 1)


def import_libraries() -> None:
    """Once, before processes are forked."""
    import safetensors.torch  # noqa: F401
    import transformers.models.auto.tokenization_auto  # noqa: F401
    from transformers import AutoTokenizer, BertConfig, BertTokenizer, DistilBertConfig  # noqa: F401

    import minibert.models.huggingface  # noqa: F401
    import minibert.tasks.task  # noqa: F401


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", default="all", help=", ".join(READERS))
    parser.add_argument("--inputs", type=int, default=1900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="of this piece")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = list(READERS) if options.reader == "all" else options.reader.split("+")
    each = -(-options.inputs // len(names))
    report: dict[str, Any] = {"seed": options.seed, "readers": {}}
    if options.out and options.out.exists():
        report = json.loads(options.out.read_text())
    report["commit"] = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    until = time.monotonic() + options.seconds
    rows = report["readers"]
    import_libraries()
    for left, name in zip(range(len(names), 0, -1), names, strict=True):
        row = rows.setdefault(name, {"next": 0, "accepted": 0, "refused": 0})
        share = (until - time.monotonic()) / left
        stop = time.monotonic() + share
        while row["next"] < each and time.monotonic() < stop:
            failures = options.out.with_name(f"{options.out.stem}-failures") if options.out else None
            run(name, report["seed"], row["next"], each, stop - time.monotonic(), row, failures)
        row["share accepted"] = round(row["accepted"] / max(row["next"], 1), 3)
        print(name, {key: value for key, value in row.items() if key != "failing"}, flush=True)
        for failure in row.get("failing", ())[:8]:
            print("   ", failure["input"], failure["kind"], failure["message"][:220])
        if options.out:
            options.out.write_text(json.dumps(report, indent=1) + "\n")
    return int(any(row.get("failing") for row in rows.values()))


if __name__ == "__main__":
    raise SystemExit(main())
