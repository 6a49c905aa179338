"""The arithmetic and comparison operators of emulated device arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np


class Operators:
    """Mixin that implements the operators by calling the subclass's `_combine(function, *operands, out)`."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # arrays are mutable
    _combine: Callable[..., Any]

    def __add__(self, other: Any) -> Any:
        return self._combine(np.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return self._combine(np.add, other, self)

    def __iadd__(self, other: Any) -> Any:
        return self._combine(np.add, self, other, out=self)

    def __sub__(self, other: Any) -> Any:
        return self._combine(np.subtract, self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._combine(np.subtract, other, self)

    def __isub__(self, other: Any) -> Any:
        return self._combine(np.subtract, self, other, out=self)

    def __mul__(self, other: Any) -> Any:
        return self._combine(np.multiply, self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._combine(np.multiply, other, self)

    def __imul__(self, other: Any) -> Any:
        return self._combine(np.multiply, self, other, out=self)

    def __truediv__(self, other: Any) -> Any:
        return self._combine(np.true_divide, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._combine(np.true_divide, other, self)

    def __itruediv__(self, other: Any) -> Any:
        return self._combine(np.true_divide, self, other, out=self)

    def __pow__(self, other: Any) -> Any:
        return self._combine(np.power, self, other)

    def __neg__(self) -> Any:
        return self._combine(np.negative, self)

    def __abs__(self) -> Any:
        return self._combine(np.absolute, self)

    def __eq__(self, other: Any) -> Any:
        return self._combine(np.equal, self, other)

    def __ne__(self, other: Any) -> Any:
        return self._combine(np.not_equal, self, other)

    def __lt__(self, other: Any) -> Any:
        return self._combine(np.less, self, other)

    def __le__(self, other: Any) -> Any:
        return self._combine(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Any:
        return self._combine(np.greater, self, other)

    def __ge__(self, other: Any) -> Any:
        return self._combine(np.greater_equal, self, other)
