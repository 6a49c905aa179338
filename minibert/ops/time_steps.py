"""Group the tokens of ragged sequences by time step, for ops in any backend that process sequences token by token."""

from typing import Any

import numpy as np


def time_steps(cu_seqlens: Any, reverse: bool = False) -> list[np.ndarray]:
    """The row indices of each time step: the first tokens of all sequences, then the second tokens, and so on.

    cu_seqlens: integers [B + 1], with no empty sequence; reverse: go from each sequence's last token to its first.
    Returns T int64 arrays [alive], with the longest sequences first, so that the sequences that continue into the
    next step are at the front of this step's array.  Raises ValueError for an empty sequence.
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
