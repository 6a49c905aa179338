"""Arrays that remember which of their rows an answer took, so that a check can count what an exercise is about."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MEASURES = (np.shape, np.size, np.ndim, np.zeros_like, np.ones_like, np.empty_like)  # these read no element
CHANGED = "your function changes its arguments; work on a copy"
SPLITS = (np.split, np.array_split, np.vsplit)


@dataclass
class Log:
    """What was taken from several Rows, in order: (name of the array, numbers of the rows)."""

    taken: list[tuple[str, frozenset[int]]] = field(default_factory=list)


class Rows(np.lib.mixins.NDArrayOperatorsMixin):
    """An array [N, D] that behaves as NumPy's own, and notes in a log which rows each use of it takes.

    A slice or an element is an ordinary array, a copy.  A use of the whole, such as rows @ x or np.array(rows), takes
    all rows at once.  Its transpose and the parts that np.split gives are Rows again.

    name     the name under which the log lists them
    array    [N, D]
    numbers  like array: the number of each element's row
    """

    def __init__(self, name: str, array: np.ndarray, log: Log, numbers: np.ndarray | None = None) -> None:
        self.name, self.array, self.log = name, array, log
        self.numbers = np.broadcast_to(np.arange(len(array))[:, None], array.shape) if numbers is None else numbers
        self.shape, self.ndim, self.size, self.dtype = array.shape, array.ndim, array.size, array.dtype

    def take(self, numbers: np.ndarray) -> None:
        self.log.taken.append((self.name, frozenset(np.unique(numbers).tolist())))

    def whole(self) -> np.ndarray:
        """An ordinary copy of all of it."""
        self.take(self.numbers)
        return self.array.copy()

    @property
    def T(self) -> "Rows":
        return Rows(self.name, self.array.T, self.log, self.numbers.T)

    def __repr__(self) -> str:
        return repr(self.array)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        part = self.array[index]
        self.take(self.numbers[index])
        return np.copy(part) if isinstance(part, np.ndarray) else part

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ValueError(CHANGED)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.whole().astype(dtype or self.dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options:
            raise ValueError(CHANGED)
        return getattr(ufunc, method)(*plain(inputs), **options)

    def __array_function__(self, function: Callable, types: Any, arguments: tuple, options: dict) -> Any:
        if function in MEASURES:
            return function(self.array, *arguments[1:], **options)
        if function in SPLITS and arguments[0] is self:
            parts = zip(*(function(x, *arguments[1:], **options) for x in (self.array, self.numbers)), strict=True)
            return [Rows(self.name, array, self.log, numbers) for array, numbers in parts]
        return function(*plain(arguments), **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.whole(), name)


def plain(arguments: Any) -> Any:
    """Arguments, in tuples and lists, with ordinary arrays in place of Rows."""
    if isinstance(arguments, Rows):
        return arguments.whole()
    if isinstance(arguments, tuple | list):
        return type(arguments)(plain(argument) for argument in arguments)
    return arguments


def about_tiles(arguments: Sequence) -> str | None:
    """What a function (query, keys, values, tile) did other than to take `tile` keys at a time, and each one once."""
    _, keys, values, tile = arguments
    rounds = rounds_of(keys.log)
    of_keys = [used for name, used in rounds if name == keys.name]
    if len(of_keys) > 1 and of_keys[0] < of_keys[1]:
        del of_keys[0]  # a look at the first key, such as len(key[0])
    passes = max(Counter(number for used in of_keys for number in used).values(), default=0)
    if passes > 1:
        return (
            f"The context is right, but you go over the keys {passes} times.  The online softmax reads each tile of "
            "them once, and corrects its sums when a higher score arrives."
        )
    count, size = max((len(used) for _, used in rounds), default=0), min(tile, len(keys))
    if count != size:
        return (
            f"The context is right, but you take {count} of {len(keys)} keys at a time.  Take `tile` of them, here "
            f"{size}, with a slice such as key[first : first + tile], and use their values before you go on."
        )
    return None


def rounds_of(log: Log) -> list[tuple[str, frozenset[int]]]:
    """What was taken, with all that was taken from one array before another one put together."""
    rounds: list[tuple[str, frozenset[int]]] = []
    for name, used in log.taken:
        if rounds and rounds[-1][0] == name:
            rounds[-1] = (name, rounds[-1][1] | used)
        else:
            rounds.append((name, used))
    return rounds
