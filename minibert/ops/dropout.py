"""Which random bits decide what is dropped.  Shared by all backends, so that the same seed drops the same values.

Random bits are counter-based: whether a value is kept is a pure function of the key (seed, step) and of *where*
the value is: the site (layer, head, which dropout), the number of its sequence in the global batch, its
position in the sequence, and its feature (in attention: the key's position).  So a mask does not depend on how a
batch is split, packed or cut, and the backward pass recomputes it instead of loading it.

Philox returns 128 bits per call and a decision takes sixteen, so one call decides on eight neighbouring features:

    counter = (feature // 8, position, sequence, site)      key = (seed, step)
    decision j of the eight: bits 16 * (j % 2) .. of word j // 2
"""

from dataclasses import dataclass
from typing import Any

STEPS_OF_RATE = 1 << 16  # sixteen bits per decision: rates are multiples of 2**-16

# The third part of a site: which of a layer's dropouts.  Sites stay below 2**31; higher ones belong to `data`.
EMBEDDINGS, ATTENTION_PROBABILITIES, ATTENTION_OUTPUT, FEED_FORWARD_OUTPUT, TASK_HEAD = range(5)


MOST_LAYERS, MOST_HEADS = 1 << 15, 1 << 8  # that fit into a site


def dropout_site(layer: int, which: int) -> int:
    """The site of one dropout; attention adds the head's number to it.  Raises ValueError for a layer out of range."""
    if not 0 <= layer < MOST_LAYERS:
        raise ValueError(f"layer {layer} is beyond the {MOST_LAYERS} layers that dropout supports")
    return (layer << 16) | (which << 8)


@dataclass(frozen=True)
class Dropout:
    """One dropout of one step.

    rate        the share of values to drop, 0 <= rate < 1
    key         (seed, step)
    site        see `dropout_site`
    sequences   int32 [rows], in attention [B]: number of each row's sequence in the global batch
    positions   int32 [rows]: position of each row in its sequence (in attention: of each query)
    """

    rate: float
    key: tuple[int, int]
    site: int
    sequences: Any
    positions: Any

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"dropout rate is {self.rate}; expected 0 <= rate < 1")

    @property
    def threshold(self) -> int:
        """A value is kept if its sixteen bits, read as an unsigned integer, are at least this."""
        return min(round(self.rate * STEPS_OF_RATE), STEPS_OF_RATE - 1)

    @property
    def scale(self) -> float:
        """The factor for kept values, which preserves the expectation."""
        return STEPS_OF_RATE / (STEPS_OF_RATE - self.threshold)
