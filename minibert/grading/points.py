"""How many points each exercise has: two, unless it is short or long; a teacher's file can say otherwise."""

import json
from collections.abc import Sequence
from pathlib import Path

from minibert.exercises import EXERCISES, find

USUAL = 2
POINTS = {
    **dict.fromkeys(
        (
            "count_pairs", "positions_of", "scatter_add", "layer_parameters", "uncertainty", "pieces",
            "label_first_pieces", "masked_loss", "scale",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "longest_match", "layernorm_backward", "softmax_backward", "attend_backward", "multi_head", "adamw_step",
            "best_span", "find_entities", "row_sums", "online_attention", "flash_d_scores", "choose_tokens",
            "flash_key", "pool_padded", "replace_tokens", *(f"run_{number}" for number in range(1, 11)),
        ),
        3,
    ),
    **dict.fromkeys(("encoder_layer", "training_step", "layernorm_kernel", "tiled_product", "flash_kernel"), 4),
    "encoder_layer_backward": 6,
}  # fmt: skip


def points_of(path: Path | None = None) -> dict[str, float]:
    """Exercise -> points, with a teacher's changes from a JSON file such as {"softmax": 4}.

    Raises ValueError for a file that is not of this form, and OSError if it cannot be read.
    """
    points: dict[str, float] = {name: POINTS.get(name, USUAL) for name in EXERCISES}
    if path is None:
        return points
    try:
        changes = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error}); expected points such as {{"softmax": 4}}') from None
    if not isinstance(changes, dict):
        raise ValueError(f'{path} has a {type(changes).__name__}; expected points such as {{"softmax": 4}}')
    for name, number in changes.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e6:
            raise ValueError(f"{path}: the points of {name[:40]!r} are {number!r}; expected a number, 0 or more")
        points[find(name).name] = number
    return points


def chosen(words: Sequence[str]) -> list[str]:
    """The exercises that are named, by their names or by the numbers of their lessons, in the order of the course.

    Raises ValueError for a name or number that is none.
    """
    names = set()
    for word in words:
        number = str(int(word)) if word.isdecimal() else word  # 03 is lesson 3
        of_lesson = [name for name, one in EXERCISES.items() if str(one.lesson) == number]
        if word.isdecimal() and not of_lesson:
            raise ValueError(f"lesson {number} has no exercises")
        names |= set(of_lesson or [find(word).name])
    return [name for name in EXERCISES if name in names]
