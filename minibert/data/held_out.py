"""Held-out documents, which are set aside before training to measure a model on text that it has never seen.

The choice must not depend on anything that changes between runs: not on the seed, the order of files, or what
else is in the corpus.  A hash of a group's name therefore decides: the group is held out when the hash falls in the
lowest `share` of all possible hashes.
"""

import hashlib

import numpy as np

HELD_OUT_SHARE = 0.05
LARGEST_SHARE = 0.25  # share of the tokens; groups that would take more than this are not held out
GOLDEN_RATIO = 0x9E3779B97F4A7C15  # this number times 2**-64 is (sqrt(5) - 1) / 2
FEWEST_DOCUMENTS = 2  # number of documents to hold out if possible, because a random pair needs another document


def stable_hash(name: str) -> int:
    """A 64-bit hash of the name alone, the same on every machine (Python's own hash differs from run to run).

    A name that is a number, such as a year, is multiplied by the golden ratio (Knuth, volume 3, section 6.4), which
    spreads consecutive numbers evenly, so that the held-out years come from all periods.  Other names: SHA-256.
    """
    if name.isascii() and name.isdecimal():
        return int(name) * GOLDEN_RATIO % 2**64
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "little")


def held_out_documents(
    group_hashes: np.ndarray, name_hashes: np.ndarray, token_counts: np.ndarray, share: float = HELD_OUT_SHARE
) -> np.ndarray:
    """The mask, bool [documents], of the documents that are held out.

    group_hashes, name_hashes: uint64 [documents], stable_hash of each document's group and name;
    token_counts: int [documents].  Whole groups are held out.  If there are few groups and none falls below
    the share, the groups with the lowest hashes are taken; if every group is too large (for example one text file),
    single documents are held out.  Raises ValueError when there are fewer than two documents.
    """
    if not 0 < share < 1:
        raise ValueError(f"the held-out share must be between 0 and 1, got {share}")
    if len(token_counts) < 2:
        raise ValueError(
            f"the corpus has {len(token_counts)} document; expected at least 2, as one is held out; "
            "in a text file, separate documents with blank lines"
        )
    for hashes in (group_hashes, name_hashes):
        held_out = _lowest(np.asarray(hashes, np.uint64), np.asarray(token_counts), share)
        if held_out.any():
            return held_out
    return np.arange(len(token_counts)) == np.argmin(token_counts)


def split_documents(
    hashes: np.ndarray, token_counts: np.ndarray, share: float = HELD_OUT_SHARE, tune: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the documents to train on and of those to evaluate on, int64 each.

    hashes: uint64 [documents, 2], those of each document's group and name; token_counts: int [documents].
    tune: evaluate on documents that would otherwise be trained on, about as many as are held out, and use the held-out
    ones for nothing.  Raises ValueError if there are too few documents.
    """
    held_out = held_out_documents(hashes[:, 0], hashes[:, 1], token_counts, share)
    rest, evaluated_on = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if not tune:
        return rest, evaluated_on
    if len(rest) < 2:
        raise ValueError("the corpus is too small to set documents aside for --tune; omit it")
    shifted = hashes[rest] - np.uint64(share * 2.0**64)  # modulo 2**64: the next lowest share becomes the lowest
    set_aside = held_out_documents(shifted[:, 0], shifted[:, 1], token_counts[rest], share)
    return rest[~set_aside], rest[set_aside]


def _lowest(hashes: np.ndarray, token_counts: np.ndarray, share: float) -> np.ndarray:
    """The mask of documents with hashes below the share, or with the lowest hashes if those are fewer than two."""
    keys, group_of = np.unique(hashes, return_inverse=True)  # [groups] ascending, [documents]
    tokens = np.bincount(group_of, weights=token_counts)  # [groups]
    documents = np.bincount(group_of)  # [groups]
    budget = LARGEST_SHARE * tokens.sum()
    chosen, chosen_documents = np.zeros(len(keys), bool), 0
    for group, key in enumerate(keys):
        if key >= share * 2.0**64 and chosen_documents >= FEWEST_DOCUMENTS:
            break
        if tokens[group] <= budget:
            chosen[group] = True
            budget -= tokens[group]
            chosen_documents += documents[group]
    return chosen[group_of]
