"""A batch as a model takes it: its integers on the device, and the indices of the rows whose output is read.

All arrays are computed on the host and copied in one transfer.  The next batch is prepared while the device is still
computing, so a GPU need not wait.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minibert.data.batch import Batch
from minibert.nn import Sequences
from minibert.nn.sequences import layout
from minibert.ops.backend import Backend

OF_TOKENS, OF_ROWS = "tokens", "chosen"  # two layouts: one of all tokens, one of the rows that are read


class BodyInputs(NamedTuple):
    """The inputs of embeddings and encoder, as int32 arrays of the backend."""

    token_ids: Any
    """[N]"""
    position_ids: Any
    """[N]"""
    segment_ids: Any
    """[N]"""
    tokens: Sequences
    """the layout of all tokens"""
    rows: Any
    """[R], the indices of the tokens whose output is read; None for all"""
    chosen: Any
    """the layout of these rows, or None for all tokens"""


class Prepared(NamedTuple):
    """A batch on the device."""

    inputs: Any
    """the inputs of the model's `forward`"""
    targets: dict[str, Any]
    """the targets: the arrays that an objective passed to the model's `prepare`, now on the backend"""
    release: Callable[[], None]
    """to be called after the backward pass, so that another batch can reuse the memory of all these arrays"""


def upload(backend: Backend, arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], Callable[[], None]]:
    """Copy int32 arrays to the backend in one transfer; return them by name, and a function that releases them."""
    uploaded = backend.upload(list(arrays.values()))
    return dict(zip(arrays, uploaded.arrays, strict=True)), uploaded.release


def body_arrays(batch: Batch, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The arrays of a BodyInputs, on the host.

    rows: None, or ascending indices [R] into the flat batch.  Raises ValueError for any other indices.
    """
    sequences = batch.cu_seqlens, batch.sequence_numbers
    arrays = {"token_ids": batch.token_ids, "position_ids": batch.position_ids, "segment_ids": batch.segment_ids}
    arrays |= layout_arrays(OF_TOKENS, layout(np.arange(len(batch.token_ids)), *sequences))
    if rows is not None:
        arrays["rows"] = np.asarray(rows, dtype=np.int32)
        arrays |= layout_arrays(OF_ROWS, layout(rows, *sequences))
    return arrays


def layout_arrays(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.{field}": array for field, array in zip(Sequences.FIELDS, arrays, strict=True)}


def body_inputs(arrays: dict[str, Any]) -> BodyInputs:
    """Make a BodyInputs from the arrays of `body_arrays`, once they are on the backend."""

    def sequences(name: str) -> Sequences:
        return Sequences(*(arrays[f"{name}.{field}"] for field in Sequences.FIELDS))

    cut = "rows" in arrays
    return BodyInputs(
        arrays["token_ids"],
        arrays["position_ids"],
        arrays["segment_ids"],
        tokens=sequences(OF_TOKENS),
        rows=arrays["rows"] if cut else None,
        chosen=sequences(OF_ROWS) if cut else None,
    )
