"""Exercises of lesson 6: masking, next sentences, and the two losses."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.ops.reference.embedding import scatter_add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------------------- hide_tokens


def hide_tokens(
    token_ids: np.ndarray, chosen: np.ndarray, dice: np.ndarray, random_ids: np.ndarray, mask_id: int
) -> np.ndarray:
    """All [N]: ids; bool, to be predicted?; a die 0 .. 1; an id to put in.  Returns what the model sees, [N].

    A chosen token's die decides: below 0.8 it becomes mask_id, from there to 0.9 its random id; else it stays.
    """
    seen = np.where(dice < 0.8, mask_id, np.where(dice < 0.9, random_ids, token_ids))
    return np.where(chosen, seen, token_ids)


def hide_with(masked: float, randomised: float) -> Callable:
    def wrong(token_ids, chosen, dice, random_ids, mask_id):
        seen = np.where(dice < masked, mask_id, np.where(dice < randomised, random_ids, token_ids))
        return np.where(chosen, seen, token_ids)

    return wrong


def hide_all(
    token_ids: np.ndarray, chosen: np.ndarray, dice: np.ndarray, random_ids: np.ndarray, mask_id: int
) -> np.ndarray:
    return hide_tokens(token_ids, np.ones_like(chosen), dice, random_ids, mask_id)


def masking_tries() -> Iterator[Try]:
    r = random(0)
    ids = r.integers(5, 100, 400)
    yield Try("400 tokens", (ids, r.random(400) < 0.15, r.random(400), r.integers(5, 100, 400), 4))
    edges = np.array([0, 0.8, 0.9])
    yield Try(
        "dice of exactly 0.8 and 0.9", (np.array([11, 12, 13]), np.ones(3, bool), edges, np.array([21, 22, 23]), 4)
    )
    yield Try("nothing chosen", (ids[:9], np.zeros(9, bool), r.random(9), r.integers(5, 100, 9), 4))
    yield Try("another mask_id", (ids[:50], r.random(50) < 0.5, r.random(50), r.integers(5, 100, 50), 103))


add(
    Exercise(
        "hide_tokens",
        6,
        "80 % [MASK], 10 % random, 10 % unchanged",
        hide_tokens,
        masking_tries,
        outputs=("what the model sees",),
        mistakes=(
            Mistake(
                "You hide every chosen token behind [MASK].  Fine-tuning never sees [MASK], so 10 % become a "
                "random piece and 10 % stay as they are (section 3.1).",
                hide_with(1.1, 1.1),
            ),
            Mistake(
                "None of the chosen tokens stays as it is; a tenth of them should, so that the model also learns "
                "to trust what it sees.",
                hide_with(0.8, 1.1),
            ),
            Mistake("None of the chosen tokens becomes a random piece.", hide_with(0.8, 0.8)),
            Mistake(
                "A die below 0.8 is also below 0.9, so you overwrite every [MASK] with a random piece.",
                hide_with(0.0, 0.9),
            ),
            Mistake("You do this to every token.  Only the chosen tokens, 15 % of all, may be replaced.", hide_all),
            Mistake(
                "You swapped the shares: 80 % of the chosen tokens become [MASK], and 10 % a random piece.",
                hide_with(0.1, 0.9),
            ),
            Mistake(
                "The id of [MASK] is 4 in this course's vocabularies, but 103 in others: use mask_id.",
                lambda ids, chosen, dice, random_ids, mask_id: hide_tokens(ids, chosen, dice, random_ids, 4),
            ),
        ),
        hints=(
            "Nest one np.where(condition, one, other) inside another.",
            "If the die is below 0.8, put in mask_id; from there to 0.9, the random id; otherwise keep the "
            "token.  Do all that only where chosen is true.",
        ),
        note="In the package, this is mask_tokens in minibert/data/masking.py.",
    )
)


# --------------------------------------------------------------------------------- cross_entropy_backward


def cross_entropy_backward(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """logits [M, V], labels integers [M], count: the masked tokens of the whole batch.  Returns d_logits [M, V]."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    d_logits = exponentials / exponentials.sum(axis=1, keepdims=True)
    d_logits[np.arange(len(labels)), labels] -= 1
    return d_logits / count


def without_the_label(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True) / count


def divided_too_early(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    d_logits = cross_entropy_backward(logits, labels, 1)
    rows = np.arange(len(labels))
    d_logits[rows, labels] += 1
    d_logits /= count
    d_logits[rows, labels] -= 1
    return d_logits


def over_the_tokens(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=0))
    d_logits = exponentials / exponentials.sum(axis=0)
    d_logits[np.arange(len(labels)), labels] -= 1
    return d_logits / count


