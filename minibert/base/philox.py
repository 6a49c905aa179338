"""Philox4x32-10: random numbers that depend on *where* they are used, never on what was drawn before.

A counter-based generator is a function: it takes a key and a counter of four words, and returns four random words.
There is no state to save or to share.  Every random decision of minibert (dropout, masking, pairs, order) is a call
to that function with the key (seed, step) and a counter that says where the numbers are used:

    counter = (c0, c1, c2, c3)      c3 = the site (which use), c0..c2 = position, sequence number, ... at that site

so a decision does not depend on how a batch was split, in which order things ran, or what was run before.

Source: Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", sections 3.3 and 4.
cuRAND and Random123 call this generator philox4x32-10.  (NumPy's own Philox has words of 64 bits.)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # chosen by the authors so that few rounds mix well
WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the key from round to round: golden ratio, sqrt(3) - 1
LOW_WORD = 0xFFFFFFFF

# The c3 of each use, so that no two uses ever share a counter: dropout is below 2**31, data from 2**31 on.
DATA_SITES = 1 << 31
SITE_MASKING = DATA_SITES + 1  # which pieces are chosen, and what replaces them
SITE_ORDER = DATA_SITES + 2  # the order of the examples in an epoch
SITE_WINDOW = DATA_SITES + 3  # where the first window of an epoch starts
SITE_PAIR = DATA_SITES + 4  # whether a pair is short, where A ends, whether B is random, where a random B starts
SITE_POSITION = DATA_SITES + 6  # position of the first token of a short window

_BLOCK = 1 << 14  # counters mixed at a time; each has four words of 64 bits, and a block of them stays in the cache
_32 = np.uint64(32)


def philox4x32(key: Sequence[int], counter: Sequence[Any] | np.ndarray) -> tuple[Any, Any, Any, Any]:
    """Four random words for each counter.

    key (k0, k1): two integers >= 0, by convention (seed, step).  A key word has 32 bits: larger ones are
    taken modulo 2**32, so seeds that differ by a multiple of 2**32 give the same numbers.
    counter: four integers or integer arrays in 0 .. 2**32 - 1 that broadcast against each other, or one array
    whose last axis has length 4.  Larger values are taken modulo 2**32 as well.
    Returns four uint32 arrays of the broadcast shape.  Raises ValueError for a negative key.

    One round takes the four words (c0, c1, c2, c3) and two key words (k0, k1):

        high0, low0 = c0 * M0      the 64-bit product, cut in two: the high half depends on every bit of c0
        high1, low1 = c2 * M1
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0

    A round is invertible (as multiplication by an odd number is), so different counters never give the same
    output.  Ten rounds pass every known statistical test; seven already do.
    """
    k0, k1 = key_words(*key)
    if isinstance(counter, np.ndarray):
        counter = np.moveaxis(counter, -1, 0)
    if len(counter) != 4:
        raise ValueError(f"a Philox counter must have 4 words, got {len(counter)}")
    words = [np.asarray(word) for word in counter]
    shape = np.broadcast_shapes(*(word.shape for word in words))
    result = np.empty((4, *shape), np.uint32)
    for i, word in enumerate(words):
        np.copyto(result[i, ...], word, casting="unsafe")  # the counters, fully broadcast and reduced modulo 2**32

    flat = result.reshape(4, -1)
    for start in range(0, flat.shape[1], _BLOCK):
        block = flat[:, start : start + _BLOCK]
        block[:] = _mix(block.astype(np.uint64), k0, k1)
    return tuple(result)


def _mix(counters: np.ndarray, k0: int, k1: int) -> np.ndarray:
    """Apply the ten rounds in place to counters [4, n], whose 32-bit words are held in uint64 so that products fit."""
    c0, c1, c2, c3 = counters
    product0, product1 = np.empty((2, c0.size), np.uint64)
    for r in range(ROUNDS):
        np.multiply(c0, np.uint64(MULTIPLIERS[0]), out=product0)
        np.multiply(c2, np.uint64(MULTIPLIERS[1]), out=product1)
        # c0 = high(product1) ^ c1 ^ k0;  c2 = high(product0) ^ c3 ^ k1
        np.right_shift(product1, _32, out=c0)
        c0 ^= c1
        c0 ^= np.uint64((k0 + r * WEYL[0]) & LOW_WORD)
        np.right_shift(product0, _32, out=c2)
        c2 ^= c3
        c2 ^= np.uint64((k1 + r * WEYL[1]) & LOW_WORD)
        # c1 = low(product1);  c3 = low(product0)
        np.bitwise_and(product1, np.uint64(LOW_WORD), out=c1)
        np.bitwise_and(product0, np.uint64(LOW_WORD), out=c3)
    return counters


def key_words(seed: int, step: int) -> tuple[int, int]:
    """The key (seed, step) as two 32-bit words, each reduced modulo 2**32.  Raises ValueError if either is negative."""
    if seed < 0 or step < 0:
        raise ValueError(f"seed and step must be 0 or more, got seed {seed} and step {step}")
    return int(seed) & LOW_WORD, int(step) & LOW_WORD


def happens(words: np.ndarray, probability: float) -> np.ndarray:
    """A Boolean for each random word (uint32), True with the given probability, exact to 2**-32."""
    return words < np.uint64(round(probability * 2**32))


def integer_below(words: np.ndarray, limit: int | np.ndarray) -> np.ndarray:
    """An integer in 0 .. limit - 1 (as int64) for each random word (uint32); limit must be below 2**32.

    The result is the high half of the product word * limit.  This needs no division, and the probabilities of
    any two values differ by a relative amount of at most limit / 2**32.
    """
    return (np.asarray(words, np.uint64) * np.asarray(limit, np.uint64) >> np.uint64(32)).astype(np.int64)
