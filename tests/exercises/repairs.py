"""Project 2: right repairs written in another way than the package's, and wrong ones with words of their hints."""

import math

import numpy as np

from minibert.exercises import broken

# -------------------------------------------------------------------------------------------------- run 1


def loss_by_weights(logits, token_ids, masked_positions, masked_labels):
    weight = np.isin(np.arange(len(logits)), masked_positions) / len(masked_positions)
    labels = np.zeros(len(logits), int)
    np.put(labels, masked_positions, masked_labels)
    highest = logits.max(axis=1)
    logs = logits - (highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1)))[:, None]
    onehot = np.eye(logits.shape[1])[labels]
    return -(weight * (logs * onehot).sum(axis=1)).sum(), weight[:, None] * (np.exp(logs) - onehot)


def loss_in_a_loop(logits, token_ids, masked_positions, masked_labels):
    gradient, total = logits * 0, 0
    for position, label in zip(masked_positions, masked_labels, strict=True):
        row = np.exp(logits[position] - logits[position].max())
        row = row / row.sum()
        total -= math.log(row[label]) if row[label] > 0 else -(logits[position, label] - logits[position].max())
        gradient[position] = row
        gradient[position, label] -= 1
    return total / len(masked_labels), gradient / len(masked_labels)


def loss_without_its_gradient(logits, token_ids, masked_positions, masked_labels):
    every, d_logits = broken.mlm_loss(logits, token_ids, masked_positions, masked_labels)
    return loss_by_weights(logits, token_ids, masked_positions, masked_labels)[0], d_logits


def loss_where_something_changed(logits, token_ids, masked_positions, masked_labels):
    labels = token_ids.copy()
    labels[masked_positions] = masked_labels
    positions = np.flatnonzero(labels != token_ids)
    return loss_by_weights(logits, token_ids, positions, labels[positions])


def loss_divided_by_all(logits, token_ids, masked_positions, masked_labels):
    loss, d_logits = loss_by_weights(logits, token_ids, masked_positions, masked_labels)
    share = len(masked_positions) / len(token_ids)
    return loss * share, d_logits * share


# -------------------------------------------------------------------------------------------------- run 2


def masks_by_where(token_ids, special, choice, action, random_ids, mask_id):
    chosen = np.logical_and(choice < 0.15, np.logical_not(special[token_ids]))
    hidden = np.where(chosen & (action < 0.8), mask_id, token_ids)
    hidden = np.where(chosen & (action >= 0.8) & (action < 0.9), random_ids, hidden)
    return hidden, np.nonzero(chosen)[0], token_ids[chosen]


def masks_by_a_loop(token_ids, special, choice, action, random_ids, mask_id):
    hidden, where = list(token_ids), []
    for i, piece in enumerate(token_ids):
        if choice[i] < 0.15 and not special[piece]:
            where.append(i)
            hidden[i] = mask_id if action[i] < 0.8 else random_ids[i] if action[i] < 0.9 else piece
    return np.array(hidden), np.array(where), token_ids[where]


def masks_only(token_ids, special, choice, action, random_ids, mask_id):
    hidden, positions, labels = masks_by_where(token_ids, special, choice, action, random_ids, mask_id)
    hidden[positions] = mask_id
    return hidden, positions, labels


def masks_without_random_pieces(token_ids, special, choice, action, random_ids, mask_id):
    hidden, positions, labels = broken.mask_tokens(token_ids, special, choice, action, random_ids, mask_id)
    hidden[positions[action[positions] < 0.8]] = mask_id
    return hidden, positions, labels


def masks_at_the_beginning(token_ids, special, choice, action, random_ids, mask_id):
    hidden, positions, labels = broken.mask_tokens(token_ids, special, choice, action, random_ids, mask_id)
    action = action[positions]
    hidden[np.flatnonzero(action < 0.8)] = mask_id
    rest = np.flatnonzero((action >= 0.8) & (action < 0.9))
    hidden[rest] = random_ids[rest]
    return hidden, positions, labels


# -------------------------------------------------------------------------------------------------- run 3


def rates_one_by_one(steps, peak, warmup):
    up = max(1, math.floor(steps * warmup))
    return [peak * (s + 1) / up if s < up else peak * (steps - s) / (steps - up) for s in range(steps)]


