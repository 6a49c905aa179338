"""Checkpoints of training, each of which is complete or absent, whatever happens while it is written.

A checkpoint is a folder that is written under a temporary name, flushed to disk, and renamed at the end:

    checkpoints/step-00001000/
        model.safetensors        the parameters
        optimizer.safetensors    both moments of AdamW
        state.json               the step, the checksums of the other two files, and in float16 the loss scale

There is no random-generator state to save, because random numbers are a function of (seed, step).
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.arrays import Array
from minibert.base.files import flush_to_disk, sha256_of
from minibert.base.folders import new_folder, remove_folder
from minibert.base.formats import check_format, with_format
from minibert.models.huggingface import read_tensors, save_tensors
from minibert.nn.parameters import Parameters
from minibert.training.optimizer import AdamW

FOLDER = "checkpoints"
FILES = ("model.safetensors", "optimizer.safetensors")
DELETE = "delete this folder to resume from the previous checkpoint"


def save_checkpoint(run: Path, step: int, model: Any, optimizer: AdamW, keep: int) -> Path:
    """Write the checkpoint of step `step`, remove all but the newest `keep` checkpoints, and return the new folder.

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
        state = with_format({"step": step, "sha256": {name: sha256_of(partial / name) for name in files}})
        if optimizer.loss_scale is not None:
            state["loss_scale"] = optimizer.loss_scale.state()
        (partial / "state.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        flush_to_disk(partial / "state.json")
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
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        step, checksums = int(state["step"]), dict(state["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(folder, f"state.json cannot be read: {error}") from None
    check_format(state, folder / "state.json")
    if folder.name != folder_name(step) or set(checksums) != set(FILES):
        raise damaged(folder, "state.json does not match the checkpoint")
    for name, expected in checksums.items():
        if not (folder / name).is_file():
            raise damaged(folder, f"{name} is missing")
        if sha256_of(folder / name) != expected:
            raise damaged(folder, f"{name} does not match its checksum")
    tensors = read_tensors([folder / "model.safetensors"], DELETE)
    fill(model.parameters, model.parameters.masters, tensors, folder)
    model.parameters.round()
    moments = read_tensors([folder / "optimizer.safetensors"], DELETE)
    for moment in ("first_moment", "second_moment"):
        tensors = {
            name.removeprefix(f"{moment}."): tensor for name, tensor in moments.items() if name.startswith(moment)
        }
        fill(model.parameters, getattr(optimizer, moment), tensors, folder)
    if optimizer.loss_scale is not None:
        try:
            optimizer.loss_scale.restore(state.get("loss_scale", {}))
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise damaged(folder, f"state.json: the loss scale: {error}") from None
    return step


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
