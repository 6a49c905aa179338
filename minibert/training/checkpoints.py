"""Checkpoints of training, each of which is complete or absent, whatever happens while it is written.

A checkpoint is a folder that is written under a temporary name, flushed to disk, and renamed at the end:

    checkpoints/step-00001000/
        model.safetensors        the parameters
        optimizer.safetensors    both moments of AdamW
        state.json               the step, the checksums of the other files, and in float16 the loss scale

and, in pre-training, the run's options in state.json; in fine-tuning, also

        best.safetensors         the parameters that scored best on the dev set so far
        progress.json            the seed, and the losses and scores of all seeds so far

There is no random-generator state to save, because random numbers are a function of (seed, step).
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.arrays import Array
from minibert.base.files import flush_to_disk, sha256_of
from minibert.base.folders import new_folder, remove_folder
from minibert.base.formats import FormatError, check_format, with_format
from minibert.base.numbers import is_count, is_number
from minibert.models.huggingface import read_tensors, save_tensors
from minibert.nn.parameters import Parameters
from minibert.training.optimizer import AdamW

FOLDER = "checkpoints"
STATE = "state.json"
FILES = ("model.safetensors", "optimizer.safetensors")
BEST, PROGRESS = "best.safetensors", "progress.json"
OPTIONS = "options"  # the name of the run's options in state.json
DELETE = "delete this folder to resume from the checkpoint before it, or from the beginning if there is none"


def save_checkpoint(
    run: Path,
    step: int,
    model: Any,
    optimizer: AdamW,
    keep: int,
    *,
    options: Mapping[str, Any] | None = None,
    others: Mapping[str, Callable[[Path], object]] | None = None,
) -> Path:
    """Write the checkpoint of step `step`, remove all but the newest `keep` checkpoints, and return the new folder.

    options: the run's options, to be stored in state.json; others: for BEST and PROGRESS, a function that writes the
    file and flushes it to disk.
    Raises OSError, for example if the disk is full; existing checkpoints are then left unchanged.
    """
    folder = run / FOLDER / folder_name(step)
    with new_folder(folder, replace=True) as partial:  # a run resumed from an earlier step writes this checkpoint again
        files = {"model.safetensors": model.parameters.tensors(model.parameters.masters)}
        files["optimizer.safetensors"] = {
            f"{moment}.{name}": tensor
            for moment in ("first_moment", "second_moment")
            for name, tensor in model.parameters.tensors(getattr(optimizer, moment)).items()
        }
        for name, tensors in files.items():
            save_tensors(partial / name, tensors)
        for name, write in (others or {}).items():
            write(partial / name)
        names = (*files, *(others or {}))
        state = with_format({"step": step, "sha256": {name: sha256_of(partial / name) for name in names}})
        if options is not None:
            state[OPTIONS] = dict(options)
        if optimizer.loss_scale is not None:
            state["loss_scale"] = optimizer.loss_scale.state()
        (partial / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        flush_to_disk(partial / STATE)
    for old in list_checkpoints(run)[:-keep]:
        remove_folder(old)
    return folder


def list_checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    folder = run / FOLDER
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"step-\d{8,}", path.name))


def load_checkpoint(folder: Path, model: Any, optimizer: AdamW) -> int:
    """Load a checkpoint into the model and the optimiser, and return the number of steps done.

    Raises ValueError when a file is missing, is damaged (the checksum differs) or belongs to another model.
    """
    state = read_state(folder)
    check_files(folder, state)
    fill(model.parameters, model.parameters.masters, read_tensors([folder / "model.safetensors"], DELETE), folder)
    model.parameters.round()
    moments = read_tensors([folder / "optimizer.safetensors"], DELETE)
    for moment in ("first_moment", "second_moment"):
        tensors = {
            name.removeprefix(f"{moment}."): tensor for name, tensor in moments.items() if name.startswith(moment)
        }
        fill(model.parameters, getattr(optimizer, moment), tensors, folder)
    if optimizer.loss_scale is not None:
        optimizer.loss_scale.restore(state.get("loss_scale", {}))
    return state["step"]


def read_state(folder: Path) -> dict[str, Any]:
    """The contents of a checkpoint's state.json.

    Raises ValueError when the file is missing or damaged or does not belong to the checkpoint, FormatError (a
    ValueError) when a later version has written it.
    """
    path = folder / STATE
    try:
        state = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_number)
        check_format(state, path)
    except FormatError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder, f"{STATE} cannot be read: {error}") from None
    step, checksums, scale = state.get("step"), state.get("sha256"), state.get("loss_scale", {})
    if not is_count(step) or folder.name != folder_name(step):
        raise damaged(folder, f"{STATE} has the step {step!r}, which is not that of the folder's name")
    if not isinstance(checksums, dict) or not {*FILES} <= {*checksums} <= {*FILES, BEST, PROGRESS}:
        raise damaged(folder, f"{STATE} does not have the checksums of {' and '.join(FILES)}")
    if not isinstance(scale, dict) or not is_scale(scale.get("value", 1.0)) or not is_count(scale.get("good_steps", 0)):
        raise damaged(folder, f"{STATE} has the loss scale {scale!r}; expected a value above 0 and a count of steps")
    if not isinstance(state.get(OPTIONS, {}), dict):
        raise damaged(folder, f"{STATE} has the options {state[OPTIONS]!r}; expected an object")
    return state


def check_files(folder: Path, state: Mapping[str, Any]) -> None:
    """Compare the files of a checkpoint with the checksums in its state.  Raises ValueError if one differs."""
    for name, expected in state["sha256"].items():
        if not (folder / name).is_file():
            raise damaged(folder, f"{name} is missing")
        if sha256_of(folder / name) != expected:
            raise damaged(folder, f"{name} does not match its checksum")


def no_number(name: str) -> float:
    """Raise ValueError for NaN and Infinity, which Python's JSON reader would accept."""
    raise ValueError(f"{name} is not a JSON number")


def is_scale(value: Any) -> bool:
    return is_number(value) and value > 0


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def damaged(folder: Path, what: str) -> ValueError:
    return ValueError(f"checkpoint {folder} is damaged: {what}; {DELETE}")


def fill(parameters: Parameters, flat: Array, tensors: dict[str, np.ndarray], folder: Path) -> None:
    """Copy tensors into a flat buffer [P].  Raises ValueError if one is missing or has another shape."""
    for parameter, span in parameters.spans():
        tensor = tensors.get(parameter.name)
        if tensor is None or tensor.shape != parameter.shape:
            raise ValueError(
                f"checkpoint {folder} is of a different model: {parameter.name} is missing or has a different shape"
            )
        flat[span] = parameters.backend.array(tensor.reshape(-1), dtype=parameters.master_dtype)
