"""The folder of a fine-tuning, which is locked, and which says that it is unfinished until everything is in it.

    FOLDER/unfinished/
        finetune.json       the options
        made-from.json      checksums of the examples and of the weights that the fine-tuning began with
        checkpoints/        see minibert/training/checkpoints.py and progress.py

The folder `unfinished` appears in one step, before anything else, and disappears in one step, after everything else.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.files import write_text
from minibert.base.folders import UNFINISHED, check_finished, is_leftover, is_unfinished, new_folder, remove_folder
from minibert.base.formats import FormatError, with_format, without_format
from minibert.objectives import TaskObjective
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.features import Feature
from minibert.training.checkpoints import list_checkpoints
from minibert.training.interrupts import Stopped
from minibert.training.runs import RUNS, discard, locked, new_run, sweep

MADE_FROM = "made-from.json"
COMPLETE = "config.json"  # the last file of a model that is written


@contextmanager
def open_folder(config: FinetuneConfig, made_from: dict[str, str]) -> Iterator[Path]:
    """A context manager: the locked folder of a new fine-tuning, or of the one to resume.

    made_from: name -> checksum of what the fine-tuning begins with.
    Raises FileExistsError when --out is not empty, FileNotFoundError when there is nothing to resume, ValueError when
    the options or what the fine-tuning began with are not those of the folder, RuntimeError when another process holds
    the lock.
    """
    if config.resume:
        folder = Path(config.out or "")
        check_resumable(config)
        with locked(folder):
            check_resumable(config)
            sweep(folder)
            sweep(folder / UNFINISHED)
            check_made_from(folder, made_from)
            yield folder
        return
    with new_run(config.out, Path(RUNS) / config.task, check_empty) as folder:
        sweep(folder)
        try:
            with new_folder(folder / UNFINISHED) as partial:
                config.save(partial)
                write_text(partial / MADE_FROM, json.dumps(with_format(made_from), indent=2) + "\n")
            yield folder
        except BaseException as error:
            if not is_worth_keeping(folder, error):
                discard(folder)
            raise


def check_empty(folder: Path) -> None:
    """Raise an error if the folder of a new fine-tuning is a file or holds anything but minibert's temporary files."""
    check_finished(folder)
    if folder.exists() and (not folder.is_dir() or not all(map(is_leftover, folder.iterdir()))):
        raise FileExistsError(f"--out {folder} is not an empty folder; choose a new or empty one")


def check_resumable(config: FinetuneConfig) -> None:
    """Raise FileNotFoundError or ValueError unless --out holds a fine-tuning of these options that has not ended."""
    folder = Path(config.out or "")
    if not is_unfinished(folder):
        if (folder / COMPLETE).is_file():
            raise ValueError(f"the fine-tuning in {folder} has ended, so there is nothing to resume")
        raise FileNotFoundError(f"{folder} holds no fine-tuning that could be resumed")
    config.check_same_as(FinetuneConfig(**FinetuneConfig.stored(folder / UNFINISHED)))


def check_made_from(folder: Path, made_from: dict[str, str]) -> None:
    """Raise ValueError if the fine-tuning in a folder began with something else."""
    path = folder / UNFINISHED / MADE_FROM
    try:
        stored = without_format(json.loads(path.read_text(encoding="utf-8")), path)
    except FormatError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}), so nothing can be resumed; start anew") from None
    for name, checksum in made_from.items():
        if stored.get(name) != checksum:
            raise ValueError(
                f"{folder} cannot be resumed: {name} are not those that it was started with; restore them, or start "
                "anew with another --out"
            )


def is_worth_keeping(folder: Path, error: BaseException) -> bool:
    """Whether a new fine-tuning that failed stays: if it was asked to stop, or if there is a checkpoint to resume from.

    One whose loss is NaN or infinite would fail again, and stays only if the model of an earlier seed is complete.
    """
    if isinstance(error, FloatingPointError):
        return (folder / COMPLETE).exists()
    return isinstance(error, Stopped) or bool(list_checkpoints(folder / UNFINISHED))


def finish(folder: Path) -> None:
    """Mark a fine-tuning as finished, and delete its checkpoints."""
    remove_folder(folder / UNFINISHED)


def how_to_resume(folder: Path) -> str:
    """The command that continues a fine-tuning."""
    return f"minibert finetune --out {shlex.quote(str(folder))} --resume"


def checksums(objective: TaskObjective, features: Sequence[Feature], truth: Iterable[Any]) -> dict[str, str]:
    """The SHA-256 of what a fine-tuning begins with, by name: the examples, and the weights of the models.

    truth: the correct answers of the dev examples, in any form that prints the same each time.
    """
    examples, weights = hashlib.sha256(), hashlib.sha256()
    for feature in features:
        for array in (*(array for pair in feature.sequences for array in pair), feature.rows, feature.labels):
            if array is not None:
                examples.update(f"{array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    examples.update("\n".join(map(repr, truth)).encode("utf-8", "surrogatepass"))
    for model in (objective.model, getattr(objective.model, "encoder", None), getattr(objective, "teacher", None)):
        if model is not None:
            weights.update(np.ascontiguousarray(model.backend.numpy(model.parameters.masters)).data)
    return {"the examples": examples.hexdigest(), "the pre-trained weights": weights.hexdigest()}
