"""The code of project 2's ten runs as it is handed out: each function has one bug, which its run shows.

The right functions, under the same names, are in debugging_1_to_3.py and the modules after it.
"""

from typing import Any

import numpy as np

PROJECT = "p2"


def mlm_loss(
    logits: np.ndarray, token_ids: np.ndarray, masked_positions: np.ndarray, masked_labels: np.ndarray
) -> tuple[float, np.ndarray]:
    """The masked-language-model loss of a batch, and its gradient.

    logits [N, V]: of every token; token_ids [N]: what the model sees.
    masked_positions [M], masked_labels [M]: where something is to be predicted, and what.
    Returns the mean cross-entropy in nats, a number, and d_logits [N, V].
    """
    rows = np.arange(len(logits))
    labels = token_ids.copy()
    labels[masked_positions] = masked_labels

    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    losses = -log_probabilities[rows, labels]
    loss = losses.mean()

    d_logits = np.exp(log_probabilities)
    d_logits[rows, labels] -= 1
    return loss, d_logits / len(losses)


def mask_tokens(
    token_ids: np.ndarray,
    special: np.ndarray,
    choice: np.ndarray,
    action: np.ndarray,
    random_ids: np.ndarray,
    mask_id: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose 15 % of the tokens: 80 % of these become [MASK], 10 % random, 10 % stay.

    token_ids [N]; special: bool [V], pieces that are never chosen.
    choice, action [N]: random numbers from 0 to 1; random_ids [N]: random pieces.
    Returns hidden_ids [N], masked_positions [M], masked_labels [M].
    """
    chosen = (choice < 0.15) & ~special[token_ids]
    masked_positions = np.flatnonzero(chosen)
    masked_labels = token_ids[masked_positions]

    action = action[masked_positions]
    becomes_mask = action < 0.8
    becomes_random = (action < 0.9) & ~becomes_mask

    hidden_ids = token_ids.copy()
    hidden_ids[masked_positions][becomes_mask] = mask_id
    hidden_ids[masked_positions][becomes_random] = random_ids[masked_positions][becomes_random]
    return hidden_ids, masked_positions, masked_labels


def learning_rates(steps: int, peak: float, warmup: float) -> np.ndarray:
    """The learning rate of each step, [steps]: a linear rise to `peak`, then a linear fall.

    warmup: the share of the steps in which the rate rises, rounded down to whole steps; may be 0.
    The first step has the first part of the rise; the rate would be 0 one step after the last.
    """
    rising = max(int(warmup) * steps, 1)
    falling = max(steps - rising, 1)
    step = np.arange(steps)
    rise = (step + 1) / rising
    fall = (steps - step) / falling
    return peak * np.minimum(rise, fall)


def pad_batch(sequences: list, labels: list, pad_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences of different lengths as arrays [B, T], the form that other libraries use.

    sequences: lists of token ids; labels: as many lists, -100 where nothing is predicted.
    pad_id: what fills the rows up.  Some models have no [PAD] and fill up with another piece.
    Returns input_ids, attention_mask (1 for a token, 0 for padding), labels, all [B, T].
    """
    longest = max(len(ids) for ids in sequences)
    input_ids = np.full((len(sequences), longest), pad_id)
    padded_labels = np.full((len(sequences), longest), -100)
    for row, (ids, of_row) in enumerate(zip(sequences, labels, strict=True)):
        input_ids[row, : len(ids)] = ids
        padded_labels[row, : len(ids)] = of_row
    attention_mask = (input_ids != 0).astype(int)
    return input_ids, attention_mask, padded_labels


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
    random_sentence = begin + (draws * (end - begin)).astype(int)

    is_random = coins < 0.5
    second = np.where(is_random, random_sentence, follows)
    return second, is_random.astype(int)


def run_epoch(objective: Any, optimizer: Any, batches: list, epoch: int, rate: float | None) -> float:
    """One pass over the batches, to learn (with that learning rate) or to evaluate (None).

    objective, optimizer: as in minibert; batches: MaskedBatches; epoch: counted from 0.
    Returns the mean loss of a masked token, in nats.
    """
    total, count = 0.0, 0
    for number, batch in enumerate(batches):
        step = epoch * len(batches) + number
        dropout_key = (0, step)  # (seed, step)
        losses, cache = objective.losses(objective.prepare(batch), dropout_key)
        if rate is not None:
            objective.model.parameters.zero_gradients()
            objective.losses_backward(cache)
            optimizer.step(step + 1, rate)
        total += float(losses.mlm) * len(batch.masked_labels)
        count += len(batch.masked_labels)
    return total / count


def peak_rate(
    sequences: int,
    length: int,
    accumulate: int,
    base_rate: float = 1e-4,
    base_sequences: int = 256,
    base_length: int = 512,
) -> float:
    """The peak learning rate for a batch of another size, by the linear scaling rule.

    The rate is in proportion to the number of tokens for which a step adds up gradients.
    A step has `accumulate` parts of `sequences` sequences, each of `length` tokens.
    base_rate is the one for base_sequences of base_length tokens, here the paper's.
    """
    batch = sequences * length * accumulate
    times = batch / base_sequences
    return base_rate * times


def weight_decays(shapes: dict, decay: float) -> dict:
    """The weight decay of each parameter: name -> number.

    shapes: name -> shape, such as "encoder.layer.0.output.LayerNorm.weight" -> (128,);
    names differ from model to model.  Biases and layer norms do not decay: they have one axis.
    """
    no_decay = ("bias", "LayerNorm.weight")
    decays = {}
    for name in shapes:
        decays[name] = 0.0 if name in no_decay else decay
    return decays


def masked_epoch(
    token_ids: np.ndarray, epoch: int, seed: int, mask_id: int, first_id: int, vocab_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All sequences in the order of an epoch, masked; the same for the same seed and epoch.

    token_ids [S, T]; ordinary pieces have the ids first_id to vocab_size - 1.
    Returns hidden_ids [S, T], is_masked bool [S, T], labels [S, T].
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(token_ids))

    random = np.random.default_rng(seed)
    is_masked = random.random(token_ids.shape) < 0.15
    action = random.random(token_ids.shape)
    random_ids = random.integers(first_id, vocab_size, token_ids.shape)
    replaced = np.where(action < 0.8, mask_id, np.where(action < 0.9, random_ids, token_ids))
    hidden_ids = np.where(is_masked, replaced, token_ids)

    return hidden_ids[order], is_masked[order], token_ids[order]


def encode(text: str, vocabulary: dict) -> list:
    """The ids of a text's word pieces.

    text: words and spaces; vocabulary: piece -> id, with [UNK] and other pieces in brackets.
    If the vocabulary has no capital letters, the text is lower-cased; otherwise it is not.
    """
    cased = any(piece != piece.lower() for piece in vocabulary)
    ids = []
    for word in (text if cased else text.lower()).split():
        pieces, begin = [], 0
        while begin < len(word):
            end, mark = len(word), "##" if begin else ""
            while end > begin and mark + word[begin:end] not in vocabulary:
                end -= 1
            if end == begin:  # nothing fits: the whole word is unknown
                pieces = ["[UNK]"]
                break
            pieces.append(mark + word[begin:end])
            begin = end
        ids += [vocabulary[piece] for piece in pieces]
    return ids