def rates_by_interpolation(steps, peak, warmup):
    up = max(int(steps * warmup), 1)
    rise = np.linspace(0, peak, up + 1)[1:]
    return np.concatenate([rise, np.linspace(peak, 0, steps - up + 1)[:-1]])


def rates_from_zero(steps, peak, warmup):
    up = max(int(steps * warmup), 1)
    step = np.arange(steps)
    return peak * np.minimum(step / up, (steps - step) / max(steps - up, 1))


def rates_without_the_limit(steps, peak, warmup):
    up = int(steps * warmup)
    step = np.arange(steps)
    return peak * np.minimum((step + 1) / up, (steps - step) / max(steps - up, 1))


def rates_with_a_jump(steps, peak, warmup):
    up = max(int(steps * warmup), 1)
    return np.array([peak * ((s + 1) / up if s < up else (steps - s) / steps) for s in range(steps)])


# -------------------------------------------------------------------------------------------------- run 4


def padded_by_lengths(sequences, labels, pad_id):
    lengths = np.array(list(map(len, sequences)))
    longest = lengths.max()
    fill = lambda rows, value: np.array([[*row, *[value] * (longest - len(row))] for row in rows])  # noqa: E731
    return fill(sequences, pad_id), (np.arange(longest) < lengths[:, None]) * 1, fill(labels, -100)


def padded_with_a_bool_mask(sequences, labels, pad_id):
    ids, mask, targets = padded_by_lengths(sequences, labels, pad_id)
    return ids, mask.astype(bool), targets


def padded_where_pad_id_is(sequences, labels, pad_id):
    ids, _, targets = padded_by_lengths(sequences, labels, pad_id)
    return ids, np.where(ids == pad_id, 0, 1), targets


def padded_with_both(sequences, labels, pad_id):
    ids, _, targets = padded_by_lengths(sequences, labels, pad_id)
    return ids, np.where((ids == pad_id) | (ids == 0), 0, 1), targets


def padded_inverted(sequences, labels, pad_id):
    ids, mask, targets = padded_by_lengths(sequences, labels, pad_id)
    return ids, 1 - mask, targets


def padded_with_ones(sequences, labels, pad_id):
    ids, _, targets = padded_by_lengths(sequences, labels, pad_id)
    return ids, np.ones_like(ids), targets


# -------------------------------------------------------------------------------------------------- run 5


def second_by_lists(first, document_starts, coins, draws):
    second, labels = [], []
    for sentence, coin, draw in zip(first, coins, draws, strict=True):
        d = max(k for k, start in enumerate(document_starts) if start <= sentence)
        others = [*range(document_starts[d]), *range(document_starts[d + 1], document_starts[-1])]
        second.append(others[int(draw * len(others))] if coin < 0.5 else sentence + 1)
        labels.append(int(coin < 0.5))
    return np.array(second), np.array(labels)


def second_by_document(first, document_starts, coins, draws):
    """Every other document is as likely as any other, instead of every sentence."""
    second, labels = first + 1, (coins < 0.5) * 1
    for k in np.flatnonzero(labels):
        own = np.searchsorted(document_starts, first[k], side="right") - 1
        others = [d for d in range(len(document_starts) - 1) if d != own]
        which = draws[k] * len(others)
        d = others[int(which)]
        size = document_starts[d + 1] - document_starts[d]
        second[k] = document_starts[d] + int(which % 1 * size)
    return second, labels


def second_from_anywhere(first, document_starts, coins, draws):
    anywhere = np.floor(draws * document_starts[-1]).astype(int)
    return np.where(coins < 0.5, anywhere, first + 1), np.where(coins < 0.5, 1, 0)


def second_from_the_next(first, document_starts, coins, draws):
    ends = document_starts[1:]
    behind = ends[np.searchsorted(ends, first, side="right")] % document_starts[-1]
    return np.where(coins < 0.5, behind, first + 1), np.where(coins < 0.5, 1, 0)


def second_with_swapped_labels(first, document_starts, coins, draws):
    second, labels = second_by_lists(first, document_starts, coins, draws)
    return second, 1 - labels


