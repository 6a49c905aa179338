"""Exercise of lesson 12: ELECTRA's task, to find tokens that a generator replaced (Clark et al. 2020)."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.exercises.published import random


def replace_tokens(
    token_ids: np.ndarray, chosen: np.ndarray, logits: np.ndarray, dice: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """token_ids [N]; chosen bool [N], M of them; logits [M, V] of the generator for these, in order; dice [M], 0 .. 1.

    Returns what the model sees, and 1 where that is not the original piece, else 0; both [N].
    """
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    sums = exponentials.cumsum(axis=1)  # [M, V]
    seen = token_ids.copy()
    seen[chosen] = (sums <= dice[:, None] * sums[:, -1:]).sum(axis=1)
    return seen, (seen != token_ids).astype(int)


def replace_with(draw: Callable | None = None, label: Callable | None = None) -> Callable:
    """replace_tokens with something wrong.  draw: (logits, dice) -> pieces; label: (ids, seen, chosen) -> labels."""

    def wrong(token_ids, chosen, logits, dice):
        seen, labels = replace_tokens(token_ids, chosen, logits, dice)
        if draw and len(logits):
            seen[chosen] = draw(logits, dice)
            labels = (seen != token_ids).astype(int)
        return seen, label(token_ids, seen, chosen) if label else labels

    return wrong


def drawn_from(weights: np.ndarray, dice: np.ndarray) -> np.ndarray:
    """Pieces drawn with weights [M, V] instead of the generator's probabilities."""
    sums = weights.cumsum(axis=1)
    return (sums <= dice[:, None] * sums[:, -1:]).sum(axis=1)


def one_too_late(logits: np.ndarray, dice: np.ndarray) -> np.ndarray:
    sums = np.exp(logits - logits.max(axis=1, keepdims=True)).cumsum(axis=1)
    return (sums < dice[:, None] * sums[:, -1:]).sum(axis=1)


def replace_tries() -> Iterator[Try]:
    for seed, (what, tokens, pieces, share) in enumerate(
        (("12 tokens, 5 pieces", 12, 5, 0.5), ("400 tokens", 400, 30, 0.15), ("nothing chosen", 6, 9, 0.0))
    ):
        r = random(20 + seed)
        chosen = r.random(tokens) < share
        logits = 2 * r.standard_normal((chosen.sum(), pieces))
        yield Try(what, (r.integers(0, pieces, tokens), chosen, logits, r.random(chosen.sum())))
    ids = np.array([3, 1, 0, 2])
    sure = np.where(np.arange(4) == ids[1:, None], 1500.0, 600.0)
    yield Try("a generator that is sure of the original", (ids, ids != 3, sure, np.array([0.1, 0.99, 0.5])))
    yield Try("logits near -1,000", (ids, ids != 3, sure / 300 - 1000, np.array([0.1, 0.99, 0.5])))
    dice = np.array([0.0, 0.25, 0.5, 0.75])
    yield Try("four equal probabilities, dice on their edges", (ids, np.ones(4, bool), np.zeros((4, 4)), dice))


def softmax_of(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


add(
    Exercise(
        "replace_tokens",
        12,
        "ELECTRA's task: draw replacements, and label them",
        replace_tokens,
        replace_tries,
        outputs=("what the model sees", "the labels"),
        mistakes=(
            Mistake(
                "The generator may draw the original piece; such a token counts as not replaced (section 2).",
                replace_with(label=lambda ids, seen, chosen: chosen.astype(int)),
            ),
            Mistake(
                "You take the generator's most probable piece.  ELECTRA *draws* one, with the generator's "
                "probabilities: otherwise the better the generator is, the less there is to find.",
                replace_with(lambda logits, dice: logits.argmax(axis=1)),
            ),
            Mistake(
                "All pieces are equally likely in your answer: draw with the generator's probabilities, the softmax of "
                "its logits.",
                replace_with(lambda logits, dice: (dice * logits.shape[1]).astype(int)),
            ),
            Mistake(
                "exp overflows when logits are large, or is 0 when all are far below 0: subtract each row's maximum "
                "first.",
                replace_with(lambda logits, dice: drawn_from(np.exp(logits), dice)),
            ),
            Mistake(
                "The probabilities of a chosen token are a row: take the softmax over the pieces, axis 1.",
                replace_with(lambda logits, dice: drawn_from(softmax_of(logits, 0), dice)),
            ),
            Mistake(
                "The die has to be *exceeded*: with two equal probabilities, a die of exactly 0.5 gives the second "
                "piece.",
                replace_with(one_too_late),
            ),
            Mistake(
                "Every token has a label; the label -100 belongs to masked language models, which learn from only "
                "15 % of the tokens.",
                replace_with(label=lambda ids, seen, chosen: np.where(chosen, seen != ids, -100)),
            ),
            Mistake(
                "Your labels are inverted: the label is 1 where the token differs from the original.",
                replace_with(label=lambda ids, seen, chosen: (seen == ids).astype(int)),
            ),
            Mistake(
                "Every token has a label, not only the chosen ones: that is why ELECTRA learns from all tokens.",
                replace_with(label=lambda ids, seen, chosen: (seen != ids)[chosen].astype(int)),
            ),
        ),
        hints=(
            "The softmax of the logits gives each chosen token's probabilities; np.cumsum over axis 1 adds them up.",
            "The piece that is drawn is the number of sums that do not exceed the die: (sums <= die).sum(axis=1).",
            "Put the pieces into a *copy* of token_ids at the chosen positions.  The labels compare this copy with the "
            "original, at all positions.",
        ),
        note="ELECTRA's loss covers all tokens, whereas BERT's covers 15 % of them.",
    )
)
