"""Compares results, and describes how a wrong one differs from the right one."""

import inspect
from typing import Any

import numpy as np

SAME = 1e-7  # relative: an answer this close to a mistake's results has made that mistake
NEARLY = 1e-4  # relative: a result this close to the right one is not a mistake in the formula


def distance(mine: Any, true: Any, least: float = 1e-30) -> float:
    """The largest difference, relative to the largest number, or to `least`; infinity if the two cannot be compared."""
    if not isinstance(mine, np.ndarray) or not isinstance(true, np.ndarray):
        return 0.0 if same_kind(mine, true) and mine == true else np.inf
    if mine.shape != true.shape:
        return np.inf
    if mine.size == 0:
        return 0.0
    mine, true = mine.astype(float), true.astype(float)
    if not np.array_equal(np.isfinite(mine), np.isfinite(true)):
        return np.inf
    finite = np.isfinite(true)
    if not np.array_equal(mine[~finite], true[~finite], equal_nan=True):
        return np.inf
    if not finite.any():
        return 0.0
    scale = max(np.abs(true[finite]).max(), np.abs(mine[finite]).max(), least)
    return float(np.abs(mine[finite] - true[finite]).max() / scale)


def same_kind(mine: Any, true: Any) -> bool:
    """Whether two results have the same type; all kinds of dictionaries count as one type."""
    return type(mine) is type(true) or (isinstance(mine, dict) and isinstance(true, dict))


def compare(mine: Any, true: Any) -> str:
    """Describes how a wrong result differs from the right one."""
    if not isinstance(mine, np.ndarray) or not isinstance(true, np.ndarray):
        if mine is None or mine is Ellipsis:
            return "is None: have you not computed it yet?"
        if inspect.isgenerator(mine) or inspect.iscoroutine(mine):
            return f"came out as a {type(mine).__name__}; write `def` and `return`, without `yield` or `async`"
        if is_of_another_type(mine, true):
            return f"has the right elements, but is a {type(mine).__name__}; return a {type(true).__name__}"
        if isinstance(mine, set | dict) and isinstance(true, np.ndarray):
            return f"came out as a {type(mine).__name__}; return an array, whose elements have an order"
        if isinstance(mine, dict) and isinstance(true, dict):
            return compare_items(mine, true)
        return f"came out as {shortened(mine)}; expected {shortened(true)}"
    if mine.shape != true.shape:
        transposed = " (transposed?)" if mine.shape == true.shape[::-1] and mine.ndim > 1 else ""
        return f"came out with the shape {list(mine.shape)}; expected {list(true.shape)}{transposed}"
    if not np.isfinite(mine.astype(float)).all() and np.isfinite(true.astype(float)).all():
        bad = "NaN" if np.isnan(mine.astype(float)).any() else "infinity"
        return f"came out with {bad}; is there a division by zero, or the exponential of a large number?"
    if mine.ndim == 2 and mine.shape[0] == mine.shape[1] and distance(mine.T, true) < SAME:
        return "came out transposed"
    if true.dtype.kind == "f" and distance(mine, true) < NEARLY:
        reasons = "is there an extra epsilon, a float32 computation, or a different step size?"
        return f"came out with a relative error of {distance(mine, true):.0e}: {reasons}"
    ratio = common_ratio(mine, true)
    if ratio is not None:
        sign = abs(ratio + 1) < 1e-6
        return (
            "came out with the wrong sign"
            if sign
            else f"came out {ratio:.6g} times as large as it should be, in every element"
        )
    difference = np.abs(mine.astype(float) - true.astype(float))
    position = np.unravel_index(np.argmax(difference), difference.shape)
    if mine.size == 1:
        return f"came out as {readable(mine[position])}; expected {readable(true[position])}"
    wrong = int(np.sum(difference > SAME * max(np.abs(true).max(), 1e-30)))
    share = "all elements differ" if wrong == mine.size else f"{wrong:,} of {mine.size:,} elements differ"
    where = [int(i) for i in position]
    return f"came out as {readable(mine[position])} at {where}; expected {readable(true[position])} ({share})"


def compare_items(mine: dict, true: dict) -> str:
    """The first entry in which two dictionaries differ."""
    for key, value in true.items():
        if key not in mine:
            return f"lacks the key {shortened(key)}; expected {shortened(value)} for it"
        if mine[key] != value:
            return f"has {shortened(mine[key])} for {shortened(key)}; expected {shortened(value)}"
    key = next(key for key in mine if key not in true)
    return f"has {shortened(mine[key])} for {shortened(key)}, which should not be there"


def is_of_another_type(mine: Any, true: Any) -> bool:
    """Whether a result has the right elements in another container, such as a list instead of a tuple or a set."""
    containers = list | tuple | set
    if not isinstance(mine, containers) or not isinstance(true, containers):
        return False
    try:
        return type(mine) is not type(true) and len(mine) == len(true) and type(true)(mine) == true
    except TypeError:  # a set of unhashable elements
        return False


def readable(value: float) -> str:
    """A readable number: integers in full."""
    return f"{int(value):,}" if np.isfinite(value) and value == int(value) else f"{value:.6g}"


def common_ratio(mine: np.ndarray, true: np.ndarray) -> float | None:
    """The factor by which all elements differ from the right result, if it is one number."""
    mine, true = mine.astype(float).ravel(), true.astype(float).ravel()
    large = np.abs(true) > 1e-6 * max(np.abs(true).max(initial=0), 1e-30)
    if large.sum() < 2:
        return None
    ratios = mine[large] / true[large]
    alike = np.ptp(ratios) < 1e-6 * max(abs(ratios[0]), 1e-30) and np.abs(mine[~large]).max(initial=0) < 1e-6
    return float(ratios[0]) if alike and abs(ratios[0]) > 1e-9 else None


def shortened(value: Any, longest: int = 70) -> str:
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
