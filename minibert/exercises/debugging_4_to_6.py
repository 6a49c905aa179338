"""Project 2, runs 4 to 6: padding, pairs, the evaluation."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minibert.data import Batch, MaskedBatch
from minibert.exercises import broken
from minibert.exercises.broken import PROJECT
from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.models import BertForPreTraining
from minibert.nn import BertConfig
from minibert.objectives import MaskedLmAndNextSentence
from minibert.training.optimizer import AdamW, AdamWSettings

# ----------------------------------------------------------------------------------------------------- run 4


def pad_batch(sequences: list, labels: list, pad_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences of different lengths as arrays [B, T], the form that other libraries use.

    sequences: lists of token ids; labels: as many lists, -100 where nothing is predicted.
    pad_id: what fills the rows up.  Some models have no [PAD] and fill up with another piece.
    Returns input_ids, attention_mask (1 for a token, 0 for padding), labels, all [B, T].
    """
    longest = max(len(ids) for ids in sequences)
    input_ids = np.full((len(sequences), longest), pad_id)
    padded_labels = np.full((len(sequences), longest), -100)
    attention_mask = np.zeros((len(sequences), longest), int)
    for row, (ids, of_row) in enumerate(zip(sequences, labels, strict=True)):
        input_ids[row, : len(ids)] = ids
        padded_labels[row, : len(ids)] = of_row
        attention_mask[row, : len(ids)] = 1
    return input_ids, attention_mask, padded_labels


def mask_with(mask: Callable) -> Callable:
    """pad_batch with another mask: (input_ids, lengths, pad_id) -> mask."""

    def wrong(sequences, labels, pad_id):
        input_ids, _, padded_labels = pad_batch(sequences, labels, pad_id)
        lengths = np.array([len(ids) for ids in sequences])
        return input_ids, mask(input_ids, lengths, pad_id).astype(int), padded_labels

    return wrong


def columns(input_ids: np.ndarray) -> np.ndarray:
    return np.arange(input_ids.shape[1])[None]


def padding_tries() -> Iterator[Try]:
    def case(what: str, sequences: list, pad_id: int) -> Try:
        labels = [[-100 if k % 3 else int(piece) for k, piece in enumerate(ids)] for ids in sequences]
        return Try(what, (sequences, labels, pad_id))

    yield case("[PAD] is 44", [[1, 7, 9, 2], [1, 8, 2], [1, 5, 6, 9, 8, 2]], 44)
    yield case("[PAD] is 0", [[1, 7, 2], [1, 9, 8, 5, 2]], 0)
    yield case("[PAD] is 1, and [CLS] is 0, as in RoBERTa", [[0, 7, 2], [0, 9, 8, 5, 2]], 1)
    yield case("a model without [PAD], which fills up with [SEP]", [[1, 7, 2], [1, 9, 2, 5, 2]], 2)
    yield case("no padding", [[1, 7, 2], [1, 9, 2]], 44)


