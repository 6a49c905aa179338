"""The dropouts of one training step, for every layer and every kind of dropout."""

from dataclasses import dataclass

from minibert.nn.sequences import Sequences
from minibert.ops.dropout import ATTENTION_PROBABILITIES, Dropout, dropout_site


@dataclass(frozen=True)
class Dropouts:
    """All dropouts of one training step: their rates and the step's key.

    hidden      rate after the embeddings and after each sub-layer
    attention   rate on the attention probabilities
    key         (seed, step)
    """

    hidden: float
    attention: float
    key: tuple[int, int]

    def at(self, layer: int, which: int, rows: Sequences) -> Dropout | None:
        """The Dropout of one layer and kind, or None if its rate is 0.

        which: the kind, a constant of minibert.ops.dropout; rows: the Sequences of the input.
        """
        in_attention = which == ATTENTION_PROBABILITIES
        rate = self.attention if in_attention else self.hidden
        if rate == 0:
            return None
        sequences = rows.sequence_numbers if in_attention else rows.row_sequences
        return Dropout(rate, self.key, dropout_site(layer, which), sequences, rows.positions)


NO_DROPOUT = Dropouts(0.0, 0.0, (0, 0))  # for evaluation
