"""Project 2, runs 1 to 3: the loss, the masks, the schedule."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises import broken
from minibert.exercises.broken import PROJECT
from minibert.exercises.exercise import Exercise, Mistake, Try, add

# ----------------------------------------------------------------------------------------------------- run 1


def mlm_loss(
    logits: np.ndarray, token_ids: np.ndarray, masked_positions: np.ndarray, masked_labels: np.ndarray
) -> tuple[float, np.ndarray]:
    """The masked-language-model loss of a batch, and its gradient.

    logits [N, V]: of every token; token_ids [N]: what the model sees.
    masked_positions [M], masked_labels [M]: where something is to be predicted, and what.
    Returns the mean cross-entropy in nats, a number, and d_logits [N, V].
    """
    rows, masked = np.arange(len(masked_positions)), logits[masked_positions]

    shifted = masked - masked.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    losses = -log_probabilities[rows, masked_labels]
    loss = losses.mean()

    d_masked = np.exp(log_probabilities)
    d_masked[rows, masked_labels] -= 1
    d_logits = np.zeros_like(logits)
    d_logits[masked_positions] = d_masked / len(losses)
    return loss, d_logits


def loss_over(
    positions: Callable = lambda ids, masked, labels: masked,
    of_loss: Callable = lambda losses: losses.mean(),
    count: Callable = lambda chosen, rows: len(chosen),
    gradient_of_all: bool = False,
) -> Callable:
    """mlm_loss with a mistake: other positions, another mean, another count under the gradient, a gradient of all."""

    def wrong(logits, token_ids, masked_positions, masked_labels):
        labels = token_ids.copy()
        labels[masked_positions] = masked_labels
        every = np.arange(len(logits))
        chosen = positions(token_ids, masked_positions, labels)
        loss_of_all, d_of_all = mlm_loss(logits, token_ids, every, labels)
        found = [mlm_loss(logits, token_ids, np.array([k]), labels[[k]])[0] for k in chosen]
        d_logits = np.zeros_like(logits)
        d_logits[chosen] = d_of_all[chosen] * len(logits) / count(chosen, every)
        return of_loss(np.array(found)), d_of_all if gradient_of_all else d_logits

    return wrong


def loss_tries() -> Iterator[Try]:
    r = np.random.default_rng(31)

    def case(what: str, count: int, masked: list[int], seen: dict[int, int], scale: float = 1.0) -> Try:
        """seen: position -> what the model sees there, if not [MASK], 4; the first masked token stays as it is."""
        labels = r.integers(5, 9, count)
        token_ids = labels.copy()
        token_ids[masked] = [seen.get(position, 4) for position in masked]
        if masked[0] in seen:
            labels[masked[0]] = seen[masked[0]]
        return Try(what, (scale * r.standard_normal((count, 9)), token_ids, np.array(masked), labels[masked]))

    yield case("2 of 6 tokens masked", 6, [1, 4], {})
    yield case("a masked token that stays as it is, and one that becomes another", 7, [0, 2, 5], {0: 6, 5: 8})
    yield case("all tokens masked", 3, [0, 1, 2], {})
    large = case("large logits in one row, and very small ones in another", 20, [7, 12], {}, 30.0)
    large.arguments[0][7] += 900
    large.arguments[0][12] -= 900
    yield large


MASKED_ONLY = "Only the masked tokens count, so the gradient of every other row is 0."
add(
    Exercise(
        "run_1",
        PROJECT,
        "run 1: a loss that is too good",
        mlm_loss,
        loss_tries,
        outputs=("the loss", "d_logits"),
        mistakes=(
            Mistake(
                "The loss is the right one now, but its gradient is still that of all tokens.  " + MASKED_ONLY,
                loss_over(gradient_of_all=True),
            ),
            Mistake(
                "The gradient is right, but the loss that you return is still the mean over all tokens.",
                lambda logits, ids, at, labels: (
                    broken.mlm_loss(logits, ids, at, labels)[0],
                    mlm_loss(logits, ids, at, labels)[1],
                ),
            ),
            Mistake(
                "You decide by what differs: a masked token that the model sees as it is (one in ten) is to be "
                "predicted, too.  Use masked_positions.",
                loss_over(positions=lambda ids, masked, labels: np.flatnonzero(ids != labels)),
            ),
            Mistake(
                "You add up the losses of the masked tokens, but still divide by the number of all tokens.  The loss "
                "is the mean over the masked ones.",
                lambda logits, ids, at, labels: tuple(
                    x * (len(at) / len(logits)) for x in mlm_loss(logits, ids, at, labels)
                ),
            ),
            Mistake(
                "The gradient is still divided by the number of all tokens; the mean is over the masked ones.",
                loss_over(count=lambda chosen, rows: len(rows)),
            ),
            Mistake(
                "That is the sum over the masked tokens; the loss is their mean.",
                lambda logits, ids, at, labels: tuple(x * len(at) for x in mlm_loss(logits, ids, at, labels)),
            ),
            Mistake("The loss is a sum; it should be the mean over the masked tokens.", loss_over(of_loss=np.sum)),
        ),
        hints=(
            "The curves exclude a leak: held-out blanks get better, slowly.  What is reported falls much faster than "
            "the loss of the blanks, so it is the mean over something easier.",
            "How many rows does `losses` have, and how many of these tokens can the model simply copy?",
            "Take the rows masked_positions of the logits first.  The gradient is 0 in all other rows, and both the "
            "loss and its gradient are divided by the number of masked tokens.",
        ),
        note=(
            "In the package, BertForPreTraining computes logits for the masked rows only; "
            "test_positions_that_are_not_masked_have_no_say_in_the_mlm_loss is in tests/models/test_pretraining.py."
        ),
        broken=broken.mlm_loss,
    )
)


# ----------------------------------------------------------------------------------------------------- run 2


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
    hidden_ids[masked_positions[becomes_mask]] = mask_id
    at_random = masked_positions[becomes_random]
    hidden_ids[at_random] = random_ids[at_random]
    return hidden_ids, masked_positions, masked_labels


def hidden_with(masked: float = 0.8, changed: float = 0.9, before: bool = False, within: bool = False) -> Callable:
    """mask_tokens with other shares, with labels of what is hidden, or with indices among the chosen ones."""

    def wrong(token_ids, special, choice, action, random_ids, mask_id):
        positions = np.flatnonzero((choice < 0.15) & ~special[token_ids])
        die, hidden = action[positions], token_ids.copy()
        at_mask, at_random = die < masked, (die >= masked) & (die < changed)
        indices = np.arange(len(positions)) if within else positions
        hidden[indices[at_mask]] = mask_id
        hidden[indices[at_random]] = random_ids[indices[at_random]]
        return hidden, positions, (hidden if before else token_ids)[positions]

    return wrong


def all_hidden(
    token_ids: np.ndarray,
    special: np.ndarray,
    choice: np.ndarray,
    action: np.ndarray,
    random_ids: np.ndarray,
    mask_id: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every token is hidden by its die, chosen or not."""
    _, positions, labels = mask_tokens(token_ids, special, choice, action, random_ids, mask_id)
    return np.where(action < 0.8, mask_id, np.where(action < 0.9, random_ids, token_ids)), positions, labels