# -------------------------------------------------------------------------------------------------- run 6


def epoch_in_two_halves(objective, optimizer, batches, epoch, rate):
    learning = rate is not None
    sums = [0, 0]
    for k, batch in enumerate(batches):
        now = epoch * len(batches) + k
        if learning:
            losses, cache = objective.losses(objective.prepare(batch), (0, now))
            objective.model.parameters.zero_gradients()
            objective.losses_backward(cache)
            optimizer.step(now + 1, rate)
        else:
            losses, _ = objective.losses(objective.prepare(batch), keep_cache=False)
        sums[0] += losses.mlm * batch.mlm_count
        sums[1] += batch.mlm_count
    return sums[0] / sums[1]


def epoch_with_key(key_of):
    def run(objective, optimizer, batches, epoch, rate):
        total = count = 0
        for k, batch in enumerate(batches):
            step = epoch * len(batches) + k
            losses, cache = objective.losses(objective.prepare(batch), dropout_key=key_of(step, rate))
            if rate is not None:
                objective.model.parameters.zero_gradients()
                objective.losses_backward(cache)
                optimizer.step(step + 1, rate)
            total += losses.mlm * batch.mlm_count
            count += batch.mlm_count
        return total / count

    return run


# -------------------------------------------------------------------------------------------------- run 7


def rate_of_tokens(sequences, length, accumulate, base_rate=1e-4, base_sequences=256, base_length=512):
    per_token = base_rate / base_sequences / base_length
    return np.float64(per_token * accumulate * length * sequences)


def rate_of_sequences(sequences, length, accumulate, base_rate=1e-4, base_sequences=256, base_length=512):
    return base_rate * (sequences * accumulate / base_sequences)


def rate_of_a_part(sequences, length, accumulate, base_rate=1e-4, base_sequences=256, base_length=512):
    return base_rate * (sequences / base_sequences) * (length / base_length)


def rate_that_is_limited(sequences, length, accumulate, base_rate=1e-4, *base):
    return min(base_rate, broken.peak_rate(sequences, length, accumulate, base_rate, *base))


def rate_of_the_root(sequences, length, accumulate, base_rate=1e-4, base_sequences=256, base_length=512):
    return base_rate * (sequences * length * accumulate / (base_sequences * base_length)) ** 0.5


# -------------------------------------------------------------------------------------------------- run 8


def decays_by_comprehension(shapes, decay):
    return {name: decay * (np.zeros(shape).ndim >= 2) for name, shape in shapes.items()}


def decays_by_names(shapes, decay):
    return {name: 0 if any(word in name for word in ("bias", "LayerNorm.weight")) else decay for name in shapes}


def decays_without_biases(shapes, decay):
    return dict.fromkeys(shapes, decay) | {name: 0 for name in shapes if name.split(".")[-1] == "bias"}


def decays_without_layer_norms(shapes, decay):
    return {name: 0.0 if name.count("LayerNorm") else decay for name in shapes}


def decays_of_nothing(shapes, decay):
    return dict.fromkeys(shapes, 0.0)


# -------------------------------------------------------------------------------------------------- run 9


def masks_with(generator, same_row=False):
    def masked_epoch(token_ids, epoch, seed, mask_id, first_id, vocab_size):
        order = np.random.default_rng((seed, epoch)).permutation(len(token_ids))
        labels, random = token_ids[order], generator(seed, epoch)
        masked = random.random(labels.shape) < 0.15
        if same_row:
            masked = np.repeat((np.arange(labels.shape[1]) % 7 == 3)[None], len(labels), axis=0)
        die = random.random(labels.shape)
        hidden = labels.copy()
        hidden[masked & (die < 0.8)] = mask_id
        some = masked & (die >= 0.8) & (die < 0.9)
        hidden[some] = random.integers(first_id, vocab_size, some.sum())
        return hidden, masked, labels

    return masked_epoch


# ------------------------------------------------------------------------------------------------- run 10


def ids_of(text, vocabulary, lower):
    found = []
    for word in (text.lower() if lower else text).split(" "):
        pieces, rest = [], word
        while rest:
            mark = "##" if pieces else ""
            longest = next((n for n in range(len(rest), 0, -1) if mark + rest[:n] in vocabulary), 0)
            if not longest:
                pieces = ["[UNK]"]
                break
            pieces.append(mark + rest[:longest])
            rest = rest[longest:]
        found.extend(map(vocabulary.get, pieces))
    return found


