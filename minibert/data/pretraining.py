"""Pre-training batches: (seed, step) -> MaskedBatch.

There is no iterator, no shuffle buffer and no worker process: a batch is computed from its step alone.  A run can
therefore resume at any step at once, and each of several processes computes its own part of the same global batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minibert.base.philox import SITE_POSITION, integer_below, philox4x32
from minibert.data.batch import Batch, running_sum
from minibert.data.documents import DocumentSet
from minibert.data.examples import Windows, in_epoch_order
from minibert.data.masked_batch import MaskedBatch
from minibert.data.masking import Masking, MaskingIds, mask_tokens
from minibert.data.pairs import Pairs
from minibert.data.shards import Shards
from minibert.text import Tokenizer

TRAINING, EVALUATION = 0, 1  # streams (even and odd), which never share random decisions
EVALUATION_SEED = 0


@dataclass(frozen=True)
class LengthPhase:
    """A part of the training in which all sequences have the same maximum length."""

    length: int
    """The number of tokens in the longest sequences, including [CLS] and [SEP]."""
    share: float
    """Share of all training steps, 0 to 1."""
    mask_rate: float | None = None
    """Share of the tokens to predict in this phase, or None for the rate of the whole training."""


def parse_phases(text: str) -> list[LengthPhase]:
    """Parse phases such as "8:0.1:0.4 16:0.2 128:0.7", each length:share of steps, optionally with :mask_rate."""
    phases = []
    for item in text.replace(",", " ").split():
        length, *shares = item.split(":")
        try:
            phases.append(LengthPhase(int(length), *map(float, shares or ["1"])))
        except (ValueError, TypeError):
            raise ValueError(
                f"{item!r} is not length:share or length:share:mask_rate; give lengths like 8:0.1:0.4 16:0.2 128:0.7"
            ) from None
    return check_phases(phases)


def check_phases(phases: Sequence[LengthPhase]) -> list[LengthPhase]:
    """The phases as a list.  Raises ValueError if there are none, or if a share or a mask rate is invalid."""
    for phase in phases:
        if phase.mask_rate is not None and not 0 < phase.mask_rate <= 1:
            raise ValueError(f"mask_rate must be above 0 and at most 1, got {phase.mask_rate} at length {phase.length}")
    total = sum(phase.share for phase in phases)
    if not phases or not all(phase.share > 0 for phase in phases) or abs(total - 1) > 1e-6:
        given = " ".join(f"{phase.length}:{phase.share:g}" for phase in phases)
        raise ValueError(f"the shares of the lengths must be above 0 and sum to 1, got {given!r} (sum {total:g})")
    return list(phases)


def phase_ends(phases: Sequence[LengthPhase], steps: int) -> list[int]:
    """The step at which each phase ends, int [phases]; the last one is `steps`."""
    shares = np.cumsum([phase.share for phase in check_phases(phases)])
    return [round(share * steps) for share in shares[:-1]] + [steps]


@dataclass(frozen=True)
class BatchOptions:
    """Options for pre-training batches."""

    batch_tokens: int
    """The size of a global batch in tokens: the batch has batch_tokens // length sequences of up to `length` tokens."""
    masking: Masking = field(default_factory=Masking)
    """How tokens are masked; its rate is that of phases without a mask rate of their own."""
    nsp_from: int = 64
    """Sequences of this length or longer are sentence pairs; shorter sequences are single windows."""
    random_positions: bool = False
    """Sequences of phases shorter than the longest start at a random position, so that the embeddings of all
    positions are trained from the beginning."""

    def __post_init__(self) -> None:
        if not self.masking.rate > 0:
            raise ValueError(f"mask_rate must be above 0 and at most 1, got {self.masking.rate}")


