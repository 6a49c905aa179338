"""How dropout masks are derived from random bits, in the same way for all backends, so that a seed fixes the masks.

Random bits are counter-based: whether a value is kept is a pure function of the key (seed, step) and of *where*
the value is: its site (the layer, the head, and which of the layer's dropouts), the index of its sequence in the
global batch, its position in that sequence, and its feature index (in attention, the position of the key).  So a mask
does not depend on how a batch is split or packed, and the backward pass recomputes it instead of loading it.

Philox returns 128 bits per call and a decision takes sixteen, so one call decides on eight adjacent features:

    counter = (feature // 8, position, sequence, site)      key = (seed, step)
    decision j of the eight uses bits 16 * (j % 2) to 16 * (j % 2) + 15 of word j // 2
"""

from dataclasses import dataclass
from typing import Any

STEPS_OF_RATE = 1 << 16  # sixteen bits per decision: rates are multiples of 2**-16

# The part of a site that says which of a layer's dropouts it is.  These sites are below 2**31; higher ones are used
# by minibert's `data` package.
EMBEDDINGS, ATTENTION_PROBABILITIES, ATTENTION_OUTPUT, FEED_FORWARD_OUTPUT, TASK_HEAD = range(5)


MOST_LAYERS, MOST_HEADS = 1 << 15, 1 << 8  # the most layers and heads that a site can encode


def dropout_site(layer: int, which: int) -> int:
    """The site number of one dropout, to which attention adds the head's index.

    Raises ValueError for a layer out of range.
    """
    if not 0 <= layer < MOST_LAYERS:
        raise ValueError(f"layer {layer} is beyond the {MOST_LAYERS} layers that dropout supports")
    return (layer << 16) | (which << 8)


@dataclass(frozen=True)
class Dropout:
    """The parameters of one dropout in one training step.

    rate        the probability of dropping a value, 0 <= rate < 1
    key         (seed, step)
    site        see `dropout_site`
    sequences   int32 [rows]: the index of each row's sequence in the global batch (in attention, int32 [B]: the index
                of each sequence)
    positions   int32 [rows]: the position of each row in its sequence (in attention, of each query)
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
        """The threshold for keeping a value: its sixteen bits, read as an unsigned integer, must be at least this."""
        return min(round(self.rate * STEPS_OF_RATE), STEPS_OF_RATE - 1)

    @property
    def scale(self) -> float:
        """The factor by which kept values are multiplied, so that the expectation is preserved."""
        return STEPS_OF_RATE / (STEPS_OF_RATE - self.threshold)
