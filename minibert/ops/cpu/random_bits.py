"""The Philox4x32-10 random number generator for kernels; it returns the same bits as minibert.base.philox.

See minibert.base.philox for the algorithm.  The 32-bit words are held in 64-bit integers, so that their products fit;
a 256-bit vector then holds four of them.
"""

import numpy as np

from minibert.base.philox import LOW_WORD, MULTIPLIERS, ROUNDS, WEYL
from minibert.ops.cpu.compiler import inlined

LOW, HALF_WORD = np.uint64(LOW_WORD), np.uint64(32)
FIRST_MULTIPLIER, SECOND_MULTIPLIER = (np.uint64(m) for m in MULTIPLIERS)
FIRST_WEYL, SECOND_WEYL = (np.uint64(w) for w in WEYL)


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """Return four random 32-bit words for a counter (c0 to c3) and a key (k0, k1), all held in uint64."""
    for _ in range(ROUNDS):
        product0, product1 = c0 * FIRST_MULTIPLIER, c2 * SECOND_MULTIPLIER
        c0 = (product1 >> HALF_WORD) ^ c1 ^ k0
        c2 = (product0 >> HALF_WORD) ^ c3 ^ k1
        c1, c3 = product1 & LOW, product0 & LOW
        k0, k1 = (k0 + FIRST_WEYL) & LOW, (k1 + SECOND_WEYL) & LOW
    return c0, c1, c2, c3


@inlined
def row_bits(key, site, sequence, position, features, words):
    """The sixteen bits that decide on dropout for each feature of a row: uint16 [8 * groups], a view of `words`.

    key: uint64 [2]; words: uint32 [4 * groups], overwritten.  There are groups = ceil(features / 8) groups of eight
    features, each of which takes one call of Philox.
    """
    k0, k1, c1, c2, c3 = key[0], key[1], np.uint64(position), np.uint64(sequence), np.uint64(site)
    for group in range((features + 7) // 8):
        w0, w1, w2, w3 = philox(np.uint64(group), c1, c2, c3, k0, k1)
        words[4 * group] = w0
        words[4 * group + 1] = w1
        words[4 * group + 2] = w2
        words[4 * group + 3] = w3
    return words.view(np.uint16)
