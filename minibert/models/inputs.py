"""A batch as a model takes it: its integers on the device, and where the rows that are read stand.

All of it is worked out on the host and copied at once, so that a GPU need not wait for it: the next batch is prepared
while the device still computes.
"""

from typing import Any, NamedTuple

import numpy as np

from minibert.data.batch import Batch
from minibert.nn import Sequences
from minibert.nn.sequences import layout


class BodyInputs(NamedTuple):
    """What embeddings and encoder take; arrays of the backend, int32."""

    token_ids: Any
    """[N]"""
    position_ids: Any
    """[N]"""
    segment_ids: Any
    """[N]"""
    tokens: Sequences
    """the layout of all tokens"""
    rows: Any
    """[R], the places of the tokens whose output is read; None for all"""
    chosen: Sequences | None
    """the layout of those; None for all"""


def body_arrays(batch: Batch, rows=None) -> list[np.ndarray]:
    """The arrays of a BodyInputs, on the host.

    rows: None, or ascending places [R] in the flat batch.  Raises ValueError when they are not ascending, or outside.
    """
    numbers = batch.cu_seqlens, batch.sequence_numbers
    arrays = [batch.token_ids, batch.position_ids, batch.segment_ids]
    arrays += layout(np.arange(len(batch.token_ids)), *numbers)
    if rows is not None:
        arrays += [np.asarray(rows, dtype=np.int32), *layout(rows, *numbers)]
    return arrays


def body_inputs(arrays) -> BodyInputs:
    """The BodyInputs of the arrays of `body_arrays`, once they are the backend's."""
    cut = len(arrays) > 7
    return BodyInputs(
        *arrays[:3],
        tokens=Sequences(*arrays[3:7]),
        rows=arrays[7] if cut else None,
        chosen=Sequences(*arrays[8:]) if cut else None,
    )