def masking_tries() -> Iterator[Try]:
    r, special = np.random.default_rng(41), np.arange(60) < 5

    def case(what: str, count: int, mask_id: int = 4, choice: float = 1.0) -> Try:
        ids = r.integers(5, 60, count)
        ids[::9] = 2
        return Try(what, (ids, special, choice * r.random(count), r.random(count), r.integers(5, 60, count), mask_id))

    yield case("400 tokens", 400)
    yield case("many chosen tokens", 60, 4, 0.2)
    yield case("another mask_id", 80, 3, 0.4)
    edges = np.array([0.15, 0.0, 0.1, 0.1]), np.array([0.1, 0.8, 0.9, 0.79])
    yield Try("random numbers of exactly 0.15, 0.8 and 0.9", (np.arange(10, 14), special, *edges, np.arange(20, 24), 4))


add(
    Exercise(
        "run_2",
        PROJECT,
        "run 2: a loss of 0",
        mask_tokens,
        masking_tries,
        outputs=("hidden_ids", "masked_positions", "masked_labels"),
        mistakes=(
            Mistake(
                "Every chosen token becomes [MASK] now.  A tenth of them should become random, and a tenth stay.",
                hidden_with(1.1, 1.1),
            ),
            Mistake(
                "[MASK] is there now, but no token becomes a random piece: the second assignment has the same bug.",
                hidden_with(0.8, 0.8),
            ),
            Mistake(
                "becomes_mask has one element for each chosen token, so its indices count chosen tokens, not tokens: "
                "you hide the first tokens of the batch.",
                hidden_with(within=True),
            ),
            Mistake(
                "The input is hidden now, but the labels are taken from it, so they are [MASK], too.  Keep the "
                "original pieces.",
                hidden_with(before=True),
            ),
            Mistake("You hide tokens that were not chosen; the model is to predict the chosen ones only.", all_hidden),
            Mistake(
                "None of the chosen tokens stays as it is; a tenth should.",
                hidden_with(0.8, 1.1),
            ),
        ),
        hints=(
            "No model can be below 0.25 nats in this language: a word cannot be known for certain.  A lower loss "
            "means that the answer is in the input.  The loss function is right: the held-out loss, with other masks, "
            "is that of a model that has learnt to copy.",
            "Call the function on a few tokens and compare hidden_ids with token_ids.",
            "x[positions] makes a copy.  What does x[positions][some] = 4 change?  One pair of brackets on the left "
            "has to hold the final indices: positions[some].",
        ),
        note=(
            "In the package, this is mask_tokens in minibert/data/masking.py; "
            "test_shares_are_those_of_the_paper (tests/data/test_masking.py) counts what the model sees."
        ),
        broken=broken.mask_tokens,
    )
)


