"""Program output as shown in README and docs: transcripts of the default run, and tables."""

import re
from collections.abc import Sequence
from pathlib import Path

from minibert.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = "…"
EVALUATION = re.compile(r"step ([\d,]+), held out")
ARGUMENTS = {  # how the table of commands writes a command's arguments
    "completion": "SHELL",
    "pretrain": "[CORPUS ...]",
    "vocab": "[CORPUS ...]",
    "generate": 'RUN "the state of"',
    "distill": "RUN",
    "compare": "RUN",
    "experiment": "[NAME ...]",
    "finetune": "RUN --task TASK",
    "predict": "FOLDER [FILE]",
    "fill": 'RUN "the [MASK] of the union"',
    "encode": "RUN FILE",
    "search": 'RUN FILE "a query"',
    "attention": 'RUN "text"',
    "gradcheck": "[OP ...]",
}
H100 = {  # the rows of README's table, and what docs/gpu/h100.md calls them
    "minibert": "minibert base, {}, bfloat16",
    "PyTorch, autocast: float32 weights, as minibert's": "PyTorch autocast: base, {}",
    "PyTorch, everything in bfloat16": "PyTorch bfloat16: base, {}",
}
SHAPES = "256 x 128", "64 x 512"


def parts_of(transcript: Sequence[str]) -> tuple[list[str], dict[int, list[str]], list[str]]:
    """A run's output: the lines before the first evaluation, those of each evaluation by its step, and the rest."""
    head: list[str] = []
    evaluations: dict[int, list[str]] = {}
    tail: list[str] = []
    current = head
    for line in transcript:
        if match := EVALUATION.match(line):
            current = evaluations.setdefault(int(match[1].replace(",", "")), [])
        elif evaluations and not line.startswith("    "):
            current = tail
        current.append(line)
    return head, evaluations, tail


def transcript_of(printed: Sequence[str], steps: Sequence[int], brief: bool = False) -> list[str]:
    """A run's output with the evaluations of some steps only, and `…` for what is left out.

    brief: without baselines and blanks, except for the last evaluation's blank that the model is most certain of.
    """
    head, evaluations, tail = parts_of(printed)
    lines = [line for line in head if not (brief and line.startswith(("minibert:", "pairs", "baseline")))]
    for step, block in evaluations.items():
        if step not in steps:
            lines.append(LEFT_OUT)
        elif brief:
            lines += [block[0], *(surest(block) if step == max(evaluations) else []), LEFT_OUT]
        else:
            lines += block
    lines += tail
    return [line for number, line in enumerate(lines) if line != LEFT_OUT or lines[number - 1] != LEFT_OUT]


def surest(lines: Sequence[str]) -> list[str]:
    """The two lines of the evaluation's blank whose first guess is likeliest."""
    pairs = [list(pair) for pair in zip(lines[1::2], lines[2::2], strict=True)]
    return max(pairs, key=lambda pair: int(re.findall(r"(\d+)%", pair[1])[0]))


def table_of_commands() -> list[str]:
    """README's table of commands, made from the table behind the command line."""
    rows = [
        f"| `minibert {name}{' ' + ARGUMENTS[name] if name in ARGUMENTS else ''}` | {command.summary} |"
        for name, command in COMMANDS.items()
    ]
    return ["| command | what it does |", "|---|---|", *rows]


def table_of_h100(page: str) -> list[str]:
    """README's table of speeds on an H100, from the rows of docs/gpu/h100.md."""
    cells = {row[1].strip(): row for row in (line.split("|") for line in page.splitlines() if line.startswith("| "))}
    rows = []
    for ours, theirs in H100.items():
        found = [cells[theirs.format(shape)] for shape in SHAPES]
        speeds = [f"{round(int(row[3].replace(',', '')), -3):,} tokens/s" for row in found]
        if ours == "minibert":
            speeds = [f"**{speed}**" for speed in speeds]
        rows.append(f"| {ours} | {speeds[0]} | {speeds[1]} | {max(float(row[9]) for row in found):.1f} GB |")
    return ["| | 256 sequences of 128 | 64 sequences of 512 | memory |", "|---|--:|--:|--:|", *rows]


def replace_block(path: Path, first: str, last: str, lines: Sequence[str]) -> None:
    """Replace a block of lines in a file, from the one that begins with `first` to the one that begins with `last`.

    Raises ValueError if there is not exactly one such block.
    """
    before = path.read_text(encoding="utf-8").split("\n")
    starts = [number for number, line in enumerate(before) if line.startswith(first)]
    if len(starts) != 1:
        raise ValueError(f"{path}: {len(starts)} lines begin with {first!r}; expected one")
    end = next((number for number in range(starts[0], len(before)) if before[number].startswith(last)), None)
    if end is None:
        raise ValueError(f"{path}: no line after {first!r} begins with {last!r}")
    path.write_text("\n".join([*before[: starts[0]], *lines, *before[end + 1 :]]), encoding="utf-8", newline="\n")
