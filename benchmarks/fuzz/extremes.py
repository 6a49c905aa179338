"""Files of extreme size, depth and number: what reading each of them takes.

    python -m benchmarks.fuzz.extremes [--only NAME ...] [--scale 0.1] --out FILE.json

Valid text of any shape has to take time and memory that grow with its size: at least 0.5 MB a second, and at most
three times its size (and 50 MB, which a small file may take as well).  A list of examples or tokens, which are Python
objects, may also take 1 KB for each of them.  Malformed files have to be refused within two seconds and 200 MB, in a
line that names the file; those whose fault shows only at the end, in the time and memory of valid ones.  Each case runs
in a process of its own; its files are written by another one, and what the libraries take when they are imported is
not counted.  Linux only (/proc).  The exit code is 1 if a case takes more than it may.
"""

import argparse
import gzip
import json
import multiprocessing
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.fuzz.extreme_files import CASES, MB, Case
from minibert.base.processes import environment, python

SLOWEST, LARGEST, CONSTANT = 0.5, 3.0, 50  # MB a second, times the size, and MB
SECONDS, MOST = 2.0, 200  # seconds and MB that a malformed file may take
OBJECT = 1000  # bytes that an example or a token may take where all are returned together
LONGEST = 300  # seconds that a case may run


def memory() -> int:
    """The largest resident size of this process since reset(), in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def reset() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def write(case: Case, folder: Path, scale: float) -> None:
    if case.beside:
        case.beside(folder)
    with open(folder / case.file, "wb") as file:
        file.writelines(case.parts(scale))


def measure(case: Case, folder: Path, scale: float) -> dict[str, Any]:
    """Read one case in this process: what came of it, seconds, and MB beside the size of its text."""
    process = multiprocessing.get_context("fork").Process(target=write, args=(case, folder, scale))
    process.start()
    process.join()
    warm_up(case, folder)
    reset()
    before, began = memory(), time.process_time()
    try:
        case.read(folder, case.file)
        outcome = "read"
    except (ValueError, OSError) as error:
        outcome = "refused" if str(folder) in str(error) and not isinstance(error, UnicodeError) else f"{error!r}"[:300]
    seconds, grown = time.process_time() - began, memory() - before
    size = (
        sum(len(part) for part in case.parts(scale)) if not case.file.endswith(".gz") else unpacked(folder / case.file)
    )
    return {
        "outcome": outcome,
        "seconds": round(seconds, 2),
        "MB": round(size / 1e6, 1),
        "grown": round(grown / 1e6, 1),
    }


def unpacked(path: Path) -> int:
    with gzip.open(path) as file:
        return sum(len(part) for part in iter(lambda: file.read(MB), b""))


def warm_up(case: Case, folder: Path) -> None:
    """Import what the reader imports, with a small file."""
    small = folder / "small"
    small.mkdir()
    write(case, small, 1e-6 if case.valid else 1e-4)
    try:
        case.read(small, case.file)
    except (ValueError, OSError):
        pass


def verdict(case: Case, found: dict[str, Any], scale: float) -> str:
    """What is wrong, in a few words; "" if nothing is."""
    if found["outcome"] != ("read" if case.valid else "refused"):
        return found["outcome"]
    if not case.valid and not case.whole:
        return "too slow" if found["seconds"] > SECONDS else "too large" if found["grown"] > MOST else ""
    if found["seconds"] > 1 and found["MB"] / found["seconds"] < SLOWEST:
        return "too slow"
    most = LARGEST * found["MB"] + CONSTANT + scale * case.objects * OBJECT / 1e6
    return "too large" if found["grown"] > most else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="cases whose names begin like this")
    parser.add_argument("--scale", type=float, default=1.0, help="times the size of each file")
    parser.add_argument("--case", help="run one case in this process")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.case:
        with tempfile.TemporaryDirectory() as folder:
            case = next(case for case in CASES if case.name == options.case)
            print(json.dumps(measure(case, Path(folder), options.scale)))
        return 0
    report: dict[str, Any] = {}
    for case in (case for case in CASES if case.name.startswith(tuple(options.only))):
        command = python("benchmarks.fuzz.extremes", "--case", case.name, "--scale", str(options.scale))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, env=environment())
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(command, -1, "", f"more than {LONGEST} s")
        last = done.stderr.strip().splitlines()[-1:] or [""]
        found = (
            json.loads(done.stdout) if done.returncode == 0 else {"outcome": f"exit {done.returncode}: {last[0]}"[:300]}
        )
        found["wrong"] = verdict(case, found, options.scale)
        report[case.name] = found
        print(case.name, found, flush=True)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    return int(any(found["wrong"] for found in report.values()))


if __name__ == "__main__":
    raise SystemExit(main())
