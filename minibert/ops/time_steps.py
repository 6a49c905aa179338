"""Ragged sequences by time step, for ops that process them token by token.  Shared by all backends."""

from typing import Any

import numpy as np


def time_steps(cu_seqlens: Any, reverse: bool = False) -> list[np.ndarray]:
    """The rows of each time step: the first tokens of all sequences, then the second ones, and so on.

    cu_seqlens integers [B + 1], no sequence empty; reverse: from each sequence's last token to its first.
    Returns T arrays int64 [alive]: the longest sequences come first, so that those that continue in the next step are
    the first ones of this step.  Raises ValueError for an empty sequence.
    """
    cu_seqlens = np.asarray(cu_seqlens).astype(np.int64)
    lengths = np.diff(cu_seqlens)  # [B]
    if not len(lengths) or lengths.min() < 1:
        raise ValueError("a sequence has no tokens; remove it from the batch")
    order = np.argsort(-lengths, kind="stable")  # the longest first
    starts, lengths = (cu_seqlens[1:] - 1 if reverse else cu_seqlens[:-1])[order], lengths[order]
    direction = -1 if reverse else 1
    alive = [int(np.count_nonzero(lengths > step)) for step in range(lengths[0])]
    return [starts[:count] + direction * step for step, count in enumerate(alive)]
