"""`minibert experiment`: rerun a comparison from the papers, as a table and a picture."""

import dataclasses
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from minibert.base.arguments import Argument
from minibert.base.cores import usable_cores
from minibert.base.files import write_text
from minibert.base.folders import make_folder
from minibert.base.formats import FormatError, with_format, without_format
from minibert.base.progress import require, say
from minibert.experiments.catalogue import EXPERIMENTS, Speeds
from minibert.experiments.cells import Store
from minibert.experiments.plan import POINTS, TASKS, Budget, Plan
from minibert.experiments.report import Table
from minibert.experiments.runner import Runner, circumstances
from minibert.experiments.speeds import Speed
from minibert.tasks.registry import task_info
from minibert.training.interrupts import StopRequest
from minibert.training.runs import locked

CONFIGURATION = "experiment.json"


@dataclass(frozen=True)
class ExperimentConfig:
    """Rerun a comparison from the papers on this machine: a table with means and deviations over seeds, and a picture.

    The experiments: rates, bidirectionality, features, masking, size, steps, distillation, parallelism.
    Each cell of a table is a run of minibert pretrain or finetune, and is kept as a small file.  A call that is stopped
    is continued by the same command, also on another machine; experiments share the cells that they have in common.
    """

    names: Annotated[tuple[str, ...], Argument(metavar="NAME ...", default="(default: all)", positional=True)] = ()
    """The experiments to run."""
    out: str = "experiments"
    """Folder for tables, pictures and the cells' results."""
    work: Annotated[str | None, Argument(metavar="DIR", default="(default: OUT/work)")] = None
    """Folder for the models, which can be deleted afterwards."""
    steps: int = 5000
    """Steps of pre-training, the same for all rows."""
    seeds: int = 3
    """Number of seeds."""
    tasks: tuple[str, ...] = TASKS
    """Tasks to fine-tune on."""
    jobs: Annotated[int | None, Argument(default="(default: one per available core)")] = None
    """Number of cells to run at the same time."""
    minutes: float | None = None
    """Start no cell after this many minutes."""
    gpu: bool = False
    """Run on the GPU, one cell at a time."""
    list: bool = False
    """Show how many cells are missing, and run nothing."""
    tables: bool = False
    """Write the tables and pictures of the results that are there, and run nothing."""

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in EXPERIMENTS:
                raise ValueError(f"unknown experiment {name!r}; choose from {', '.join(EXPERIMENTS)}")
        for name in ("steps", "seeds", "jobs"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}; expected at least 1")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"--minutes is {self.minutes}; expected more than 0")
        if self.steps < POINTS:
            raise ValueError(
                f"--steps is {self.steps}; expected at least {POINTS}, the number of models kept of each run"
            )
        if unknown := [task for task in self.tasks if task not in TASKS]:
            raise ValueError(f"unknown task {unknown[0]!r}; choose from {', '.join(TASKS)}")
        given = {task_info(task).kind for task in self.tasks}
        for name in self.names or EXPERIMENTS:
            if not self.tasks or not given.issuperset(EXPERIMENTS[name].kinds):
                kinds = " and ".join(EXPERIMENTS[name].kinds) or "any kind"
                raise ValueError(f"--tasks: the experiment {name} needs a task of {kinds}")

    @property
    def runs(self) -> bool:
        """Whether cells are run."""
        return not self.list and not self.tables

    @property
    def budget(self) -> Budget:
        return Budget(self.steps, self.seeds, self.tasks, self.gpu)


def experiment(config: ExperimentConfig) -> int:
    """Run the cells that are missing, and write the tables; returns 0, or 1 if cells are still missing at the end.

    Raises ValueError if the folder belongs to an experiment with other settings, RuntimeError if a cell fails or
    another process runs experiments in the folder.
    """
    require("experiment", "safetensors", "matplotlib", "tqdm", "filelock")
    out = Path(config.out)
    check_configuration(out, config)
    if config.list:
        return run_experiments(config, out)
    if config.runs:
        make_folder(out)
    with locked(out):
        check_configuration(out, config)
        return run_experiments(config, out)


