"""Learning a WordPiece vocabulary: start from characters, and repeatedly merge the most frequent pair of neighbours.

The algorithm is that of `tokenizers`' WordPieceTrainer: byte-pair encoding (Sennrich et al. 2016,
arXiv 1508.07909, algorithm 1) with the pieces spelled as BERT spells them: `##` before a piece that does not
begin a word.  (Google never published the trainer of BERT's own vocabulary.  Schuster and Nakajima 2012 choose
the pair whose merge raises the likelihood of a language model most; here the most frequent pair is chosen instead.)
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from minibert.text.normalisation import Normaliser
from minibert.text.slices import slices
from minibert.text.tokenizer import SPECIAL_TOKENS, check_text
from minibert.text.wordpiece import CONTINUATION, chunk_pattern, split_into_pieces, word_pattern

SLICE = 1 << 16  # a longer text is read in slices of about this many characters
MOST_CHUNKS = 4_000_000  # number of distinct chunks whose counts are kept at a time

Pair = tuple[int, int]  # the ids of two neighbouring pieces of a word


def learn_vocabulary(
    texts: Iterable[str],
    size: int,
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
    min_frequency: int = 2,
    limit_alphabet: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Learn a vocabulary of `size` entries from the texts: special tokens, characters, then merged pieces.

    texts: read once, so it may be a generator over a large corpus; only the counts of words are kept.
    lowercase, strip_accents, tokenize_chinese_chars: see Normaliser; the Tokenizer must be given the same.
    min_frequency: pairs rarer than this are not merged, so the vocabulary of a small corpus may stay below `size`.
    limit_alphabet: the number of characters to keep; the most frequent ones are kept.
    progress: called with (entries so far, size) after each merge.
    Raises ValueError if the texts hold no word, or if `size` is too small for the special tokens and characters.

    The same texts always give the same vocabulary: of pairs with the same count, the one whose first piece has
    the smallest id is merged first, and if the first pieces are equal, the one whose second piece has the smallest id.
    (`tokenizers` does the same, but numbers the characters spelled with `##` in the order of a hash map, which changes
    from run to run.)

    The example of Sennrich et al., with five, two, six and three copies of its words:

    >>> text = "low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3
    >>> learn_vocabulary([text], size=30)[-8:]
    ['##w', '##es', '##est', 'lo', 'low', 'ne', '##west', 'newest']
    """
    if isinstance(texts, str):
        raise TypeError("texts is a single str; pass a list of texts, such as [text]")
    words = count_words(texts, Normaliser(lowercase, strip_accents, tokenize_chinese_chars))
    return vocabulary_of(words, size, min_frequency=min_frequency, limit_alphabet=limit_alphabet, progress=progress)


