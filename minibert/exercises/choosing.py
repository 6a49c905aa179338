"""Exercise of lesson 6: which tokens are to be predicted."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add


def choose_tokens(special: np.ndarray, continues: np.ndarray, dice: np.ndarray, rate: float) -> np.ndarray:
    """special, continues bool [N]: is a token [CLS], [SEP] or the like; does it continue the word before it?

    dice [N], 0 .. 1.  A word is chosen, with all its pieces, if the die of its first piece is below rate.
    Returns bool [N].
    """
    first = np.maximum.accumulate(np.where(continues, 0, np.arange(len(dice))))  # [N], of each token's word
    return (dice[first] < rate) & ~special


def choose_with(decides: Callable) -> Callable:
    """choose_tokens with another rule: decides(dice of a word [pieces], rate) -> bool, or bool [pieces]."""

    def wrong(special, continues, dice, rate):
        chosen = np.zeros(len(dice), bool)
        begins = np.flatnonzero(~continues)
        for begin, end in zip(begins, [*begins[1:], len(dice)], strict=True):
            chosen[begin:end] = decides(dice[begin:end], rate)
        return chosen & ~special

    return wrong


def special_too(special: np.ndarray, continues: np.ndarray, dice: np.ndarray, rate: float) -> np.ndarray:
    return choose_tokens(np.zeros_like(special), continues, dice, rate)


def the_lowest(special: np.ndarray, continues: np.ndarray, dice: np.ndarray, rate: float) -> np.ndarray:
    chosen = np.zeros(len(dice), bool)
    ordinary = np.flatnonzero(~special)
    chosen[ordinary[np.argsort(dice[ordinary])[: round(rate * len(ordinary))]]] = True
    return chosen


def only_first_pieces(decided: np.ndarray, rate: float) -> np.ndarray:
    return (decided < rate) & (np.arange(len(decided)) == 0)


def choosing_tries() -> Iterator[Try]:
    for seed, (what, tokens, rate) in enumerate((("40 tokens", 40, 0.3), ("300 tokens", 300, 0.15), ("all", 12, 1.0))):
        r = np.random.default_rng(30 + seed)
        special = np.isin(np.arange(tokens), (0, tokens // 2, tokens - 1))
        continues = (r.random(tokens) < 0.4) & ~special & ~np.roll(special, 1)
        yield Try(what, (special, continues, r.random(tokens), rate))
    special, continues = np.array([True, False, False, True]), np.array([False, False, True, False])
    yield Try("a die of exactly the rate", (special, continues, np.array([0.0, 0.25, 0.0, 0.5]), 0.25))
    none = np.zeros(3, bool)
    yield Try("a word at the beginning", (none, np.array([False, True, False]), np.array([0.1, 0.9, 0.7]), 0.5))
    yield Try("words of one piece", (special, np.zeros(4, bool), np.array([0.1, 0.9, 0.1, 0.1]), 0.15))


add(
    Exercise(
        "choose_tokens",
        6,
        "which tokens to predict: whole words, never a special token",
        choose_tokens,
        choosing_tries,
        outputs=("which are chosen",),
        mistakes=(
            Mistake(
                "[CLS] and [SEP] are never chosen: there is nothing to learn from predicting them.",
                special_too,
            ),
            Mistake(
                "Each piece is chosen by its own die, so a word may be hidden in part, and the rest gives it away.  "
                "The die of its *first* piece decides for the whole word.",
                choose_with(lambda dice, rate: dice < rate),
            ),
            Mistake(
                "A word is chosen if *any* of its dice is below the rate, so long words are chosen more often.  Only "
                "the die of the first piece decides.",
                choose_with(lambda dice, rate: dice.min() < rate),
            ),
            Mistake(
                "Only first pieces are chosen: the pieces that continue a chosen word are chosen with it.",
                choose_with(only_first_pieces),
            ),
            Mistake(
                "A die of exactly the rate does not choose its word: it has to be *below* the rate.",
                choose_with(lambda dice, rate: dice[0] <= rate),
            ),
            Mistake(
                "The die of the *first* piece of a word decides, not that of its last.",
                choose_with(lambda dice, rate: dice[-1] < rate),
            ),
            Mistake(
                "You choose a fixed number of tokens.  Each word is chosen or passed over by its own die, so their "
                "number varies.",
                the_lowest,
            ),
        ),
        hints=(
            "For each token, find the position of the first piece of its word: its own, if it does not continue a "
            "word, else that of the token before it.",
            "np.maximum.accumulate(np.where(continues, 0, np.arange(N))) gives these positions.",
            "A token is chosen if the die at that position is below rate, and it is not special.",
        ),
        note="In the package, this is in minibert/data/masking.py; whole words are the option --whole-word.",
    )
)
