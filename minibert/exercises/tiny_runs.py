"""Project 2's runs: tiny models that learn an invented language, each with one part of its code given as a function.

    run("run_1", broken.mlm_loss)      the curves of the run with the bug
    run("run_1", mlm_loss)             those with yours

In the language, each word has a successor, which follows it with probability KEEP; otherwise any word follows.  A
sentence has 6 to 12 words.  So a masked word can be predicted from its neighbours, up to a loss that can be computed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minibert.checks.rounded import round_to, rounded_reference
from minibert.data import Batch, MaskedBatch
from minibert.data.masked_batch import masked_from_padded
from minibert.data.masking import MaskingIds, mask_tokens
from minibert.exercises.half_precision import next_scale
from minibert.models import BertForPreTraining
from minibert.nn import BertConfig
from minibert.objectives import MaskedLmAndNextSentence
from minibert.objectives.objective import losses_of
from minibert.training.evaluation import evaluate
from minibert.training.optimizer import AdamW, AdamWSettings, LossScale, learning_rate_at

UNK, CLS, SEP, MASK, FIRST, WORDS = 0, 1, 2, 3, 4, 24
PAD = FIRST + WORDS
V = PAD + 1
KEEP = 0.85
TRAINING, HELD_OUT = 1, 2  # streams of random numbers
SUCCESSOR = np.random.default_rng(0).permutation(WORDS)  # [WORDS]

Curves = dict[str, tuple[list, list]]  # name -> steps (or another quantity), values
SPECIAL = np.isin(np.arange(V), (UNK, CLS, SEP, MASK, PAD))
MASKING = MaskingIds(MASK, SPECIAL, np.zeros(V, bool), np.flatnonzero(~SPECIAL).astype(np.int32))


def words_of(random: np.random.Generator, length: int, first: int = 0, count: int = WORDS) -> list[int]:
    """A sentence: the ids of `length` words; first, count: of the words that are used, a topic."""
    successor = [word for word in SUCCESSOR if first <= word < first + count]  # of the topic's words, in their order
    words = [int(random.integers(count))]
    while len(words) < length:
        follows = successor[words[-1]] - first
        words.append(int(follows if random.random() < KEEP else random.integers(count)))
    return [FIRST + first + word for word in words]


def sentences(stream: int, number: int, count: int = 32, alike: bool = False) -> list[np.ndarray]:
    """Sentences, each as [CLS] words [SEP]; stream, number: which; alike: whether all of them have the same length."""
    random = np.random.default_rng((stream, number))
    lengths = random.integers(6, 13, 1 if alike else count)
    return [np.array([CLS, *words_of(random, length), SEP], np.int32) for length in np.resize(lengths, count).tolist()]


def masked(sequences: Sequence[np.ndarray], number: int, stream: int = TRAINING) -> MaskedBatch:
    """A batch with masks as the package draws them."""
    tokens = Batch.of_sequences(sequences)
    hidden, positions, labels = mask_tokens(
        tokens.token_ids, tokens.cu_seqlens, np.arange(len(sequences)), MASKING, 0, number, stream=stream
    )
    return with_masks(tokens, hidden, positions, labels)


def with_masks(
    tokens: Batch, hidden: np.ndarray, positions: np.ndarray, labels: np.ndarray, nsp_labels: np.ndarray | None = None
) -> MaskedBatch:
    """A batch whose tokens are hidden, with or without the labels of pairs."""
    hidden, positions, labels = (np.asarray(array).astype(np.int32) for array in (hidden, positions, labels))
    seen = Batch(hidden, tokens.segment_ids, tokens.position_ids, tokens.cu_seqlens, tokens.sequence_numbers)
    nsp = None if nsp_labels is None else np.asarray(nsp_labels).astype(np.int32)
    return MaskedBatch(seen, positions, labels, nsp, len(labels), 0 if nsp is None else len(nsp))


def lowest_loss() -> float:
    """A loss that no model falls below, in nats: 0.8 of the entropy of a word whose two neighbours are known.

    Eight tenths of the masked words are hidden by [MASK]; the others cost something, too.
    """
    of_next = np.full((WORDS, WORDS), (1 - KEEP) / WORDS)
    of_next[np.arange(WORDS), SUCCESSOR] += KEEP
    joint = of_next[:, :, None] * of_next[None] / WORDS  # [left, word, right]
    given = joint / joint.sum(axis=1, keepdims=True)
    return float(-0.8 * (joint * np.log(given)).sum())


class Tiny:
    """A tiny BERT with its optimizer."""

    def __init__(
        self, layers: int = 2, settings: AdamWSettings | None = None, backend: Any = "cpu", dropout: float = 0.1,
        width: int = 32,
    ) -> None:  # fmt: skip
        config = BertConfig(
            V, width, layers, 2, 2 * width, max_position_embeddings=64, hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )  # fmt: skip
        self.model = BertForPreTraining(config, backend, seed=0)
        self.objective = MaskedLmAndNextSentence(self.model)
        self.optimizer = AdamW(self.model.parameters, settings or AdamWSettings(beta2=0.98))

    def step(self, batch: MaskedBatch, step: int, rate: float) -> tuple[float, float, float]:
        """One training step.  Returns the MLM loss, the share of pairs classified correctly, the gradient's norm."""
        self.model.parameters.zero_gradients()
        losses, cache = losses_of(self.objective, batch, (0, step))
        self.objective.losses_backward(cache)
        norm = self.optimizer.step(step + 1, rate)
        return float(losses.mlm), int(losses.nsp_correct) / max(batch.nsp_count, 1), float(norm)

    def loss(self, batch: MaskedBatch) -> float:
        """The MLM loss without dropout."""
        return float(evaluate(self.objective, [batch])["mlm_loss"] or 0)


