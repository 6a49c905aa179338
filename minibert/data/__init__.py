"""Token ids -> batches: corpora, shards on disk, sentence pairs, masking.

In the order in which a reader meets them: corpus (documents), shards (tokens on disk), examples (which tokens
make a sequence), pairs (next-sentence prediction), masking, batch, pretraining (all of it together), baselines.
"""

from minibert.data.batch import Batch, from_padded, to_padded

__all__ = ["Batch", "from_padded", "to_padded"]
