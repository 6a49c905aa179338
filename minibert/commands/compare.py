"""`minibert compare`: draw a run over a reference run, and say whether it is on track."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from minibert.base.arguments import Argument, flag_of
from minibert.base.files import write_file
from minibert.base.folders import check_finished
from minibert.base.markup import in_plot
from minibert.base.progress import require, say
from minibert.tasks.reference_runs import options_of, recipe_of_task, run_of_task
from minibert.training.config import PretrainConfig
from minibert.training.diagnosis import Run, diagnose
from minibert.training.metrics import FILE, read_metrics
from minibert.training.reference_runs import POINTS, closest, recipe_of, references, run_of
from minibert.training.systems import SYSTEMS, name_of

PICTURE = "compare.png"


@dataclass(frozen=True)
class CompareConfig:
    """Is my loss normal?  Draw a run over a reference run of the same recipe, and say whether it is on track.

    For example: minibert compare runs/001, at any time while it trains, or afterwards; or minibert compare
    runs/sotu-next/001, a model that was fine-tuned on a task of the default corpus.
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a run of minibert pretrain, finished or not, or of a model of minibert finetune."""
    out: Annotated[str | None, Argument(metavar="FILE", default=f"(default: RUN/{PICTURE})")] = None
    """Where to write the picture."""


def compare(config: CompareConfig) -> int:
    """Print what is seen and write the picture; returns 0 if the run is on track, 1 if it is not.

    Raises FileNotFoundError if the folder is not a run, ValueError if it has no record of its steps.
    """
    require("compare", "matplotlib")
    folder = Path(config.run)
    check_finished(folder)
    fine_tuned = (folder / "task.json").is_file()
    compared = of_fine_tuning(folder) if fine_tuned else of_pretraining(folder)
    reference, differences = closest(compared.recipe, *compared.same, references())
    say("run", f"{folder}: {compared.described}")
    say("reference", f"{reference.name}: {reference.command} ({reference.machine}, {reference.date})")
    for name, (mine, theirs) in differences.items():
        say("different", f"{flag_of(name)} {shown(mine)}, in the reference {shown(theirs)}")
    if differences:
        say("", "other options give other curves, so judge what follows with care")
    findings = diagnose(compared.run, reference.run)
    for finding in findings:
        say("fine" if finding.fine else "look", finding.seen + (f": {finding.cause}" if finding.cause else ""))
    path = Path(config.out) if config.out else folder / PICTURE
    title = f"{folder.name or folder} and the reference run {reference.name}"
    draw(compared.drawn, reference.run, compared.panels, title, path)
    say("picture", str(path))
    return 0 if all(finding.fine for finding in findings) else 1


@dataclass(frozen=True)
class Compared:
    """What is compared.

    run, drawn   the run, and the run in means, as references are kept
    recipe       the options on which its curves depend
    same         the options that a reference has to share, and should share
    described    the run in words
    panels       figure -> its name, by columns of the picture
    """

    run: Run
    drawn: Run
    recipe: dict[str, Any]
    same: tuple[str, str]
    described: str
    panels: dict[str, str]


def of_pretraining(folder: Path) -> Compared:
    """A run of minibert pretrain."""
    options = PretrainConfig.load(folder)
    records = records_of(folder)
    run = run_of(records, options.model)
    panels = {name: title for target in SYSTEMS[options.model].targets for name, title in target.figures.items()}
    described = f"{name_of(options)}, step {run.step:,} of {options.steps:,}"
    drawn = run_of(records, options.model, POINTS)
    return Compared(run, drawn, recipe_of(options), ("model", "size"), described, panels)


def of_fine_tuning(folder: Path) -> Compared:
    """A model of minibert finetune."""
    options = options_of(folder)
    records_of(folder)
    run = run_of_task(folder)
    panels = {run.loss: "loss (nats)", str(run.score): f"{run.score} (%)"}
    described = f"{options['task']}, {run.step:,} steps from {options['run']}"
    drawn = run_of_task(folder, POINTS)
    return Compared(run, drawn, recipe_of_task(options), ("task", "frozen"), described, panels)


def records_of(folder: Path) -> list[dict]:
    """The metrics of a run.  Raises ValueError if there are none."""
    if not (folder / FILE).is_file():
        raise ValueError(f"{folder / FILE} does not exist, so there is nothing to compare; wait for the first steps")
    return read_metrics(folder)


def shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def draw(run: Run, reference: Run, panels: dict[str, str], title: str, path: Path) -> None:
    """Draw both runs: a panel for each figure, with training curves as lines and held-out figures as dots."""
    from matplotlib.figure import Figure

    columns = len(panels) // 2
    figure = Figure(figsize=(5.5 * max(columns, 1.5), 7), layout="constrained")
    figure.suptitle(in_plot(title))
    axes = figure.subplots(2, columns, sharex=True, squeeze=False)
    for (name, label), panel in zip(panels.items(), axes.T.flat, strict=True):
        scale = 100 if label.endswith("(%)") else 1
        for which, colour, whose in ((reference, "#969696", "reference"), (run, "#d94801", "this run")):
            for curves, style in ((which.training, "-"), (which.held_out, "o")):
                if (curve := curves.get(name)) is None:
                    continue
                values = [scale * value for value in curve.values]
                size = {"markersize": 5} if style == "o" else {"linewidth": 1.2}
                seen = whose + (", held out" if style == "o" else ", training")
                panel.plot(curve.steps, values, style, color=colour, label=seen, **size)
        panel.set_ylabel(label)
        panel.grid(alpha=0.25)
    for panel in axes[-1]:
        panel.set_xlabel("step")
    axes[0, 0].legend(fontsize=9)
    write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))
