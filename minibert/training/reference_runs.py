"""Reference runs: the curves of default recipes, as small files, for `minibert compare`.

    python -m minibert.training.reference_runs RUN NAME

writes minibert/training/references/NAME.json from a finished run, with its options, machine, date and command.
"""

import dataclasses
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from minibert.base.files import write_text
from minibert.base.formats import with_format, without_format
from minibert.models.model_card import command_line
from minibert.ops import facts
from minibert.training.config import HOW_IT_WAS_CALLED, PretrainConfig
from minibert.training.diagnosis import Curve, Run
from minibert.training.metrics import DIVERGED, read_metrics
from minibert.training.systems import SYSTEMS

FOLDER = Path(__file__).parent / "references"
POINTS = 200  # of a training curve; each is the mean of consecutive steps
NOT_THE_RECIPE = {
    *HOW_IT_WAS_CALLED, "accumulate", "backend", "corpus", "eval_every", "eval_pairs", "final_pairs", "keep",
    "log_every", "precision", "preset", "save_every", "seed", "teacher", "tune", "vocab",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reference:
    """A reference run: its name, its command, its options, where it ran, and its curves."""

    name: str
    command: str
    options: dict[str, Any]
    machine: str
    date: str
    run: Run


def figures_of(model: str) -> tuple[str, ...]:
    """The figures of a system that are compared."""
    return tuple(figure for target in SYSTEMS[model].targets for figure in target.figures)


def curves_of(records: Sequence[dict], figures: Sequence[str], points: int | None = None) -> dict[str, Curve]:
    """The curves of some figures; points: thin out to about so many, each the mean of consecutive steps."""
    curves = {}
    for name in figures:
        chosen = [record for record in records if name in record and record[name] is not None]
        steps, values = [record["step"] for record in chosen], [record[name] for record in chosen]
        width = max(len(steps) // points, 1) if points else 1
        if width > 1:
            starts = range(0, len(steps) - width + 1, width)
            steps = [steps[begin + width - 1] for begin in starts]
            values = [round(mean(values[begin : begin + width]), 4) for begin in starts]
        if steps:
            curves[name] = Curve(tuple(steps), tuple(values))
    return curves


def run_of(records: Sequence[dict], model: str, points: int | None = None) -> Run:
    """What is compared of a run, from its metrics.  Raises ValueError if it has taken no step."""
    figures = figures_of(model)
    training = curves_of([record for record in records if record["kind"] == "train"], figures, points)
    if figures[0] not in training:
        raise ValueError("the run has not recorded any step yet; wait for its first steps")
    held_out = curves_of([record for record in records if record["kind"] == "evaluation"], figures)
    diverged = next((record["step"] for record in records if record["kind"] == DIVERGED), None)
    return Run(training, held_out, figures[0], diverged)


def references() -> list[Reference]:
    """All reference runs, by name."""
    return [read_reference(path) for path in sorted(FOLDER.glob("*.json"))]


def read_reference(path: Path) -> Reference:
    values = without_format(json.loads(path.read_text(encoding="utf-8")), path, {})
    training, held_out = (
        {name: Curve(tuple(curve["steps"]), tuple(curve["values"])) for name, curve in values[part].items()}
        for part in ("training", "held_out")
    )
    run = Run(training, held_out, values["loss"], score=values.get("score"))
    return Reference(path.stem, values["command"], values["options"], values["machine"], values["date"], run)


def write_reference(run: Path, path: Path) -> None:
    """Write a reference file from a finished run of pre-training."""
    config = PretrainConfig.load(run)
    measured = run_of(read_metrics(run), config.model, POINTS)
    command = command_line("pretrain", config, config.left_out(), ("corpus",), HOW_IT_WAS_CALLED)
    write_curves(path, command, recipe_of(config), measured)


def write_curves(path: Path, command: str, options: dict[str, Any], run: Run) -> None:
    """Write a reference file: the curves of a run, how it was made, and where."""
    values = {
        "command": command,
        "machine": f"{facts.collect()['processor']['name']}",
        "date": datetime.date.today().isoformat(),
        "options": options,
        "loss": run.loss,
        "score": run.score,
        "training": {name: dataclasses.asdict(curve) for name, curve in run.training.items()},
        "held_out": {name: dataclasses.asdict(curve) for name, curve in run.held_out.items()},
    }
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(with_format(values)) + "\n")


def recipe_of(config: PretrainConfig) -> dict[str, Any]:
    """The options that a curve depends on."""
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    return {name: value for name, value in values.items() if name not in NOT_THE_RECIPE}


def closest(
    recipe: dict[str, Any], what: str, prefer: str, among: Sequence[Reference]
) -> tuple[Reference, dict[str, tuple[Any, Any]]]:
    """The reference whose recipe differs in the fewest options, and these options: name -> (mine, the reference's).

    what: the option that has to be the same, such as "model"; prefer: one that should be the same, such as "size".
    Raises ValueError if there is no such reference.
    """
    of_this = [reference for reference in among if reference.options.get(what) == recipe[what]]
    if not of_this:
        known = ", ".join(sorted({reference.options[what] for reference in among if what in reference.options}))
        raise ValueError(f"there is no reference run of --{what} {recipe[what]}, only of {known or 'others'}")

    def differences(reference: Reference) -> dict[str, tuple[Any, Any]]:
        theirs = reference.options
        return {name: (value, theirs.get(name)) for name, value in recipe.items() if theirs.get(name, value) != value}

    best = min(of_this, key=lambda found: (found.options[prefer] != recipe[prefer], len(differences(found))))
    return best, differences(best)


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]), FOLDER / f"{sys.argv[2]}.json")