add(
    Exercise(
        "run_4",
        PROJECT,
        "run 4: a loss that depends on the neighbours",
        pad_batch,
        padding_tries,
        outputs=("input_ids", "attention_mask", "labels"),
        mistakes=(
            Mistake(
                "That is right as long as the piece of the padding never occurs as a token.  A model that fills up "
                "with [SEP] would lose its [SEP]s: decide by the lengths.",
                mask_with(lambda ids, lengths, pad: ids != pad),
            ),
            Mistake(
                "You take both 0 and pad_id for padding, but 0 can be the id of a token, such as [CLS].",
                mask_with(lambda ids, lengths, pad: (ids != pad) & (ids != 0)),
            ),
            Mistake(
                "The mask is inverted: 1 is a token, and 0 is padding.",
                mask_with(lambda ids, lengths, pad: columns(ids) >= lengths[:, None]),
            ),
            Mistake(
                "The last token of each sequence, its [SEP], is taken for padding.",
                mask_with(lambda ids, lengths, pad: columns(ids) < lengths[:, None] - 1),
            ),
            Mistake(
                "The first padding of each row is still attended to.",
                mask_with(lambda ids, lengths, pad: columns(ids) <= lengths[:, None]),
            ),
            Mistake(
                "Nothing is masked: all of the padding is attended to.", mask_with(lambda ids, lengths, pad: ids == ids)
            ),
        ),
        hints=(
            "Both training curves are the same, so the model, the loss and the masks are right.  The same sentences "
            "cost more the longer their longest neighbour is: what a short sentence gets from a long one is padding.",
            "Where does attention_mask come from, and what is the id of [PAD] in this run?  (28.)",
            "Only the lengths say for certain what is padding: fill the mask row by row, like the other two arrays.",
        ),
        note=(
            "The package does not pad: its batches are ragged.  What other libraries give it goes through from_padded; "
            "test_from_padded_drops_padding_wherever_it_stands is in tests/data/test_batch.py."
        ),
        broken=broken.pad_batch,
    )
)


# ----------------------------------------------------------------------------------------------------- run 5


