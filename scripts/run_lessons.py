"""Run the lessons from top to bottom in clean kernels and store their outputs; or check that the stored ones are fresh.

    python scripts/run_lessons.py                 # all, and store the outputs of those that are out of date
    python scripts/run_lessons.py 03 p1           # some: a lesson and a project
    python scripts/run_lessons.py --check 03      # change nothing; exit code 1 if a stored output is out of date

A cell with the tag "varies" shows times, or numbers that differ from machine to machine; its output is stored, but not
compared.  A cell with the tag "weights" shows the published model that scripts/fetch_test_weights.py fetches to
.ci/weights/minilm (or to MINIBERT_TEST_WEIGHTS).  Where that model is missing, such a cell runs with the course's own
model; then its output is neither stored nor compared, and the script says so.  If pyproject.toml names the project's
address ([project.urls] Repository), each lesson begins with a badge that opens it in a hosted notebook.
"""

import argparse
import difflib
import hashlib
import os
import re
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
LESSONS = ROOT / "lessons"
SECONDS = 120  # time limit of a lesson, on two cores
VARIES, WEIGHTS = "varies", "weights"
SHOWN = "shown_code"  # in the metadata of a cell with the tag "weights": the fingerprint of the code that was run
BADGE = re.compile(r"\[!\[Open in Colab\][^\n]*\n\n")
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
CLOSE = 0.02  # relative: numbers that differ by at most this count as equal, as processors round differently
TINY = 1e-5  # so do those that differ by less than this: rounding errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", help="of lessons and projects, such as 03 p1; by default all")
    parser.add_argument("--check", action="store_true", help="store nothing")
    parser.add_argument("--force", action="store_true", help="store all outputs, also where only times differ")
    options = parser.parse_args()
    paths = [
        path
        for path in sorted(LESSONS.glob("[0-9p][0-9]*.ipynb"))
        if not options.numbers or path.name[:2] in options.numbers
    ]
    failed = False
    weights = published_model()
    for path in paths:
        before = nbformat.read(path, as_version=4)
        began = time.perf_counter()
        after = run(before, weights=weights)
        if weights is None:
            report_not_compared(before, path.name)
            keep_outputs_of_weights(before, after)
        differences = compare(before, after, with_weights=weights is not None)
        print(
            f"{path.name}: {time.perf_counter() - began:.0f} s" + (", out of date" if differences else ""), flush=True
        )
        if options.check or (weights is None and any(map(needs_weights, before.cells))):
            print("\n".join(differences))
            failed |= bool(differences)
            continue
        put_badge(after, repository(), path.name)
        if (
            differences
            or options.force
            or any(cell.get("execution_count", 0) is None for cell in before.cells)  # cells that are new
            or [cell.source for cell in after.cells] != [cell.source for cell in before.cells]
        ):
            nbformat.write(after, path)
    return int(failed)


def published_model() -> Path | None:
    """The folder of the published model that the lessons show, or None if it has not been fetched."""
    folder = Path(os.environ.get("MINIBERT_TEST_WEIGHTS") or ROOT / ".ci" / "weights") / "minilm"
    return folder.resolve() if (folder / "model.safetensors").is_file() else None