def rates(steps: int, peak: float) -> list[float]:
    return [learning_rate_at(step, steps=steps, peak=peak, warmup=0.1) for step in range(steps)]


def averaged(values: Sequence[float], window: int) -> tuple[list, list]:
    """Steps, and means over `window` steps."""
    starts = range(0, len(values) - window + 1, window)
    return [start + window // 2 for start in starts], [float(np.mean(values[s : s + window])) for s in starts]


# ------------------------------------------------------------------------------------------------- the runs


def with_loss(mlm_loss: Callable, steps: int = 800) -> Curves:
    """Run 1: the loss that training reports, and that of the masked tokens of held-out sentences."""
    tiny, reported, points = Tiny(), [], Points()
    held_out = masked(sentences(HELD_OUT, 0, 256), 0, HELD_OUT)
    for step, rate in enumerate(rates(steps, 0.005)):
        batch, model = masked(sentences(TRAINING, step), step), tiny.model
        model.parameters.zero_gradients()
        ids = batch.tokens.token_ids
        logits, _, cache = model.forward(model.prepare(batch.tokens, np.arange(len(ids))).inputs, (0, step))
        loss, d_logits = mlm_loss(logits, ids, batch.masked_positions, batch.masked_labels)
        model.backward(np.asarray(d_logits, np.float32), None, cache)
        tiny.optimizer.step(step + 1, rate)
        reported.append(float(loss))
        if points.due(step, steps):
            points.add(step, tiny.loss(held_out))
    return {"reported": averaged(reported, 20), "held out": points.all()}


def with_masks_of(mask: Callable, steps: int = 800) -> Curves:
    """Run 2: the training loss, and that of held-out sentences with masks as the package draws them."""
    tiny, reported, points = Tiny(), [], Points()
    held_out = masked(sentences(HELD_OUT, 0, 256), 0, HELD_OUT)
    for step, rate in enumerate(rates(steps, 0.005)):
        tokens = Batch.of_sequences(sentences(TRAINING, step))
        random, count = np.random.default_rng((3, step)), len(tokens.token_ids)
        hidden, positions, labels = mask(
            tokens.token_ids, SPECIAL, random.random(count), random.random(count),
            random.integers(FIRST, PAD, count).astype(np.int32), MASK,
        )  # fmt: skip
        reported.append(tiny.step(with_masks(tokens, hidden, positions, labels), step, rate)[0])
        if points.due(step, steps):
            points.add(step, tiny.loss(held_out))
    return {"reported": averaged(reported, 20), "held out": points.all()}


def with_rates(learning_rates: Callable, steps: int = 600, layers: int = 4, peak: float = 0.002) -> Curves:
    """Run 3: a deeper model; the training loss, and the gradient's norm in the first steps."""
    tiny = Tiny(layers, AdamWSettings(beta2=0.999, bias_correction=False))
    found = [
        tiny.step(masked(sentences(TRAINING, step), step), step, float(rate))
        for step, rate in enumerate(learning_rates(steps, peak, 0.2))
    ]
    losses, _, norms = zip(*found, strict=True)
    return {"reported": averaged(losses, 15), "norm": averaged(norms, 15)}


def with_padding(pad_batch: Callable, steps: int = 800) -> Curves:
    """Run 4: the training loss, and that of the same sentences in batches with more and more padding."""
    tiny, reported = Tiny(), []

    def batch_of(given: MaskedBatch, more: int = 0) -> MaskedBatch:
        cuts = given.tokens.cu_seqlens[1:-1]
        labels = np.full(len(given.tokens.token_ids), -100)
        labels[given.masked_positions] = given.masked_labels
        ids = [part.tolist() for part in np.split(given.tokens.token_ids, cuts)]
        targets = [part.tolist() for part in np.split(labels, cuts)]
        if more:  # a long neighbour, of which nothing is predicted
            ids, targets = [*ids, [CLS] * more], [*targets, [-100] * more]
        padded_ids, mask, padded_labels = pad_batch(ids, targets, PAD)
        return masked_from_padded(padded_ids, mask, None, padded_labels)

    for step, rate in enumerate(rates(steps, 0.005)):
        reported.append(tiny.step(batch_of(masked(sentences(TRAINING, step, alike=True), step)), step, rate)[0])
    held_out = masked(sentences(HELD_OUT, 0, 256), 0, HELD_OUT)
    lengths = list(range(14, 63, 8))
    return {
        "reported": averaged(reported, 20),
        "padded": (lengths, [tiny.loss(batch_of(held_out, length)) for length in lengths]),
    }


class Points:
    """Figures that are measured now and then."""

    def __init__(self) -> None:
        self.steps: list = []
        self.values: list = []

    def due(self, step: int, steps: int, count: int = 20) -> bool:
        return (step + 1) % (steps // count) == 0

    def add(self, step: int, value: float) -> None:
        self.steps.append(step + 1)
        self.values.append(value)

    def all(self) -> tuple[list, list]:
        return self.steps, self.values


def with_pairs(second_sentences: Callable, steps: int = 1000) -> Curves:
    """Run 5: the MLM loss, and the share of held-out pairs that are classified correctly.

    A document has 4 to 9 sentences on one topic, a fourth of the words.
    """
    tiny, reported, points = Tiny(), [], Points()
    documents, others = Documents(TRAINING, 200), Documents(HELD_OUT, 100)
    held_out = documents_pairs(others, second_sentences, HELD_OUT, 0, 512)
    for step, rate in enumerate(rates(steps, 0.004)):
        batch = documents_pairs(documents, second_sentences, TRAINING, step, 32)
        reported.append(tiny.step(batch, step, rate)[0])
        if points.due(step, steps):
            points.add(step, float(evaluate(tiny.objective, [held_out])["nsp_accuracy"] or 0))
    return {"reported": averaged(reported, 20), "pairs": points.all()}


class Documents:
    """Documents of several sentences on one of TOPICS topics.

    starts      int [documents + 1], the number of each document's first sentence
    sentences   of all documents
    """

    TOPICS = 3

    def __init__(self, stream: int, count: int) -> None:
        random = np.random.default_rng((stream, 0))
        lengths = random.integers(4, 10, count)
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        words = WORDS // self.TOPICS
        self.sentences = [
            words_of(random, int(random.integers(4, 8)), number % self.TOPICS * words, words)
            for number, length in enumerate(lengths)
            for _ in range(length)
        ]
        self.followed = np.setdiff1d(np.arange(self.starts[-1]), self.starts[1:] - 1)


def documents_pairs(
    documents: Documents, second_sentences: Callable, stream: int, number: int, count: int
) -> MaskedBatch:
    """A batch of pairs, whose second sentences and labels a function chooses."""
    random = np.random.default_rng((stream, 1, number))
    first = random.choice(documents.followed, count)
    second, labels = second_sentences(first, documents.starts, random.random(count), random.random(count))
    pairs = [(documents.sentences[a], documents.sentences[int(b)]) for a, b in zip(first, second, strict=True)]
    tokens = Batch.of_sequences(
        [np.array([CLS, *a, SEP, *b, SEP]) for a, b in pairs],
        [np.repeat([0, 1], [len(a) + 2, len(b) + 1]) for a, b in pairs],
    )
    hidden, positions, masked_labels = mask_tokens(
        tokens.token_ids, tokens.cu_seqlens, np.arange(count), MASKING, 0, number, stream=stream
    )
    return with_masks(tokens, hidden, positions, masked_labels, labels)


def with_epochs(run_epoch: Callable, epochs: int = 20) -> Curves:
    """Run 6: the losses of training and of held-out sentences; and the final model, evaluated again and again."""
    tiny = Tiny(dropout=0.2)
    held_out = [masked(sentences(HELD_OUT, number), number, HELD_OUT) for number in range(4)]
    training, evaluated = [], []
    for epoch in range(epochs):
        batches = [masked(sentences(TRAINING, 40 * epoch + k), 40 * epoch + k) for k in range(40)]
        rate = learning_rate_at(epoch, steps=epochs, peak=0.005, warmup=0.1)
        training.append(float(run_epoch(tiny.objective, tiny.optimizer, batches, epoch, rate)))
        evaluated.append(float(run_epoch(tiny.objective, tiny.optimizer, held_out, epoch, None)))
    number = list(range(1, 11))
    again = [float(run_epoch(tiny.objective, tiny.optimizer, held_out, epochs + k, None)) for k in number]
    steps = [40 * (epoch + 1) for epoch in range(epochs)]
    return {"reported": (steps, training), "held out": (steps, evaluated), "again": (number, again)}


def with_peak(peak_rate: Callable, steps: int = 120, precision: str = "float16") -> Curves:
    """Run 7, in simulated float16: the training loss and the loss scale; precision: or in float32."""
    half = precision == "float16"
    tiny = Tiny(backend=rounded_reference("float16") if half else "cpu")
    parameters, rounded = tiny.model.parameters, round_to(precision)
    scale, good_steps = LossScale.START if half else 1.0, 0
    losses, scales = [], []
    for step, rate in enumerate(rates(steps, float(peak_rate(128, 512, 2, base_rate=0.005)))):
        batch, masters = masked(sentences(TRAINING, step), step), parameters.values.copy()
        parameters.values[...] = rounded(masters)  # what 16 bits hold of the weights
        parameters.zero_gradients()
        with np.errstate(all="ignore"):
            loss, cache = losses_of(tiny.objective, batch, (0, step))
            tiny.objective.losses_backward(cache, scale)
            norm = np.sqrt(np.dot(parameters.gradients, parameters.gradients))
        parameters.values[...] = masters
        if np.isfinite(norm):
            parameters.gradients /= scale
            tiny.optimizer.step(step + 1, rate)
        if half:
            scale, good_steps = next_scale(scale, good_steps, float(norm), LossScale.INTERVAL)
        losses.append(float(loss.mlm))
        scales.append(scale)
    steps_taken = list(range(steps))
    return {"reported": (steps_taken, losses)} | ({"scale": (steps_taken, scales)} if half else {})


def with_decays(weight_decays: Callable, steps: int = 800, decay: float = 0.1) -> Curves:
    """Run 8: the training loss, and the mean weight of the layer norms."""
    tiny, reported, points = Tiny(settings=AdamWSettings(beta2=0.98, weight_decay=decay)), [], Points()
    parameters = tiny.model.parameters
    found = weight_decays({name: one.shape for name, one in parameters.all.items()}, decay)
    for parameter, span in parameters.spans():
        parameters.decayed[span] = found[parameter.name] > 0
    norms = [one for name, one in parameters.all.items() if name.endswith("LayerNorm.weight")]
    for step, rate in enumerate(rates(steps, 0.005)):
        reported.append(tiny.step(masked(sentences(TRAINING, step), step), step, rate)[0])
        if points.due(step, steps):
            points.add(step, float(np.mean([norm.value.mean() for norm in norms])))
    return {"reported": averaged(reported, 20), "layer norms": points.all()}


def with_epochs_of(masked_epoch: Callable, epochs: int = 120, count: int = 256) -> Curves:
    """Run 9: a small text, read again and again; the losses of training and of held-out sentences."""
    tiny, training, points = Tiny(width=64, dropout=0.0), [], Points()
    random = np.random.default_rng((TRAINING, 0))
    token_ids = np.array([words_of(random, 10) for _ in range(count)], np.int32)
    held_out = masked([np.array(words_of(random, 10), np.int32) for _ in range(256)], 0, HELD_OUT)
    for epoch in range(epochs):
        rate, losses = learning_rate_at(epoch, steps=epochs, peak=0.004, warmup=0.1), []
        for part, number in zip(zip(*(np.split(array, count // 32) for array in masked_epoch(
            token_ids, epoch, 0, MASK, FIRST, PAD)), strict=True), range(count), strict=False):  # fmt: skip
            hidden, is_masked, labels = (array.reshape(-1) for array in part)
            positions, tokens = np.flatnonzero(is_masked), Batch.of_sequences(list(part[0]))
            batch = with_masks(tokens, hidden, positions, labels[positions])
            losses.append(tiny.step(batch, epoch * (count // 32) + number, rate)[0])
        training.append(float(np.mean(losses)))
        if points.due(epoch, epochs):
            points.add(epoch, tiny.loss(held_out))
    return {"reported": (list(range(1, epochs + 1)), training), "held out": points.all()}


SPELLED = [f"{a}{b}" for a in "bdgklmnrst" for b in "aeiou"][:WORDS]
NOUNS = 8  # the words that are written with a capital letter, as in German: the last ones


def with_vocabulary(encode: Callable, steps: int = 800) -> Curves:
    """Run 10: the training loss, and the share of unknown pieces in the batches."""
    tiny, reported, unknown = Tiny(), [], []
    vocabulary = {"[UNK]": UNK, "[CLS]": CLS, "[SEP]": SEP, "[MASK]": MASK, "[PAD]": PAD}
    vocabulary |= {word: FIRST + number for number, word in enumerate(SPELLED)}
    for step, rate in enumerate(rates(steps, 0.005)):
        texts = [" ".join(written(number) for number in one[1:-1] - FIRST) for one in sentences(TRAINING, step)]
        ids = [np.array([CLS, *encode(text, vocabulary), SEP], np.int32) for text in texts]
        batch = masked(ids, step)
        reported.append(tiny.step(batch, step, rate)[0])
        unknown.append(float((batch.original_ids == UNK).sum() / sum(len(one) - 2 for one in ids)))
    return {"reported": averaged(reported, 20), "unknown": averaged(unknown, 20)}


def written(word: int) -> str:
    return SPELLED[word].capitalize() if word >= WORDS - NOUNS else SPELLED[word]


RUNS: dict[str, Callable] = {
    "run_1": with_loss, "run_2": with_masks_of, "run_3": with_rates, "run_4": with_padding, "run_5": with_pairs,
    "run_6": with_epochs, "run_7": with_peak, "run_8": with_decays, "run_9": with_epochs_of, "run_10": with_vocabulary,
}  # fmt: skip


def run(name: str, function: Callable) -> Curves:
    """Train the tiny model of a run with a function instead of the run's own; some seconds.

    Returns name -> (steps or the like, values).  Raises ValueError if there is no such run.
    """
    if name not in RUNS:
        raise ValueError(f"there is no run {name!r}; choose one of {', '.join(RUNS)}")
    return RUNS[name](function)