def label_columns(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    d_logits = exponentials / exponentials.sum(axis=1, keepdims=True)
    d_logits[:, labels] -= 1
    return d_logits / count


def minus_maximum(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    exponentials = np.exp(logits - logits.max())
    d_logits = exponentials / exponentials.sum(axis=1, keepdims=True)
    d_logits[np.arange(len(labels)), labels] -= 1
    return d_logits / count


def loss_tries() -> Iterator[Try]:
    r = random(1)
    yield Try("4 masked tokens of 10", (r.standard_normal((4, 7)), np.array([2, 0, 6, 2]), 10))
    yield Try("one masked token", (r.standard_normal((1, 5)), np.array([3]), 1))
    yield Try("large logits", (900 + 50 * r.standard_normal((3, 4)), np.array([1, 3, 0]), 3))
    yield Try(
        "a row 2,000 below the other", (np.array([[1000.0, 999, 998], [-1000, -1001, -999]]), np.array([2, 1]), 2)
    )


add(
    Exercise(
        "cross_entropy_backward",
        6,
        "the gradient of the loss: softmax minus one-hot",
        cross_entropy_backward,
        loss_tries,
        outputs=("d_logits",),
        mistakes=(
            Mistake(
                "Subtract 1 at the label: the gradient is the softmax minus the one-hot label.",
                without_the_label,
            ),
            Mistake(
                "The loss is a mean over the masked tokens of the whole batch, so divide by count.",
                lambda x, y, count: cross_entropy_backward(x, y, 1),
            ),
            Mistake(
                "Divide by the argument count, not by the number of rows in logits: a batch may be split into parts.",
                lambda x, y, count: cross_entropy_backward(x, y, len(y)),
            ),
            Mistake(
                "d[:, labels] -= 1 subtracts 1 at all labels in *every* row; d[np.arange(M), labels] -= 1 "
                "subtracts it only at each row's own label.",
                label_columns,
            ),
            Mistake(
                "Subtract each row's own maximum (axis=1, keepdims=True).  If you subtract the overall maximum, a "
                "row far below it becomes 0 / 0.",
                minus_maximum,
            ),
            Mistake(
                "Divide at the end: the 1 that you subtract at the label must be divided by count, too.",
                divided_too_early,
            ),
            Mistake(
                "Your columns add up to 1, over the tokens.  Each token's row must add up to 1 over the V pieces: "
                "use axis 1.",
                over_the_tokens,
            ),
            Mistake(
                "The sign is wrong: the loss falls when the label's logit rises.",
                lambda x, y, count: -cross_entropy_backward(x, y, count),
            ),
        ),
        hints=(
            "The loss is log(sum(exp(logits))) - logits[label]; the derivative of the first term is the softmax.",
            "Subtract 1 at [row, label], and divide by count.",
        ),
        note="In the package, this is cross_entropy_backward in minibert/ops/reference/losses.py.",
    )
)


# --------------------------------------------------------------------------------------- tied_gradient


def tied_gradient(
    d_logits: np.ndarray, hidden: np.ndarray, d_embedded: np.ndarray, token_ids: np.ndarray
) -> np.ndarray:
    """The gradient of a table that is used twice: looked up below, and multiplied with above.

    Above: logits = hidden @ table.T; d_logits [M, V], hidden [M, H].  Below: x = table[token_ids]; d_embedded [N, H],
    token_ids [N].  Returns d_table [V, H].
    """
    d_table = d_logits.T @ hidden
    np.add.at(d_table, token_ids, d_embedded)
    return d_table


def lost_additions(
    d_logits: np.ndarray, hidden: np.ndarray, d_embedded: np.ndarray, token_ids: np.ndarray
) -> np.ndarray:
    d_table = d_logits.T @ hidden
    d_table[token_ids] += d_embedded
    return d_table


def overwritten(d_logits: np.ndarray, hidden: np.ndarray, d_embedded: np.ndarray, token_ids: np.ndarray) -> np.ndarray:
    d_table = d_logits.T @ hidden
    sums = scatter_add(d_embedded, token_ids, d_table.shape)
    d_table[token_ids] = sums[token_ids]
    return d_table


def tied_tries() -> Iterator[Try]:
    r = random(2)
    yield Try(
        "3 masked of 6 tokens",
        (r.standard_normal((3, 8)), r.standard_normal((3, 4)), r.standard_normal((6, 4)), np.array([1, 5, 1, 7, 1, 0])),
    )
    yield Try(
        "one token", (r.standard_normal((1, 3)), r.standard_normal((1, 2)), r.standard_normal((1, 2)), np.array([2]))
    )


add(
    Exercise(
        "tied_gradient",
        6,
        "the gradient of the tied embedding",
        tied_gradient,
        tied_tries,
        outputs=("d_table",),
        mistakes=(
            Mistake(
                "The gradient through the look-up is missing: the first layer also gets its input from the table.",
                lambda d, h, e, t: d.T @ h,
            ),
            Mistake(
                "The gradient through the logits is missing: the table is also the weight of the last layer.",
                lambda d, h, e, t: scatter_add(e, t, (d.shape[1], h.shape[1])),
            ),
            Mistake(
                "When an id occurs several times, `d[ids] += rows` adds only the last row.  Use np.add.at, as in "
                "lesson 2.",
                lost_additions,
            ),
            Mistake(
                "Rows that are looked up lose the gradient that came through the logits: add to them, do not assign.",
                overwritten,
            ),
        ),
        hints=(
            "The gradient of a table that is used twice is the sum of two gradients.",
            "Above, the table is the weight of a linear layer: d_logits.T @ hidden.  Below, it is used in a "
            "look-up, whose backward pass is a scatter-add.",
        ),
        note="In the package, both backward passes, of MaskedLMHead and of Embeddings, add to one buffer.",
    )
)


# ------------------------------------------------------------------------------------------- masked_loss


def masked_loss(losses: np.ndarray, labels: np.ndarray) -> float:
    """losses [B, T], one for each token; labels integers [B, T], -100 where nothing is predicted.  Returns a number."""
    return losses[labels != -100].mean()


add(
    Exercise(
        "masked_loss",
        6,
        "the mean loss that two popular implementations get wrong",
        masked_loss,
        lambda: [
            Try(
                "3 of 8 tokens masked",
                (random(3).random((2, 4)), np.array([[-100, 7, -100, -100], [0, -100, 5, -100]])),
            ),
            Try("a label that is 0", (random(4).random((1, 3)), np.array([[0, -100, 3]]))),
            Try(
                "losses of exactly 0",
                (np.array([[0.0, 0.5, 0.0], [2.0, 0.0, 1.0]]), np.array([[3, -100, 2], [1, 0, 5]])),
            ),
            Try("one sequence with more masks", (random(5).random((2, 3)), np.array([[1, 2, 3], [-100, 4, -100]]))),
        ],
        outputs=("the loss",),
        mistakes=(
            Mistake(
                "You add up the losses of the masked tokens, but divide by the number of all tokens.  Then the "
                "loss grows with the share of masked tokens; divide by their number.",
                lambda x, y: np.where(y != -100, x, 0).mean(),
            ),
            Mistake(
                'Label 0 is a label like any other ([PAD] here, "is next" for next sentences): only -100 is '
                "ignored.  One well-known BERT implementation for teaching ignores every such example.",
                lambda x, y: x[y > 0].mean(),
            ),
            Mistake(
                "You leave out label 0, and keep -100: that is `ignore_index=0`.  Only -100 is ignored; 0 is a "
                "label like any other.",
                lambda x, y: x[y != 0].mean(),
            ),
            Mistake(
                "You divide by the number of sequences; divide by the number of masked tokens instead.",
                lambda x, y: x[y != -100].sum() / len(x),
            ),
            Mistake(
                "That is the mean of each sequence's mean: a token would count for more in a sequence with few "
                "masked tokens.",
                lambda x, y: np.mean([row[of != -100].mean() for row, of in zip(x, y, strict=True)]),
            ),
            Mistake(
                "That is the mean over all tokens, masked or not; leave out the tokens that are not masked before "
                "you average.",
                lambda x, y: x.mean(),
            ),
            Mistake(
                "A loss of exactly 0 counts, too: the token was masked, and predicted with certainty.  Decide by the "
                "labels which losses count, not by the losses.",
                lambda x, y: x[(y != -100) & (x != 0)].mean(),
            ),
            Mistake(
                "That is the sum over the masked tokens; the loss must be their mean, or else it grows with the batch.",
                lambda x, y: x[y != -100].sum(),
            ),
        ),
        hints=("losses[labels != -100] picks the losses that count.", "Take their mean over the whole batch at once."),
        note=(
            "minibert never computes the losses of other tokens: its output head works on the rows of the "
            "masked tokens only."
        ),
    )
)