def vocabulary_of(
    words: Counter[str],
    size: int,
    *,
    min_frequency: int = 2,
    limit_alphabet: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Learn a vocabulary from the counts of words that `count_words` returns; see learn_vocabulary."""
    if not words:
        raise ValueError("the texts contain no words to learn a vocabulary from; check that they are not empty")
    alphabet = most_frequent_characters(words, limit_alphabet)
    vocabulary = [*SPECIAL_TOKENS, *alphabet, *continuing_characters(words, alphabet)]
    if size < len(vocabulary):
        raise ValueError(
            f"a vocabulary of {size} is too small; special tokens and characters alone need {len(vocabulary)}; "
            "choose a larger size or a smaller limit_alphabet"
        )
    return merge_pairs(vocabulary, words, size, min_frequency, progress)


def count_words(texts: Iterable[str], normaliser: Normaliser) -> Counter[str]:
    """Count how often each word occurs, after normalisation.

    >>> count_words(["To be, or not to be"], Normaliser())
    Counter({'to': 2, 'be': 2, ',': 1, 'or': 1, 'not': 1})
    """
    chunks = Counter()  # chunks as written, since normalising each distinct one once is far quicker
    find_chunks = chunk_pattern().findall
    words = Counter()
    find_words = word_pattern().findall
    for text in texts:
        check_text(text)
        for part in slices(text, SLICE):
            chunks.update(find_chunks(part))
            if len(chunks) > MOST_CHUNKS:  # in Chinese, for example, chunks seldom recur
                _add_words(words, chunks, normaliser, find_words)
                chunks.clear()
    _add_words(words, chunks, normaliser, find_words)
    return words


def _add_words(words: Counter[str], chunks: Counter[str], normaliser: Normaliser, find_words: Callable) -> None:
    for chunk, count in chunks.items():
        for word in find_words(normaliser.normalise(chunk)[0]):
            words[word] += count


@dataclass(frozen=True)
class Coverage:
    """How much of a text a vocabulary covers."""

    unknown: float
    """Share of the text's tokens that are [UNK]."""
    outside: float
    """Share of the text's characters that are not in the vocabulary's alphabet."""
    characters: list[str]
    """The characters outside the alphabet, the most frequent one first."""


def coverage(words: Counter[str], vocabulary: Iterable[str]) -> Coverage:
    """How much of a text with these counts of words a vocabulary covers.

    >>> coverage(Counter({"ab": 3, "x": 1}), ["[UNK]", "a", "##b"])
    Coverage(unknown=0.14285714285714285, outside=0.14285714285714285, characters=['x'])
    """
    id_of = {piece: piece_id for piece_id, piece in enumerate(vocabulary)}
    longest = max(map(len, id_of))
    alphabet = {piece.removeprefix(CONTINUATION) for piece in id_of}
    tokens = unknown = 0
    counts = Counter()
    for word, count in words.items():
        pieces = split_into_pieces(word, id_of, longest)
        tokens += count * len(pieces or [word])
        unknown += count * (pieces is None)
        for character in word:
            counts[character] += count
    outside = Counter({character: count for character, count in counts.items() if character not in alphabet})
    return Coverage(
        unknown / max(tokens, 1),
        outside.total() / max(counts.total(), 1),
        [character for character, _ in outside.most_common()],
    )


def most_frequent_characters(words: Counter[str], limit: int) -> list[str]:
    """The `limit` most frequent characters (the smaller code point on a tie), sorted by code point."""
    counts = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    return sorted(sorted(counts, key=lambda character: (-counts[character], character))[:limit])


def continuing_characters(words: Iterable[str], alphabet: Iterable[str]) -> list[str]:
    """The characters of the alphabet that occur inside words, spelled with `##` and sorted by code point."""
    inside = {character for word in words for character in word[1:]}
    return [CONTINUATION + character for character in alphabet if character in inside]


def merge_pairs(
    vocabulary: list[str],
    words: Counter[str],
    size: int,
    min_frequency: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Repeatedly merge the most frequent pair into a new piece, until the vocabulary has `size` entries.

    vocabulary: special tokens and characters.  Characters that are not in it are left out of words.
    """
    vocabulary = list(vocabulary)
    id_of = {piece: piece_id for piece_id, piece in enumerate(vocabulary)}
    spelled = [spell(word, id_of) for word in words]  # each word as a list of piece ids
    counts = list(words.values())

    pair_counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # pair -> the words that may contain the pair
    for index, pieces in enumerate(spelled):
        for pair in zip(pieces, pieces[1:], strict=False):
            pair_counts[pair] += counts[index]
            where[pair].add(index)

    # A heap gives the largest count at once.  Counts change while their entries are in the heap, so an entry is checked
    # when it is popped, and pushed back with the current count if that has changed.
    heap = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(heap)
    while len(vocabulary) < size and heap:
        count, pair = heapq.heappop(heap)
        count = -count
        if count != pair_counts[pair]:
            if pair_counts[pair] > 0:
                heapq.heappush(heap, (-pair_counts[pair], pair))
            continue
        if count < min_frequency:
            break

        first, second = pair
        piece = vocabulary[first] + vocabulary[second].removeprefix(CONTINUATION)
        if piece not in id_of:  # two pairs may form the same piece: ##ab + ##c, and ##a + ##bc
            id_of[piece] = len(vocabulary)
            vocabulary.append(piece)

        grown: set[Pair] = set()
        for index in where.pop(pair):
            before = spelled[index]
            after = merge(before, pair, id_of[piece])
            for old in zip(before, before[1:], strict=False):
                pair_counts[old] -= counts[index]
            for new in zip(after, after[1:], strict=False):
                pair_counts[new] += counts[index]
                where[new].add(index)
                if id_of[piece] in new:
                    grown.add(new)
            spelled[index] = after
        for new in grown:
            heapq.heappush(heap, (-pair_counts[new], new))
        if progress:
            progress(len(vocabulary), size)
    return vocabulary


def spell(word: str, id_of: dict[str, int]) -> list[int]:
    """The ids of a word's known characters, with `##` before each character except the word's first."""
    pieces = [word[0], *(CONTINUATION + character for character in word[1:])]
    return [id_of[piece] for piece in pieces if piece in id_of]


def merge(pieces: list[int], pair: Pair, merged: int) -> list[int]:
    """Replace each occurrence of the pair with the merged piece, from left to right.

    >>> merge([1, 2, 1, 2, 3], pair=(1, 2), merged=9)
    [9, 9, 3]
    """
    result = []
    position = 0
    while position < len(pieces):
        if pieces[position] == pair[0] and tuple(pieces[position : position + 2]) == pair:
            result.append(merged)
            position += 2
        else:
            result.append(pieces[position])
            position += 1
    return result