def second_sentences(
    first: np.ndarray, document_starts: np.ndarray, coins: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The second sentence of each pair, and the label: 0, it follows; 1, it is random.

    Sentences are numbered through; document d has those from document_starts[d] to
    document_starts[d + 1] - 1.  first [B]: sentences that another one follows.
    coins, draws [B]: random numbers from 0 to 1.  Returns second [B], nsp_labels [B].
    """
    document = np.searchsorted(document_starts, first, side="right") - 1
    begin, end = document_starts[document], document_starts[document + 1]

    follows = first + 1
    own = end - begin
    random_sentence = (draws * (document_starts[-1] - own)).astype(int)
    random_sentence += own * (random_sentence >= begin)  # leave out the own document

    is_random = coins < 0.5
    second = np.where(is_random, random_sentence, follows)
    return second, is_random.astype(int)


class OfPairs:
    """What all right functions have in common: labels, followers, and where random sentences come from."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, first: np.ndarray, starts: np.ndarray, coins: np.ndarray, draws: np.ndarray) -> tuple | None:
        found = self.function(first, starts, coins, draws)
        if found is None or found is Ellipsis:
            return None
        second, labels = (np.asarray(array) for array in found)
        again, _ = self.function(first, starts, coins, draws)
        chosen = second[coins < 0.5]
        there = (chosen >= 0) & (chosen < starts[-1])
        documents = np.searchsorted(starts, chosen[there], side="right") - 1
        own = np.searchsorted(starts, first[coins < 0.5][there], side="right") - 1
        return (
            labels,
            second[coins >= 0.5],
            int((documents == own).sum()),
            int((~there).sum()),
            np.unique(documents[documents != own]),
            int(np.array_equal(second, again)),
        )


def pairs_with(other: Callable, label: Callable = lambda is_random: is_random) -> OfPairs:
    """second_sentences with another choice: (draws, begin, end, total) -> a random sentence."""

    def wrong(first, starts, coins, draws):
        document = np.searchsorted(starts, first, side="right") - 1
        begin, end = starts[document], starts[document + 1]
        is_random = coins < 0.5
        second = np.where(is_random, other(draws, begin, end, starts[-1]).astype(int), first + 1)
        return second, label(is_random).astype(int)

    return OfPairs(wrong)


def elsewhere(draws: np.ndarray, begin: np.ndarray, end: np.ndarray, total: int) -> np.ndarray:
    """A sentence of another document."""
    found = (draws * (total - (end - begin))).astype(int)
    return found + (end - begin) * (found >= begin)


def pair_tries() -> Iterator[Try]:
    r = np.random.default_rng(51)

    def case(what: str, sizes: list[int], count: int, only: int | None = None) -> Try:
        starts = np.concatenate([[0], np.cumsum(sizes)])
        first = r.choice(np.setdiff1d(np.arange(starts[-1]), starts[1:] - 1), count)
        if only is not None:
            first[:] = only
        coins, draws = r.random(count), r.random(count)
        coins[0], draws[-2:], coins[-2:] = 0.5, (0, 1 - 1e-9), 0.1
        return Try(what, (first, starts, coins, draws))

    yield case("4 documents", [3, 5, 2, 4], 600)
    yield case("pairs that all begin in the second of 4 documents", [3, 5, 2, 4], 200, only=4)
    yield case("2 documents", [4, 2], 200)
    yield case("a long document and two short ones", [30, 2, 2], 600)


add(
    Exercise(
        "run_5",
        PROJECT,
        "run 5: a coin for next sentences",
        OfPairs(second_sentences),
        pair_tries,
        outputs=(
            "the labels",
            "the sentences that follow",
            "the number of random sentences from the same document",
            "the number of random sentences that do not exist",
            "the other documents that random sentences come from",
            "whether the same draws give the same pairs (1: yes)",
        ),
        mistakes=(
            Mistake(
                "A random sentence may still come from the same document, by chance: seldom in a large corpus, and "
                "often in a small one.  Leave the own document out.",
                pairs_with(lambda draws, begin, end, total: draws * total),
            ),
            Mistake(
                "You leave out the own document, but the last documents, too: behind it, numbers have to skip it.",
                pairs_with(lambda draws, begin, end, total: draws * (total - (end - begin))),
            ),
            Mistake(
                "Every random sentence comes from the document right after it; any other document should be possible.",
                pairs_with(lambda draws, begin, end, total: (end + 0 * draws) % total),
            ),
            Mistake(
                "Random sentences are in other documents now, but the labels are swapped: 0, it follows; 1, it is "
                "random.",
                pairs_with(elsewhere, lambda is_random: ~is_random),
            ),
            Mistake(
                "Some numbers are past the last sentence: how many sentences are there outside the own document?",
                pairs_with(lambda draws, begin, end, total: end + draws * (total - (end - begin))),
            ),
        ),
        hints=(
            "The masked words are learnt as well as in the healthy run, so model, step and rate are right.  Pairs are "
            "classified as by a coin, although the same model learns those of the healthy run: in these pairs, the "
            "label cannot be seen.",
            "In a document, all sentences have one topic.  Where does the random sentence come from?",
            "There are document_starts[-1] - (end - begin) sentences outside the document.  Draw one of these numbers, "
            "and add (end - begin) to those that are not below `begin`.",
        ),
        note=(
            "In the package, this is Pairs in minibert/data/pairs.py; "
            "test_a_true_b_follows_and_a_random_one_is_from_another_document is in tests/data/test_pairs.py."
        ),
        wrap=OfPairs,
        shown=second_sentences,
        broken=OfPairs(broken.second_sentences),
    )
)


# ----------------------------------------------------------------------------------------------------- run 6


def run_epoch(objective: Any, optimizer: Any, batches: list, epoch: int, rate: float | None) -> float:
    """One pass over the batches, to learn (with that learning rate) or to evaluate (None).

    objective, optimizer: as in minibert; batches: MaskedBatches; epoch: counted from 0.
    Returns the mean loss of a masked token, in nats.
    """
    total, count = 0.0, 0
    for number, batch in enumerate(batches):
        step = epoch * len(batches) + number
        dropout_key = (0, step) if rate is not None else None
        losses, cache = objective.losses(objective.prepare(batch), dropout_key)
        if rate is not None:
            objective.model.parameters.zero_gradients()
            objective.losses_backward(cache)
            optimizer.step(step + 1, rate)
        total += float(losses.mlm) * len(batch.masked_labels)
        count += len(batch.masked_labels)
    return total / count


def epoch_with(key: Callable, mean: bool = False) -> Callable:
    """run_epoch with other keys: (step, rate) -> key; mean: over the batches."""

    def wrong(objective, optimizer, batches, epoch, rate):
        found = []
        for number, batch in enumerate(batches):
            step = epoch * len(batches) + number
            losses, cache = objective.losses(objective.prepare(batch), key(step, rate))
            if rate is not None:
                objective.model.parameters.zero_gradients()
                objective.losses_backward(cache)
                optimizer.step(step + 1, rate)
            found.append((float(losses.mlm), len(batch.masked_labels)))
        losses, counts = zip(*found, strict=True)
        return np.mean(losses) if mean else np.average(losses, weights=counts)

    return wrong


def with_weights(run: Callable) -> Callable:
    """The loss and the weights after a call."""

    def call(objective, optimizer, batches, epoch, rate):
        loss = run(objective, optimizer, batches, epoch, rate)
        return None if loss is None or loss is Ellipsis else (loss, objective.model.parameters.values.copy())

    return call


def epoch_tries() -> Iterator[Try]:
    def case(what: str, epoch: int, rate: float | None, masked: tuple[int, ...]) -> Try:
        config = BertConfig(12, 8, 1, 2, 16, max_position_embeddings=8)
        model = BertForPreTraining(config, "reference", seed=0, dtype="float64")
        r = np.random.default_rng(epoch)
        batches = []
        for count in masked:
            tokens = Batch.of_sequences([r.integers(5, 12, 6) for _ in range(2)])
            positions = np.sort(r.choice(12, count, replace=False)).astype(np.int32)
            labels = r.integers(5, 12, count).astype(np.int32)
            batches.append(MaskedBatch(tokens, positions, labels, None, count, 0))
        return Try(
            what, (MaskedLmAndNextSentence(model), AdamW(model.parameters, AdamWSettings()), batches, epoch, rate)
        )

    yield case("two batches to learn from", 2, 0.01, (2, 4))
    yield case("one batch of a later epoch to learn from", 3, 0.05, (3,))
    yield case("two batches to evaluate on", 1, None, (1, 5))


add(
    Exercise(
        "run_6",
        PROJECT,
        "run 6: an evaluation that cannot be repeated",
        with_weights(run_epoch),
        epoch_tries,
        outputs=("the loss", "the weights"),
        mistakes=(
            Mistake(
                "Now dropout is off in training as well.  It belongs there: only the evaluation goes without it.",
                with_weights(epoch_with(lambda step, rate: None)),
            ),
            Mistake(
                "The evaluation repeats itself now, but with dropout: a fixed key drops the same numbers each time.  "
                "Without a key, nothing is dropped.",
                with_weights(epoch_with(lambda step, rate: (0, step) if rate is not None else (0, 0))),
            ),
            Mistake(
                "It is the other way round: dropout is on in evaluation, and off in training.",
                with_weights(epoch_with(lambda step, rate: (0, step) if rate is None else None)),
            ),
            Mistake(
                "The key is the same in all steps of the training, so dropout always drops the same numbers.  Only the "
                "evaluation needed another one.",
                with_weights(epoch_with(lambda step, rate: (0, 0) if rate is not None else None)),
            ),
            Mistake(
                "That is the mean of the batches' means: a token counts for more in a batch with few masked tokens.  "
                "The mean was right as it was.",
                with_weights(epoch_with(lambda step, rate: (0, step) if rate is not None else None, mean=True)),
            ),
        ),
        hints=(
            "The training curves are the same number for number, so training is right.  The held-out loss differs "
            "although the weights are the same: something in the evaluation is random.",
            "What is random in a forward pass?  In minibert, dropout_key=None turns it off.",
            "The key depends on `rate`, which is None in evaluation.",
        ),
        note=(
            "In the package, evaluate in minibert/training/evaluation.py passes no key; "
            "test_an_evaluation_has_no_dropout is in tests/training/test_parts.py."
        ),
        wrap=with_weights,
        shown=run_epoch,
        broken=with_weights(broken.run_epoch),
    )
)