def ids_by_a_set(text, vocabulary):
    ordinary = {piece for piece in vocabulary if piece[0] + piece[-1] != "[]"}
    return ids_of(text, vocabulary, lower={piece.lower() for piece in ordinary} == ordinary)


def ids_always_lower(text, vocabulary):
    return ids_of(text, vocabulary, lower=True)


def ids_either_way(text, vocabulary):
    found = []
    for word in text.split():
        ids = ids_of(word, vocabulary, False)
        found += ids if vocabulary["[UNK]"] not in ids else ids_of(word, vocabulary, True)
    return found


def ids_after_the_first_five(text, vocabulary):
    return ids_of(text, vocabulary, lower=not any(c.isupper() for piece in list(vocabulary)[5:] for c in piece))


RIGHT = {
    "run_1": [loss_by_weights, loss_in_a_loop],
    "run_2": [masks_by_where, masks_by_a_loop],
    "run_3": [rates_one_by_one, rates_by_interpolation],
    "run_4": [padded_by_lengths, padded_with_a_bool_mask],
    "run_5": [second_by_lists, second_by_document],
    "run_6": [epoch_in_two_halves],
    "run_7": [rate_of_tokens],
    "run_8": [decays_by_comprehension],
    "run_9": [
        masks_with(lambda seed, epoch: np.random.default_rng([epoch, seed])),
        masks_with(lambda seed, epoch: np.random.Generator(np.random.Philox(key=(seed << 20) + epoch))),
    ],
    "run_10": [ids_by_a_set],
}
WRONG = {
    "run_1": [
        (loss_without_its_gradient, "gradient is still that of all tokens"),
        (loss_where_something_changed, "what differs"),
        (loss_divided_by_all, "divide by the number of all tokens"),
    ],
    "run_2": [
        (masks_only, "Every chosen token becomes [MASK]"),
        (masks_without_random_pieces, "the second assignment"),
        (masks_at_the_beginning, "the first tokens of the batch"),
    ],
    "run_3": [
        (rates_from_zero, "rate of step 0"),
        (rates_without_the_limit, "divide by 0"),
        (rates_with_a_jump, "jumps"),
    ],
    "run_4": [
        (padded_where_pad_id_is, "lose its [SEP]s"),
        (padded_with_both, "both 0 and pad_id"),
        (padded_inverted, "inverted"),
        (padded_with_ones, "Nothing is masked"),
    ],
    "run_5": [
        (second_from_anywhere, "by chance"),
        (second_from_the_next, "right after it"),
        (second_with_swapped_labels, "labels are swapped"),
    ],
    "run_6": [
        (epoch_with_key(lambda step, rate: None), "off in training as well"),
        (epoch_with_key(lambda step, rate: (0, 0) if rate is None else (0, step)), "repeats itself now"),
        (epoch_with_key(lambda step, rate: None if rate else (0, step)), "the other way round"),
    ],
    "run_7": [
        (rate_of_sequences, "count sequences"),
        (rate_of_a_part, "all of their tokens"),
        (rate_that_is_limited, "only limit"),
        (rate_of_the_root, "square root of the ratio"),
    ],
    "run_8": [
        (decays_by_names, "these names only"),
        (decays_without_biases, "weights of layer norms"),
        (decays_without_layer_norms, "biases of other layers"),
        (decays_of_nothing, "nothing decays"),
    ],
    "run_9": [
        (masks_with(lambda seed, epoch: np.random.default_rng()), "repeat a run"),
        (masks_with(lambda seed, epoch: np.random.default_rng(seed)), "still drawn once"),
        (masks_with(lambda seed, epoch: np.random.default_rng(seed + epoch)), "seed + epoch"),
        (masks_with(lambda seed, epoch: np.random.default_rng(epoch)), "no longer depend on the seed"),
    ],
    "run_10": [
        (ids_always_lower, "every text is lower-cased"),
        (ids_either_way, "both ways"),
        (ids_after_the_first_five, "first five"),
    ],
}