def run_experiments(config: ExperimentConfig, out: Path) -> int:
    """Run the experiments in the folder `out`, which is locked unless they are only listed; returns the exit code."""
    store = Store(out / "cells")
    jobs = 1 if config.gpu else config.jobs or usable_cores()
    threads = max(usable_cores() // jobs, 1)
    runner = Runner(store, Path(config.work) if config.work else out / "work", jobs, threads, config.minutes)
    complete = True
    for name in config.names or EXPERIMENTS:
        say("experiment", f"{name}: {EXPERIMENTS[name].question}")
        if config.runs:
            write_configuration(out, config)
        text = ""
        if make_table := EXPERIMENTS[name].table:

            def plan(make_table: Callable[[Plan], Table] = make_table) -> Plan:
                return planned(make_table, store, config)[0]

            if config.runs:
                make_folder(runner.work)
                apart = runner.work.resolve() != out.resolve()  # experiments in several folders may share the models
                with StopRequest("the same command"), locked(runner.work) if apart else nullcontext():
                    runner.run(plan)
            plan_at_end, table = planned(make_table, store, config)
            complete &= table.is_complete
            text = report(name, plan_at_end, table, out, write=not config.list)
        if measures := EXPERIMENTS[name].speeds:
            speeds = speeds_of(name, measures, config, out)
            complete &= speeds is not None
            text += report_speeds(name, measures, speeds, out, write=not config.list)
        if not config.list:
            print(text)
            write_text(out / f"{name}.md", text)
            say("table", f"{out / name}.md, picture {out / name}.png")
    return 0 if complete else 1


def planned(make_table: Callable[[Plan], Table], store: Store, config: ExperimentConfig) -> tuple[Plan, Table]:
    """A plan that has been asked for all cells of an experiment, and the table with the results so far."""
    plan = Plan(store, config.budget)
    return plan, make_table(plan)


def report(name: str, plan: Plan, table: Table, out: Path, write: bool) -> str:
    """Say how many cells are missing, draw the picture, and return the table's text."""
    if missing := len(plan.missing):
        say("missing", f"{missing} of at least {len(plan.requested)} cells; the same command continues")
    if write:
        table.draw(out / f"{name}.png", f"{EXPERIMENTS[name].question} ({EXPERIMENTS[name].source})")
    return table.markdown()


def report_speeds(name: str, measures: Speeds, speeds: list[Speed] | None, out: Path, write: bool) -> str:
    """Say whether the speeds were measured, draw their picture, and return their table's text."""
    if speeds is None:
        say("missing", "the speeds; the same command continues")
        return ""
    if write and measures.draw:
        measures.draw(speeds, out / f"{name}.png")
    return ("\nSpeeds:\n\n" if EXPERIMENTS[name].table else "") + measures.markdown(speeds)


def speeds_of(name: str, measures: Speeds, config: ExperimentConfig, out: Path) -> list[Speed] | None:
    """The speeds of an experiment, measured unless that was done already; None if they are only to be listed.

    Raises ValueError if the stored ones are damaged.
    """
    path = out / f"{name}-speeds.json"
    if not path.exists():
        if not config.runs:
            return None
        speeds = measures.measure("gpu" if config.gpu else "cpu")
        values = {"speeds": [dataclasses.asdict(speed) for speed in speeds], **circumstances(usable_cores())}
        write_text(path, json.dumps(with_format(values), indent=1) + "\n")
        return speeds
    try:
        stored = without_format(json.loads(path.read_text(encoding="utf-8")), path, {})["speeds"]
        return [Speed(**speed) for speed in stored]
    except FormatError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to measure again") from None


def settings_of(config: ExperimentConfig) -> dict[str, Any]:
    """What all cells of a folder have in common."""
    return {"steps": config.steps, "seeds": config.seeds, "tasks": list(config.tasks), "gpu": config.gpu}


def check_configuration(out: Path, config: ExperimentConfig) -> None:
    """Raise ValueError if the folder belongs to experiments with other settings."""
    path = out / CONFIGURATION
    if not path.is_file():
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file; choose a folder")
        return
    try:
        stored = without_format(json.loads(path.read_text(encoding="utf-8")), path, {})
        differing = {name: stored[name] for name, value in settings_of(config).items() if stored[name] != value}
    except FormatError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); choose another --out") from None
    for name, value in differing.items():
        given = " ".join(map(str, value)) if isinstance(value, list) else value
        raise ValueError(
            f"{out} holds experiments with --{name} {given}; give the same option to continue, or another --out"
        )


def write_configuration(out: Path, config: ExperimentConfig) -> None:
    write_text(out / CONFIGURATION, json.dumps(with_format(settings_of(config)), indent=1) + "\n")