def has_tag(cell, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def needs_weights(cell) -> bool:
    """Whether a cell shows the published model, and its code has changed since its output was stored."""
    return has_tag(cell, WEIGHTS) and cell.metadata.get(SHOWN) != fingerprint(cell)


def report_not_compared(notebook, name: str) -> None:
    """Say which cells need the published model, which is missing."""
    numbers = [str(number) for number, cell in enumerate(notebook.cells) if has_tag(cell, WEIGHTS)]
    if numbers:
        print(
            f"{name}: cells {', '.join(numbers)} are not compared: they show a published model, which is not in "
            ".ci/weights/minilm; fetch it with python scripts/fetch_test_weights.py .ci/weights",
            flush=True,
        )


def keep_outputs_of_weights(before, after) -> None:
    """Put the stored outputs of the published model back, after a run that had only the course's own."""
    for old, new in zip(before.cells, after.cells, strict=True):
        if has_tag(old, WEIGHTS):
            new.outputs = old.outputs


def fingerprint(cell) -> str:
    """Of the code that a stored output belongs to."""
    return hashlib.sha256(cell.source.encode()).hexdigest()[:16]


def run(notebook, seconds: int = SECONDS, weights: Path | None = None):
    """A copy of a notebook with the outputs of a fresh run.

    weights: the folder of the published model that lessons load; None if there is none.
    Raises CellExecutionError if a cell fails.
    """
    notebook = nbformat.from_dict(notebook)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MINIBERT_PROGRESS": str(Path(folder) / "progress.json"), "HF_HUB_OFFLINE": "1"}
        environment["MINIBERT_WEIGHTS"] = str(weights or "")  # not those that somebody happens to have set
        client = NotebookClient(
            notebook, timeout=seconds, kernel_name="python3", resources={"metadata": {"path": str(LESSONS)}}
        )
        client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":
            cell.outputs = [tidied(output) for output in joined(cell.outputs)]
            if weights and has_tag(cell, WEIGHTS):
                cell.metadata[SHOWN] = fingerprint(cell)
    return notebook


def joined(outputs) -> list:
    """Outputs, with adjacent pieces of one stream joined."""
    result = []
    for output in outputs:
        if (
            result
            and output.output_type == "stream"
            and result[-1].output_type == "stream"
            and result[-1].name == output.name
        ):
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def tidied(output):
    """An output without what differs from run to run: memory addresses."""
    if "data" in output and "text/plain" in output.data:
        output.data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", output.data["text/plain"])
    return output


def compare(before, after, with_weights: bool = True) -> list[str]:
    """What is different in the outputs, cell by cell; nothing for cells that vary.

    with_weights: whether the published model was there; if not, nothing for cells that show it, either.
    """
    found = []
    for number, (old, new) in enumerate(zip(before.cells, after.cells, strict=True)):
        if old.cell_type != "code" or has_tag(old, VARIES):
            continue
        if has_tag(old, WEIGHTS) and not with_weights:
            if needs_weights(old):
                found.append(f"cell {number}: its code has changed; fetch the published model, and store its outputs")
            continue
        a, b = text_of(old), text_of(new)
        if not alike(a, b):
            lines = difflib.unified_diff(a.splitlines(), b.splitlines(), "stored", "now", lineterm="", n=0)
            found.append(f"cell {number}: " + "\n".join(lines))
    return found


def text_of(cell) -> str:
    """Everything that a cell shows, with a word for each picture."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.append(f"{output.ename}: {output.evalue}")
        else:
            kinds = () if "image/png" in output.data else ("text/plain", "text/html")
            parts.append("\n".join(output.data[kind] for kind in kinds if kind in output.data) or "(picture)")
    return "\n".join(parts)


def alike(a: str, b: str) -> bool:
    """Whether two texts are the same except for rounding."""
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    return all(near(float(x.replace(",", "")), float(y.replace(",", ""))) for x, y in pairs)


def near(x: float, y: float) -> bool:
    """Whether two numbers are the same except for rounding, including that of the last digit shown."""
    return abs(x - y) <= max(CLOSE * max(abs(x), abs(y)), TINY) or (abs(x) < 100 and x == int(x) and abs(x - y) <= 1)


def repository() -> str | None:
    """The project's address, if pyproject.toml has one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository")


def badge(address: str, name: str) -> str:
    """Markdown that opens a lesson of a GitHub repository in Colab."""
    page = f"https://colab.research.google.com/github/{address.rstrip('/').removeprefix('https://github.com/')}"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({page}/blob/main/lessons/{name})\n\n"


def put_badge(notebook, address: str | None, name: str) -> None:
    """Put the badge at the top of the first cell, or remove it; likewise the line that installs the package."""
    first = notebook.cells[0]
    first.source = BADGE.sub("", first.source)
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    code.source = re.sub(r"^# in a hosted notebook.*\n", "", code.source)
    if address:
        first.source = badge(address, name) + first.source
        install = f'%pip install -q "minibert-from-scratch[lessons,corpus] @ git+{address}"'
        code.source = f"# in a hosted notebook, first: {install}\n" + code.source


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CellExecutionError as error:
        sys.exit(str(error))
