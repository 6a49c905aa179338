"""A cache of keys and values, so that a left-to-right model need not recompute them for each new token."""

import numpy as np

from minibert.base.arrays import Array
from minibert.ops.backend import Backend


class KeyValueCache:
    """The keys and values of one layer for all tokens of one sequence so far."""

    def __init__(self, backend: Backend, positions: int, width: int, dtype: np.dtype):
        """positions: the maximum number of tokens; width: H."""
        self.keys = backend.xp.zeros((positions, width), dtype=dtype)
        self.values = backend.xp.zeros((positions, width), dtype=dtype)
        self.length = 0
        """the number of tokens in the cache"""

    def append(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Add the keys and values [n, H] of n more tokens, and return those of all tokens so far, [N, H] each.

        Raises ValueError if the cache is too small for them.
        """
        end = self.length + len(keys)
        if end > len(self.keys):
            raise ValueError(f"the cache holds at most {len(self.keys)} tokens, got {end}")
        self.keys[self.length : end] = keys
        self.values[self.length : end] = values
        self.length = end
        return self.keys[:end], self.values[:end]
