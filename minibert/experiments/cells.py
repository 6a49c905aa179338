"""A cell of an experiment: one run of `minibert pretrain` or `minibert finetune`, and its result as a JSON file.

A cell is named by its options, so that experiments share cells, and a result is never taken for that of other options.
Results are small and made to be kept; the models themselves are in a work folder, and are trained again if it is gone.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from minibert.base.arguments import flag_of
from minibert.base.files import write_file, write_text
from minibert.base.folders import new_folder
from minibert.base.formats import FormatError, with_format, without_format
from minibert.training.checkpoints import FOLDER, folder_name
from minibert.training.metrics import read_metrics

PRETRAIN, FINETUNE = "pretrain", "finetune"
REFERENCE = "cell:"  # an option's value "cell:KEY" stands for the folder of that cell's model


@dataclass(frozen=True)
class Cell:
    """One run.

    command   PRETRAIN or FINETUNE
    options   pairs (field of the command's options, value), sorted; a value may refer to the model of another cell
    """

    command: str
    options: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, command: str, **options: Any) -> "Cell":
        return cls(command, tuple(sorted(options.items())))

    @cached_property
    def key(self) -> str:
        """The cell's name: readable, with a hash of all options."""
        values = dict(self.options)
        text = json.dumps([self.command, self.options], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        if self.command == PRETRAIN:
            what = [values.get("model", "bert"), values.get("size", "tiny")]
        else:
            source = values["run"].removeprefix(REFERENCE).split("-")
            what = [*source[:2], values["task"]]
        return "-".join([*what, f"seed{values.get('seed', 0)}", digest])

    @property
    def sources(self) -> list[str]:
        """The keys of the cells whose models this run starts from."""
        found = [value for _, value in self.options if isinstance(value, str) and value.startswith(REFERENCE)]
        return sorted({value.removeprefix(REFERENCE).partition("@")[0] for value in found})

    def words(self, work: Path) -> Iterator[str]:
        """The command line, without the words that say where and how it runs; work: the folder of the models."""
        yield self.command
        positional = [value for name, value in self.options if name == "run"]
        yield from (str(folder_of(value, work)) for value in positional)
        for name, value in self.options:
            option = flag_of(name)
            if name == "run":
                continue
            if isinstance(value, bool):
                yield option if value else option.replace("--", "--no-", 1)
            elif isinstance(value, tuple | list):
                yield option
                yield from map(str, value)
            elif isinstance(value, str) and value.startswith(REFERENCE):
                yield from (option, str(folder_of(value, work)))
            else:
                yield from (option, str(value))


def reference(key: str, step: int | None = None) -> str:
    """The value of an option that stands for the model of a cell, as it was after a step (None: at the end)."""
    return f"{REFERENCE}{key}" + ("" if step is None else f"@{step}")


def folder_of(value: str, work: Path) -> Path:
    """The folder of the model that a reference names."""
    return work / value.removeprefix(REFERENCE)


def make_models(cell: Cell, work: Path) -> None:
    """Make the folders of models after a step that a cell refers to, from the checkpoints of their runs.

    Raises FileNotFoundError if a run has no checkpoint of that step.
    """
    for _, value in cell.options:
        if not isinstance(value, str) or not value.startswith(REFERENCE) or "@" not in value:
            continue
        key, _, step = value.removeprefix(REFERENCE).partition("@")
        folder = folder_of(value, work)
        if (folder / "model.safetensors").exists():
            continue
        source = work / key / FOLDER / folder_name(int(step)) / "model.safetensors"
        if not source.exists():
            raise FileNotFoundError(f"{source} does not exist; delete {work / key} to train that run again")
        with new_folder(folder, replace=True) as partial:
            for name in ("config.json", "vocab.txt", "tokenizer_config.json", "pretrain.json"):
                copy_file(work / key / name, partial / name)
            copy_file(source, partial / "model.safetensors")


def copy_file(source: Path, target: Path) -> None:
    write_file(target, lambda temporary: shutil.copyfile(source, temporary))


@dataclass(frozen=True)
class Store:
    """The results of cells, as OUT/cells/KEY.json; each is read once."""

    folder: Path
    read: dict[str, dict[str, float]] = field(default_factory=dict)

    def path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.key}.json"

    def figures(self, cell: Cell) -> dict[str, float] | None:
        """The result of a cell, or None if there is none yet.  Raises ValueError if the file is damaged."""
        path = self.path(cell)
        if cell.key in self.read:
            return self.read[cell.key]
        if not path.is_file():
            return None
        try:
            figures = without_format(json.loads(path.read_text(encoding="utf-8")), path, {})["figures"]
            self.read[cell.key] = dict(figures)
            return self.read[cell.key]
        except FormatError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it to run this cell again") from None

    def add(self, cell: Cell, figures: dict[str, float], **facts: Any) -> None:
        """Keep the result of a cell; facts: where, when and how it was measured."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = " ".join(["minibert", *cell.words(Path("WORK"))])
        values = with_format({"command": command, "figures": figures, **facts})
        write_text(self.path(cell), json.dumps(values, indent=1) + "\n")


def figures_of_run(run: Path) -> dict[str, float]:
    """The figures of a finished pre-training run: those of its last evaluation, the parameters, the tokens per second.

    The speed is the median over the steps, as the run recorded it.  Raises OSError or ValueError for a run without
    evaluations.
    """
    records = read_metrics(run)
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    if not evaluations:
        raise ValueError(f"{run} has no evaluation")
    speeds = sorted(record["tokens_per_second"] for record in records if record["kind"] == "train")
    figures = {name: value for name, value in evaluations[-1].items() if name not in ("kind", "step")}
    return figures | {"tokens_per_second": speeds[len(speeds) // 2], "parameters": parameters_in(run)}


def parameters_in(run: Path) -> int:
    """The number of parameters in a model's folder."""
    from safetensors import safe_open

    with safe_open(run / "model.safetensors", framework="numpy") as file:
        count = 0
        for name in file.keys():
            size = 1
            for length in file.get_slice(name).get_shape():
                size *= length
            count += size
    return count


def figures_of_task(folder: Path) -> dict[str, float]:
    """The scores of a fine-tuned model."""
    return dict(json.loads((folder / "task.json").read_text(encoding="utf-8"))["scores"])
