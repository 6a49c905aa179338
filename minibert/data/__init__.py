"""From token ids to batches: corpora, shards on disk, sentence pairs, and masking.

Suggested reading order: batch (a model's input), masked_batch (a batch with targets), corpus (documents; formats,
records, text_files and layout have the details), shards
(tokens on disk), held_out, examples (which tokens make a sequence), pairs (next-sentence prediction), masking,
pretraining (which combines them), baselines (which a model has to beat).
"""

from minibert.data.batch import Batch, from_padded, to_padded
from minibert.data.corpus import Document, read_corpus
from minibert.data.masked_batch import MaskedBatch, masked_from_padded, masked_to_padded
from minibert.data.pretraining import BatchOptions, LengthPhase, PretrainingData, evaluation_batches, parse_phases
from minibert.data.shards import Shards, write_shards

__all__ = [
    "Batch",
    "BatchOptions",
    "Document",
    "LengthPhase",
    "MaskedBatch",
    "PretrainingData",
    "Shards",
    "evaluation_batches",
    "from_padded",
    "masked_from_padded",
    "masked_to_padded",
    "parse_phases",
    "read_corpus",
    "to_padded",
    "write_shards",
]
