"""`minibert compare`: draw a run over a reference run, and say whether it is on track."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from minibert.base.arguments import Argument
from minibert.base.files import write_file
from minibert.base.progress import require, say
from minibert.training.config import PretrainConfig
from minibert.training.diagnosis import Run, diagnose
from minibert.training.metrics import FILE, read_metrics
from minibert.training.reference_runs import POINTS, closest, figures_of, references, run_of
from minibert.training.systems import SYSTEMS, name_of

PICTURE = "compare.png"


@dataclass(frozen=True)
class CompareConfig:
    """Is my loss normal?  Draw a run over a reference run of the same recipe, and say whether it is on track.

    For example: minibert compare runs/001, at any time while it trains, or afterwards.
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a run of minibert pretrain, finished or not."""
    out: Annotated[str | None, Argument(metavar="FILE", default=f"(default: RUN/{PICTURE})")] = None
    """Where to write the picture."""


def compare(config: CompareConfig) -> int:
    """Print what is seen and write the picture; returns 0 if the run is on track, 1 if it is not.

    Raises FileNotFoundError if the folder is not a run, ValueError if it has no record of its steps.
    """
    require("compare", "matplotlib")
    folder = Path(config.run)
    options = PretrainConfig.load(folder)
    if not (folder / FILE).is_file():
        raise ValueError(f"{folder / FILE} does not exist, so there is nothing to compare; wait for the first steps")
    records = read_metrics(folder)
    run = run_of(records, options.model)
    reference, differences = closest(options, references())
    say("run", f"{folder}: {name_of(options)}, step {run.step:,} of {options.steps:,}")
    say("reference", f"{reference.name}: {reference.command} ({reference.machine}, {reference.date})")
    for name, (mine, theirs) in differences.items():
        say("different", f"--{name.replace('_', '-')} {shown(mine)}, in the reference {shown(theirs)}")
    if differences:
        say("", "other options give other curves, so judge what follows with care")
    findings = diagnose(run, reference.run)
    for finding in findings:
        say("fine" if finding.fine else "look", finding.seen + (f": {finding.cause}" if finding.cause else ""))
    path = Path(config.out) if config.out else folder / PICTURE
    drawn = run_of(records, options.model, POINTS)  # in means, as the reference is kept
    draw(drawn, reference.run, options.model, f"{folder.name or folder} and the reference run {reference.name}", path)
    say("picture", str(path))
    return 0 if all(finding.fine for finding in findings) else 1


def shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def draw(run: Run, reference: Run, model: str, title: str, path: Path) -> None:
    """Draw both runs: a panel for each figure, with training curves as lines and held-out figures as dots."""
    from matplotlib.figure import Figure

    targets, figures = SYSTEMS[model].targets, figures_of(model)
    figure = Figure(figsize=(5.5 * max(len(targets), 1.5), 7), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(2, len(targets), sharex=True, squeeze=False)
    for name, panel in zip(figures, panels.T.flat, strict=True):
        scale = 100 if name.endswith("accuracy") else 1
        for which, colour, label in ((reference, "#969696", "reference"), (run, "#d94801", "this run")):
            for curves, style in ((which.training, "-"), (which.held_out, "o")):
                if (curve := curves.get(name)) is None:
                    continue
                values = [scale * value for value in curve.values]
                size = {"markersize": 5} if style == "o" else {"linewidth": 1.2}
                seen = label + (", held out" if style == "o" else ", training")
                panel.plot(curve.steps, values, style, color=colour, label=seen, **size)
        key, _, what = name.rpartition("_")
        target = next(target for target in targets if target.key == key)
        panel.set_ylabel(f"{target.name}: {'cross-entropy (nats)' if what == 'loss' else 'accuracy (%)'}")
        panel.grid(alpha=0.25)
    for panel in panels[-1]:
        panel.set_xlabel("step")
    panels[0, 0].legend(fontsize=9)
    write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))
