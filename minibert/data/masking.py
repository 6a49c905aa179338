"""Masking: hide some tokens of a batch, which the model learns to predict from the context on both sides.

Devlin et al. 2019, section 3.1: 15 % of the word pieces are chosen to be predicted.  Of these,

    80 %   become [MASK],
    10 %   become a random piece,
    10 %   stay as they are.

[MASK] never occurs in fine-tuning.  The random and the unchanged pieces keep the model from relying on [MASK]:
the model must predict from context at *every* position, as it cannot know which of the pieces it sees are original.

The authors' release draws ten masked versions of the corpus in advance, each with round(15 %) of a sequence's
pieces.  Here a coin is tossed for every piece, at every step.  The coin is a function of (seed, step, number
of the sequence in the global batch, position in the sequence), so the outcome does not depend on how the batch
is split among micro-batches or processes.
"""

from dataclasses import dataclass

import numpy as np

from minibert.base.philox import SITE_MASKING, happens, integer_below, philox4x32
from minibert.text import Tokenizer

MASKED_AS = (0.8, 0.1, 0.1)  # shares of the chosen tokens that become [MASK], stay unchanged, become a random piece


@dataclass(frozen=True)
class Masking:
    """How tokens are chosen, and what they become.  Raises ValueError for numbers out of range."""

    rate: float = 0.15
    """The probability that an ordinary token is chosen."""
    whole_word: bool = False
    """Whether to choose the pieces of a word together."""
    masked_as: tuple[float, ...] = MASKED_AS
    """The shares of the chosen tokens that become [MASK], stay unchanged, and become a random piece."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"mask_rate must be at least 0 and at most 1, got {self.rate}")
        shares = self.masked_as
        if len(shares) != 3 or not all(share >= 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            given = " ".join(f"{share:g}" for share in shares)
            raise ValueError(
                "masked_as must be three shares that sum to 1, those that become [MASK], stay unchanged, and become "
                f"random, got {given}"
            )


@dataclass(frozen=True, eq=False)
class MaskingIds:
    """The properties of a vocabulary of V pieces that masking needs."""

    mask_id: int
    special: np.ndarray
    """bool [V], True for [CLS], [SEP], [PAD], [UNK], [MASK]: never chosen, and never used as a replacement."""
    continuation: np.ndarray
    """bool [V], True for pieces that continue a word (##ing)."""
    ordinary: np.ndarray
    """int32 [V - specials], all other ids, from which random tokens are drawn."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "MaskingIds":
        """The MaskingIds of a tokenizer, from its mask_id, special_ids, continuation and length."""
        special = np.zeros(len(tokenizer), bool)
        special[list(tokenizer.special_ids)] = True
        if special.all():
            raise ValueError("the vocabulary contains only special tokens, so there is nothing to mask")
        continuation = np.asarray(tokenizer.continuation, bool)
        return cls(tokenizer.mask_id, special, continuation, np.flatnonzero(~special).astype(np.int32))


def mask_tokens(
    token_ids: np.ndarray,
    cu_seqlens: np.ndarray,
    sequence_numbers: np.ndarray,
    ids: MaskingIds,
    seed: int,
    step: int,
    *,
    masking: "Masking | None" = None,
    stream: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose tokens to predict and hide them.

    token_ids int32 [N], cu_seqlens int32 [B + 1], sequence_numbers int64 [B] as in Batch; ids: MaskingIds;
    masking: a Masking, by default the paper's;
    stream: 0 for training, 1 for evaluation, so that evaluation never uses the masks of a training step.
    Returns hidden_ids int32 [N], masked_positions int32 [M] ascending, masked_labels int32 [M].
    """
    lengths = np.diff(cu_seqlens)
    position = np.arange(len(token_ids)) - np.repeat(cu_seqlens[:-1], lengths)  # [N], within the sequence
    sequence = np.repeat(sequence_numbers, lengths)  # [N]
    choice, action, replacement, _ = philox4x32((seed, step), (position, sequence, stream, SITE_MASKING))

    masking = masking or Masking()
    if masking.whole_word:
        choice = choice[first_pieces(token_ids, ids)]
    chosen = happens(choice, masking.rate) & ~ids.special[token_ids]  # [N]
    masked_positions = np.flatnonzero(chosen).astype(np.int32)  # [M]
    masked_labels = token_ids[masked_positions]  # [M]

    action = action[masked_positions]  # [M]
    random_ids = ids.ordinary[integer_below(replacement[masked_positions], len(ids.ordinary))]  # [M]
    mask_share, _, random_share = masking.masked_as
    becomes_mask = happens(action, mask_share)
    becomes_random = happens(action, mask_share + random_share) & ~becomes_mask
    hidden_ids = token_ids.copy()
    hidden_ids[masked_positions] = np.select(
        [becomes_mask, becomes_random], [np.int32(ids.mask_id), random_ids], masked_labels
    )
    return hidden_ids, masked_positions, masked_labels


def first_pieces(token_ids: np.ndarray, ids: MaskingIds) -> np.ndarray:
    """The index, int64 [N], of the first piece of each token's word.

    A word starts at each piece without ##, and after a special token, because a window may begin inside a word.
    With whole-word masking all pieces share the first piece's coin, so they are chosen together or not at all.
    What each piece becomes is still drawn separately, as in the authors' release.
    """
    starts = ~ids.continuation[token_ids]
    starts[0] = True
    starts[1:] |= ids.special[token_ids[:-1]]
    return np.maximum.accumulate(np.where(starts, np.arange(len(token_ids)), 0))
