"""Regenerates what is derived from the code, and only what is out of date.

    python -m scripts.regenerate --list    # what is derived, whether it is stale, how long it takes; changes nothing
    python -m scripts.regenerate           # what is stale, in an order in which nothing has to be made twice
    python -m scripts.regenerate lessons   # these, stale or not
    python -m scripts.regenerate --all     # everything, 47 minutes

Something is stale when the code or the files that it was made from have changed since; docstrings, comments and
annotations do not count.  derived.json records what it was made from.  Training is not repeated for a change that
leaves its numbers unchanged: only its first steps are repeated, and compared.  Outputs are only written if they differ,
so that afterwards `git status` shows what was out of date.  Figures that were measured (docs/speed.md, docs/gpu/) are
not derived: the scripts in benchmarks/ measure them.
"""

import argparse
import ast
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.derived_texts import replace_block, table_of_commands, table_of_h100, transcript_of

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "scripts" / "derived.json"
COURSE_STEPS, PROBED_STEPS = 12_000, 90
SHOWN, BRIEFLY_SHOWN = (1000, 4000, 8000, 10_000), (1000, 4000, 10_000)  # steps that docs and README show
SMALL, CLOSE = 0.01, 0.05  # nats by which losses of the first steps, or of a later evaluation, may differ elsewhere
VISITS = "docs/gpu/h100-first", "docs/gpu/h100-second", "docs/gpu/h100-third"

LESSONS = "minibert/**/*.py", "minibert/**/*.cu*", "lessons/*.ipynb", "lessons/model/*", "lessons/data/*"
TRAINING = tuple(
    f"minibert/{name}/**/*.py"
    for name in "base text data nn models objectives inference training ops/cpu ops/reference".split()
)


@dataclass(frozen=True)
class Derived:
    """Something that is made by a program.

    what       in words
    inputs     patterns of the files that it is made from
    minutes    that it takes on two cores
    make       makes it
    probe      a quicker check whether it is still right after its inputs changed: None, or what is different
    """

    what: str
    inputs: tuple[str, ...]
    minutes: float
    make: Callable[[], object]
    probe: Callable[[], str | None] | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *DERIVED], metavar="NAME", help=f"of {', '.join(DERIVED)}")
    parser.add_argument("--list", action="store_true", help="change nothing")
    parser.add_argument("--all", action="store_true", help="also what is not stale")
    options = parser.parse_args()
    if options.list:
        for name, derived in DERIVED.items():
            print(f"{name:14}{'stale' if is_stale(name) else 'fresh':7}{derived.minutes:4g} min  {derived.what}")
        return 0
    chosen = list(DERIVED) if options.all else options.names
    for name in chosen or DERIVED:
        if chosen or is_stale(name):
            regenerate(name, asked_for=bool(chosen))
        else:
            print(f"{name}: fresh")
    return 0


def regenerate(name: str, asked_for: bool) -> None:
    """Make something, or find that it is still right; then record what it was made from."""
    derived, began = DERIVED[name], time.perf_counter()
    print(f"{name}: {derived.what}, about {derived.minutes:g} minutes …", flush=True)
    made_from = fingerprint(derived.inputs)  # before: a file may be edited meanwhile
    difference = "asked for" if asked_for or derived.probe is None else derived.probe()
    if difference is None:
        print(f"{name}: its inputs changed, and it stays as it is", flush=True)
    else:
        if not asked_for and derived.probe is not None:
            print(f"{name}: stale, {difference}", flush=True)
        derived.make()
    record = read_record() | {name: made_from}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{name}: done in {time.perf_counter() - began:.0f} s", flush=True)


# ------------------------------------------------------------------------------------------------- what is stale


def is_stale(name: str) -> bool:
    return read_record().get(name) != fingerprint(DERIVED[name].inputs)


def read_record() -> dict[str, str]:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def fingerprint(patterns: Sequence[str]) -> str:
    """A hash of all files that match: for Python and CUDA only the code, for notebooks only their cells' sources."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + content(path) + b"\0")
    return digest.hexdigest()[:16]


def content(path: Path) -> bytes:
    if path.suffix == ".py":
        return code(path.read_text(encoding="utf-8")).encode()
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return json.dumps([cell["source"] for cell in cells if cell["cell_type"] == "code"]).encode()
    if path.suffix in (".cu", ".cuh"):
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()).encode()
    return path.read_bytes()


def code(source: str) -> str:
    """Python without docstrings, comments and annotations."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            node.annotation = ast.Constant(None)
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [line for line in body if not is_text(line)] or [ast.Pass()]
    return ast.dump(tree)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