class PretrainingData:
    """The global batch of every step, with masks, and with sentence pairs in phases of sufficient length."""

    def __init__(
        self,
        documents: DocumentSet,
        tokenizer: Tokenizer,
        phases: Sequence[LengthPhase],
        steps: int,
        seed: int,
        options: BatchOptions,
    ) -> None:
        """Check the options, and prepare the examples of each phase.

        documents: the DocumentSet to train on, in shards made with `tokenizer`.
        phases, steps: the phases, and the total number of steps that their shares divide.
        Raises ValueError for invalid options and for a corpus too small for one batch.
        """
        if steps < 1:
            raise ValueError(f"training needs at least 1 step, got {steps}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        self.documents, self.seed = documents, seed
        self.phases, self.ends = check_phases(phases), phase_ends(phases, steps)
        self.steps, self.options = steps, options
        self.longest = max(phase.length for phase in phases)
        self._maker = SequenceMaker(documents.shards, tokenizer, options.masking)
        self._sources = []
        for phase in self.phases:
            source = (Pairs if phase.length >= options.nsp_from else Windows)(documents, phase.length)
            sequences = options.batch_tokens // phase.length
            if sequences < 1:
                raise ValueError(
                    f"a batch of {options.batch_tokens} tokens cannot hold a sequence of {phase.length}; "
                    "raise batch_tokens"
                )
            check_size(source.size, options.batch_tokens, phase.length)
            self._sources.append(source)

    def phase_at(self, step: int) -> int:
        """The index of the phase that a step belongs to."""
        if not 0 <= step < self.steps:
            raise ValueError(f"there is no step {step}; steps are numbered 0 to {self.steps - 1}")
        return int(np.searchsorted(self.ends, step, side="right"))

    def length_at(self, step: int) -> int:
        """The length of the sequences of a step."""
        return self.phases[self.phase_at(step)].length

    def sequences_at(self, step: int) -> int:
        """The number of sequences in the global batch of a step."""
        return self.options.batch_tokens // self.length_at(step)

    def batch(self, step: int, first: int = 0, count: int | None = None) -> MaskedBatch:
        """The global batch of a step, or its sequences first to first + count - 1 (for one of several processes).

        The parts have the same tokens, masks and counts as they have within the global batch.
        """
        phase = self.phase_at(step)
        source, sequences = self._sources[phase], self.sequences_at(step)
        begun = self.ends[phase - 1] if phase else 0
        examples = (step - begun) * sequences + np.arange(sequences)  # [B]
        positions = self.longest if self.options.random_positions and self.length_at(step) < self.longest else None
        stream = 2 * phase + TRAINING  # each phase has its own order of examples
        mask_rate = self.phases[phase].mask_rate or self.options.masking.rate
        batch = self._maker.batch(source, examples, self.seed, step, stream, mask_rate, positions)
        last = sequences if count is None else first + count
        return batch if (first, last) == (0, sequences) else batch.take(first, last)


def check_size(examples: int, batch_tokens: int, length: int) -> None:
    """Raise ValueError if a corpus with this number of examples of a length is too small for one batch."""
    sequences = batch_tokens // length
    if examples < sequences:
        raise ValueError(
            f"the corpus is too small: a batch of {batch_tokens} tokens needs {sequences} sequences of "
            f"{length} tokens, but the corpus has {examples}; add text or use smaller batches"
        )


def evaluation_batches(
    documents: DocumentSet,
    tokenizer: Tokenizer,
    length: int,
    *,
    sequences: int = 2000,
    batch_tokens: int = 8192,
    pairs: bool = True,
    mask_rate: float = 0.15,
    whole_word: bool = False,
    batch_of: Callable[[MaskedBatch], Any] = lambda whole: whole,
) -> list:
    """A fixed evaluation set from held-out documents, which is the same for every run, whatever the seed.

    Up to `sequences` sequences (pairs, or windows) of the given length, in batches of about batch_tokens.
    Together the batches form one global batch: their counts are those of the whole set.  batch_of: makes another kind
    of batch from the whole set, before it is split.
    """
    try:
        source = (Pairs if pairs else Windows)(documents, length)
    except ValueError as error:
        raise ValueError(f"cannot evaluate on the {len(documents)} held-out documents: {error}") from None
    examples = np.arange(min(sequences, source.size))
    maker = SequenceMaker(documents.shards, tokenizer, Masking(mask_rate, whole_word))
    whole = batch_of(maker.batch(source, examples, EVALUATION_SEED, 0, EVALUATION, mask_rate))
    return whole.split(min(len(examples), -(-len(whole.tokens.token_ids) // batch_tokens)))


class SequenceMaker:
    """Makes a MaskedBatch from examples: adds [CLS] and [SEP] to their tokens, and computes positions and masks."""

    def __init__(self, shards: Shards, tokenizer: Tokenizer, masking: Masking) -> None:
        shards.check_vocabulary(tokenizer)
        self.shards, self.masking = shards, masking
        self.ids = MaskingIds.of(tokenizer)
        self.cls = np.array([tokenizer.cls_id], np.int32)
        self.sep = np.array([tokenizer.sep_id], np.int32)

    def batch(
        self,
        source: Pairs | Windows,
        examples: np.ndarray,
        seed: int,
        step: int,
        stream: int,
        mask_rate: float,
        positions: int | None = None,
    ) -> MaskedBatch:
        """Make the global batch of the given examples.

        examples: their numbers, int64 [B], counted from the phase's start; positions: the number of positions among
        which each sequence is placed at random, or None to begin each sequence at position 0.
        """
        numbers = np.arange(len(examples))  # [B], within the global batch
        index, epochs = in_epoch_order(examples, source.size, seed, stream)  # [B], [B]
        parts, nsp_labels = source.parts(index, epochs, numbers, seed, step, stream)
        token_ids, segment_ids, lengths = self.lay_out(parts)
        cu_seqlens = running_sum(lengths)

        offsets = -cu_seqlens[:-1].astype(np.int64)  # [B], position in the sequence minus index in the batch
        if positions is not None:
            draws, *_ = philox4x32((seed, step), (0, numbers, stream, SITE_POSITION))
            offsets += integer_below(draws, positions - lengths + 1)
        position_ids = np.arange(len(token_ids)) + np.repeat(offsets, lengths)  # [N]

        hidden_ids, masked_positions, masked_labels = mask_tokens(
            token_ids, cu_seqlens, numbers, self.ids, seed, step,
            masking=replace(self.masking, rate=mask_rate), stream=stream,
        )  # fmt: skip
        return MaskedBatch(
            Batch(hidden_ids, segment_ids, position_ids.astype(np.int32), cu_seqlens, numbers),
            masked_positions=masked_positions,
            masked_labels=masked_labels,
            nsp_labels=nsp_labels,
            mlm_count=len(masked_positions),
            nsp_count=0 if nsp_labels is None else len(nsp_labels),
        )

    def lay_out(self, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Concatenate the sequences, each laid out as [CLS] first part [SEP] second part [SEP].

        parts: (starts, stops) int64 [B] of each part, one or two.
        Returns token_ids int32 [N], segment_ids int32 [N] (the number of the part) and lengths int64 [B].
        """
        addresses = np.stack([address for part in parts for address in part], axis=1)  # [B, 2 * parts]
        pieces = []
        for sequence in addresses.tolist():
            pieces.append(self.cls)
            for start, stop in zip(sequence[::2], sequence[1::2], strict=True):
                pieces += (self.shards.read(start, stop), self.sep)
        token_ids = np.concatenate(pieces, dtype=np.int32)

        part_lengths = addresses[:, 1::2] - addresses[:, ::2] + 1  # [B, parts], including the [SEP]
        part_lengths[:, 0] += 1  # including the [CLS] as well
        segments = np.tile(np.arange(len(parts), dtype=np.int32), len(addresses))
        return token_ids, np.repeat(segments, part_lengths.reshape(-1)), part_lengths.sum(axis=1)