# ----------------------------------------------------------------------------------------------------- run 3


def learning_rates(steps: int, peak: float, warmup: float) -> np.ndarray:
    """The learning rate of each step, [steps]: a linear rise to `peak`, then a linear fall.

    warmup: the share of the steps in which the rate rises, rounded down to whole steps; may be 0.
    The first step has the first part of the rise; the rate would be 0 one step after the last.
    """
    rising = max(int(warmup * steps), 1)
    falling = max(steps - rising, 1)
    step = np.arange(steps)
    rise = (step + 1) / rising
    fall = (steps - step) / falling
    return peak * np.minimum(rise, fall)


def rates_with(
    first: int = 1, least: int = 1, fall_from: int | None = None, rising: Callable | None = None
) -> Callable:
    def wrong(steps, peak, warmup):
        up = rising(steps, warmup) if rising else max(int(warmup * steps), least)
        step = np.arange(steps)
        fall = (steps - step) / (max(steps - up, 1) if fall_from is None else steps)
        rise = (step + first) / up
        return peak * np.where(step < up, rise, fall) if fall_from is not None else peak * np.minimum(rise, fall)

    return wrong


add(
    Exercise(
        "run_3",
        PROJECT,
        "run 3: stuck from the first steps on",
        learning_rates,
        lambda: [
            Try("100 steps, a tenth of them warm-up", (100, 2e-3, 0.1)),
            Try("8 steps, a quarter of them warm-up", (8, 1.0, 0.25)),
            Try("9 steps, 2.7 of them warm-up", (9, 1.0, 0.3)),
            Try("no warm-up", (5, 0.5, 0.0)),
            Try("4 steps, all of them warm-up", (4, 1.0, 1.0)),
        ],
        outputs=("the rates",),
        mistakes=(
            Mistake(
                "The rate of step 0 is 0, so that step changes nothing.  The first step has the first part of the "
                "rise.",
                rates_with(first=0),
            ),
            Mistake(
                "Without warm-up, you divide by 0: keep the `max(..., 1)` around the number of rising steps.",
                rates_with(least=0),
            ),
            Mistake(
                "The rate jumps at the end of the warm-up: the fall begins at the peak, and takes the steps that are "
                "left.",
                rates_with(fall_from=0),
            ),
            Mistake(
                "`warmup` is a share of the steps, not their number: the rise is far too short.",
                rates_with(rising=lambda steps, warmup: max(int(warmup), 1) * 10),
            ),
            Mistake(
                "The number of rising steps should be whole, rounded down.",
                rates_with(rising=lambda steps, warmup: max(warmup * steps, 1)),
            ),
            Mistake(
                "The rate rises for one step more than the share says.",
                rates_with(rising=lambda steps, warmup: int(warmup * steps) + 1),
            ),
            Mistake(
                "You divide by the share: the number of rising steps is the share times the number of steps.",
                rates_with(rising=lambda steps, warmup: max(int(steps / warmup) if warmup else 1, 1)),
            ),
        ),
        hints=(
            "The loss is stuck at ln 24, that of a model that knows nothing.  It leaves its first value, so the "
            "gradient does reach the weights; the healthy run has the same data and the same model.  What remains is "
            "how the first steps go.",
            "Print learning_rates(10, 1.0, 0.3).  How many steps does it take to the peak?",
            "int() cuts off the fraction: int(0.3) is 0.  What should it be applied to?",
        ),
        note=(
            "In the package, this is learning_rate_at in minibert/training/optimizer.py; "
            "test_the_rate_rises_then_falls_linearly is in tests/training/test_parts.py."
        ),
        broken=broken.learning_rates,
    )
)