# ------------------------------------------------------------------------------------------------- how it is made


def python(*words: object, into: Path | None = None) -> None:
    """Run Python in the project's folder; into: a file for its output, written if it succeeds and differs."""
    command = [sys.executable, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE if into else None
    )
    if into and into.read_text(encoding="utf-8") != done.stdout:
        into.write_text(done.stdout, encoding="utf-8", newline="\n")


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def pretrain(work: Path, *options: str, until: Callable[[list[dict]], bool] | None = None) -> tuple[Path, list[str]]:
    """`minibert pretrain` in a folder of its own; until: stop as soon as its metrics satisfy this.

    Returns the run's folder and the lines that it printed.
    """
    command = [sys.executable, "-P", "-m", "minibert", "pretrain", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (work / "printed").open("w", encoding="utf-8") as printed:
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=printed, stderr=subprocess.DEVNULL)
        run, stopped = work / "runs" / "001", False
        while process.poll() is None:
            time.sleep(0.5)
            if until and (run / "metrics.jsonl").exists() and until(metrics_of(run)):
                process.send_signal(signal.SIGINT)
                stopped = True
                break
        process.wait()
    lines = (work / "printed").read_text(encoding="utf-8").splitlines()
    if process.returncode and not stopped:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {lines[-1:]}")
    return run, lines


def metrics_of(run: Path) -> list[dict]:
    from minibert.training.metrics import read_metrics

    return read_metrics(run)


def probe_course_model() -> str | None:
    """Compare the losses of the first steps with the stored ones."""
    stored = json.loads((ROOT / "lessons" / "data" / "default_run.json").read_text(encoding="utf-8"))
    with folder() as work:
        run, _ = pretrain(
            work, "--steps", str(COURSE_STEPS), "--log-every", "10", until=lambda records: len(records) >= PROBED_STEPS
        )
        losses = [record["mlm_loss"] for record in metrics_of(run) if record["kind"] == "train"]
    stretch = 2 * stored["steps"][0]  # the number of steps that each stored loss averages
    for number in range(PROBED_STEPS // stretch):
        part = losses[number * stretch : (number + 1) * stretch]
        now, then = sum(part) / len(part), stored["losses"][number]
        if abs(now - then) > SMALL:
            return f"the loss after {stretch * (number + 1)} steps was {then}, and is {now:.3f}"
    return None


def make_course_model() -> None:
    with folder() as work:
        run, _ = pretrain(work, "--steps", str(COURSE_STEPS))
        python("scripts/make_course_model.py", run, "--curves")


def probe_default_run() -> str | None:
    """Compare the first evaluation with the one that docs/pretraining.md shows."""
    page = (ROOT / "docs" / "pretraining.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"step 1,000, held out: .* cross-entropy ([\d.]+) nats", page)
    with folder() as work:
        run, _ = pretrain(work, until=lambda records: any(record["kind"] == "evaluation" for record in records))
        loss = next(record["mlm_loss"] for record in metrics_of(run) if record["kind"] == "evaluation")
    return None if abs(loss - float(shown)) <= CLOSE else f"after 1,000 steps the loss was {shown}, and is {loss:.3f}"


def probe_broken_runs() -> str | None:
    """Compare the shortest of the runs with its stored curves."""
    from minibert.exercises import broken, tiny_runs

    stored = json.loads((ROOT / "lessons" / "data" / "broken_runs.json").read_text(encoding="utf-8"))["run_2"]["broken"]
    for quantity, (_, values) in tiny_runs.run("run_2", broken.mask_tokens).items():
        then = stored[quantity][1]
        if len(then) != len(values) or max(abs(a - b) for a, b in zip(values, then, strict=True)) > CLOSE:
            return f"run_2 has other values of {quantity!r}"
    return None


def make_default_run() -> None:
    with folder() as work:
        began = time.perf_counter()
        run, printed = pretrain(work)
        minutes, seconds = divmod(round(time.perf_counter() - began), 60)
        shutil.copy(run / "loss.png", ROOT / "docs" / "default-run.png")
    page, readme = ROOT / "docs" / "pretraining.md", ROOT / "README.md"
    for path, lines in (
        (page, transcript_of(printed, SHOWN)),
        (readme, transcript_of(printed, BRIEFLY_SHOWN, brief=True)),
    ):
        replace_block(
            path,
            "    run        runs/001 (new)",
            "    try        ",
            [f"    {line}" for line in lines if "compiling" not in line],
        )
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"in \d+ minutes \d+ seconds from", f"in {minutes} minutes {seconds} seconds from", text)
    page.write_text(text, encoding="utf-8")


def make_pictures() -> None:
    """README's picture is the one that lesson 6 draws."""
    cells = json.loads((ROOT / "lessons" / "06-masking.ipynb").read_text(encoding="utf-8"))["cells"]
    (cell,) = (cell for cell in cells if cell["cell_type"] == "code" and "plot_masking(" in "".join(cell["source"]))
    (picture,) = (output["data"]["image/png"] for output in cell["outputs"] if "image/png" in output.get("data", {}))
    (ROOT / "docs" / "masking.png").write_bytes(base64.b64decode(picture))


def make_experiments() -> None:
    """The tables and pictures of the experiments, from their cells, and the page that shows the tables."""
    results = ROOT / "docs" / "experiments"
    command = [sys.executable, "-P", "-m", "minibert", "experiment", "--out", str(results), "--tables"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=False)  # it ends with 1 as long as cells are missing
    page = ROOT / "docs" / "experiments.md"
    for path in sorted(results.glob("*.md")):
        begin, end = (f"<!-- {word} {path.stem} -->" for word in ("table", "end of"))
        table = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        replace_block(page, begin, end, [begin, "", *table, "", end])


def make_readme() -> None:
    page = (ROOT / "docs" / "gpu" / "h100.md").read_text(encoding="utf-8")
    readme = ROOT / "README.md"
    replace_block(readme, "| command |", "| `minibert info`", table_of_commands())
    replace_block(readme, "| | 256 sequences", "| PyTorch, everything", table_of_h100(page))


DERIVED = {
    "unicode": Derived(
        "minibert/text/unicode_tables.py, from what `tokenizers` does",
        ("scripts/make_unicode_tables.py",),
        1,
        lambda: python("scripts/make_unicode_tables.py"),
    ),
    "course-model": Derived(
        "lessons/model and lessons/data: the course's small model and its curves",
        (*TRAINING, "scripts/make_course_model.py"),
        25,
        make_course_model,
        probe_course_model,
    ),
    "broken-runs": Derived(
        "lessons/data/broken_runs.json: the curves of project 2's runs",
        (*TRAINING, "minibert/exercises/tiny_runs.py", "minibert/exercises/broken.py", "scripts/make_broken_runs.py"),
        2,
        lambda: python("scripts/make_broken_runs.py"),
        probe_broken_runs,
    ),
    "default-run": Derived(
        "docs/default-run.png and what README and docs/pretraining.md show of that run",
        (*TRAINING, "scripts/derived_texts.py"),
        10,
        make_default_run,
        probe_default_run,
    ),
    "lessons": Derived(
        "the outputs in lessons/*.ipynb",
        LESSONS,
        4,
        lambda: python("scripts/run_lessons.py"),
    ),
    "pictures": Derived("docs/masking.png", LESSONS, 0, make_pictures),
    "kernel-table": Derived(
        "docs/gpu_kernels.md, from NVIDIA's compilers (needs the extra cuda-check)",
        (
            "minibert/ops/gpu/**/*.cu*",
            *(f"minibert/{name}/*.py" for name in ("ops/gpu", "nn", "bench")),
            "scripts/kernel_table.py",
        ),
        4,
        lambda: python("scripts/kernel_table.py", into=ROOT / "docs" / "gpu_kernels.md"),
    ),
    "gpu-roofline": Derived(
        "docs/gpu_roofline.md, computed from shapes and data sheets",
        ("benchmarks/gpu_roofline.py", "minibert/training/footprint.py", "minibert/nn/config.py"),
        0,
        lambda: python("benchmarks/gpu_roofline.py", into=ROOT / "docs" / "gpu_roofline.md"),
    ),
    "gpu-tables": Derived(
        "docs/gpu/h100.md, from the raw results beside it",
        ("benchmarks/visit/*.py", "benchmarks/gpu_visit.py", *(f"{visit}/*" for visit in VISITS)),
        0,
        lambda: python("benchmarks/gpu_visit.py", "--report", *VISITS, into=ROOT / "docs" / "gpu" / "h100.md"),
    ),
    "experiments": Derived(
        "docs/experiments.md: the tables and pictures of the experiments, from their cells",
        ("minibert/experiments/*.py", "docs/experiments/cells/*.json", "docs/experiments/*-speeds.json"),
        0,
        make_experiments,
    ),
    "readme": Derived(
        "README's tables of commands and of speeds on a GPU",
        ("minibert/cli.py", "scripts/derived_texts.py", "docs/gpu/h100.md"),
        0,
        make_readme,
    ),
}

if __name__ == "__main__":
    sys.exit(main())
