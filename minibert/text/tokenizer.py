"""Text to token ids and back: BERT's tokenizer.

There are four steps: added tokens that occur in the text are set aside (added_tokens.py), the rest is normalised
(normalisation.py), the normalised text is cut into words, and each word is cut into pieces of the vocabulary
(wordpiece.py).  Special tokens are added tokens; added words, in contrast, are looked for in the normalised text.
Ids and offsets equal those of the `tokenizers` library's BERT tokenizer on every input.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minibert.text.added_tokens import AddedToken, AddedTokens
from minibert.text.normalisation import Normaliser
from minibert.text.wordpiece import CONTINUATION, MAX_WORD_LENGTH, chunk_pattern, split_into_pieces, word_pattern

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CACHE_LIMIT = 200_000  # how many distinct chunks of text have their tokens cached: some 100 MB at most,
_CACHED_LENGTH = 40  # since longer chunks (for example in Chinese, which has no spaces) seldom recur and are not cached
_WHOLE = re.compile("(?s).+")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Encoding:
    """One text, or a pair of texts, ready for the model.  All five lists have one entry for each token.

    ids: token ids.
    segment_ids: 0 for the first text, with its [CLS] and [SEP]; 1 for the second, with its [SEP].
    tokens: the tokens as the vocabulary spells them.
    offsets: (start, end) of the token's origin, the characters text[start:end] of the ORIGINAL text;
        (0, 0) for a [CLS] or [SEP] that was added.
    special_mask: 1 for a [CLS] or [SEP] that was added, else 0.
    """

    ids: list[int]
    segment_ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    special_mask: list[int]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Rules:
    """What the `tokenizers` library lets a BERT tokenizer do differently, and few do.

    clean_text: see Normaliser; continuation: the prefix of pieces that do not begin a word; max_word_length: the number
    of characters of a word above which it is unknown.
    """

    clean_text: bool = True
    continuation: str = CONTINUATION
    max_word_length: int = MAX_WORD_LENGTH


class Tokenizer:
    """BERT's WordPiece tokenizer.

    vocabulary: the tokens in the order of their ids; the special tokens must be among them, or among added_tokens.
    lowercase, strip_accents, tokenize_chinese_chars: see Normaliser.
    model_max_length: number of positions of the model; written to tokenizer_config.json, but not enforced.
    special_tokens: the five tokens that serve as [PAD], [UNK], [CLS], [SEP] and [MASK], in this order.
    extra_special_tokens: more tokens of the vocabulary that are never split when they occur in a text.
    added_tokens: all tokens that are never split, by default the special ones; those that are not in the vocabulary get
        the ids after it, and words are not split into them.
    rules: the settings of tokenizers that differ from BERT's own in more than the above.
    Raises ValueError if the vocabulary holds a token twice or lacks a special token.

    >>> tokenizer = Tokenizer([*SPECIAL_TOKENS, "un", "##aff", "##able", "!"])
    >>> encoding = tokenizer.encode("Unaffable!")
    >>> encoding.tokens
    ['[CLS]', 'un', '##aff', '##able', '!', '[SEP]']
    >>> encoding.offsets
    [(0, 0), (0, 2), (2, 5), (5, 9), (9, 10), (0, 0)]
    >>> tokenizer.decode(encoding.ids)
    'unaffable!'
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        model_max_length: int = 512,
        special_tokens: Sequence[str] = SPECIAL_TOKENS,
        extra_special_tokens: Sequence[str] = (),
        added_tokens: Sequence[AddedToken] | None = None,
        rules: Rules | None = None,
    ):
        self.special_tokens = tuple(special_tokens)
        self.extra_special_tokens = tuple(extra_special_tokens)
        special = dict.fromkeys((*special_tokens, *extra_special_tokens))
        self.added_tokens = tuple(
            [AddedToken(s, special=True) for s in special] if added_tokens is None else added_tokens
        )
        # piece -> id; words are not split into tokens that were appended to the vocabulary
        self.pieces = {token: token_id for token_id, token in enumerate(vocabulary)}
        appended = [] if added_tokens is None else [t.content for t in added_tokens if t.content not in self.pieces]
        self.vocabulary = [*vocabulary, *dict.fromkeys(appended)]
        self.id_of = {token: token_id for token_id, token in enumerate(self.vocabulary)}
        _check_vocabulary(self.vocabulary, self.id_of, list(special))
        self.rules = rules or Rules()
        self.normaliser = Normaliser(lowercase, strip_accents, tokenize_chinese_chars, self.rules.clean_text)
        self.model_max_length = model_max_length
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            self.id_of[token] for token in special_tokens
        )
        special |= dict.fromkeys(token.content for token in self.added_tokens if token.special)
        self.special_ids = tuple(sorted(self.id_of[token] for token in special))
        # [V] bool: True if the piece continues a word, for whole-word masking
        prefix = self.rules.continuation
        self.continuation = np.array([bool(prefix) and token.startswith(prefix) for token in self.vocabulary])

        self._longest = max(map(len, self.vocabulary))
        self._letters = {} if self.rules.max_word_length == 0 else self.pieces
        self._in_text, self._in_normalised = self._find_added_tokens()
        self._words = word_pattern()
        self._chunks = chunk_pattern(self.rules.clean_text) if self._in_normalised.within_chunks else _WHOLE
        # chunk (text between white space) -> token ids, and the tokens' offsets in the chunk
        self._known: dict[str, tuple[tuple[int, ...], tuple[tuple[int, int], ...]]] = {}

    def _find_added_tokens(self) -> tuple[AddedTokens, AddedTokens]:
        """The added tokens to look for in a text as given, and those to look for in the normalised text."""
        in_text: dict[str, tuple[int, AddedToken]] = {}
        in_normalised: dict[str, tuple[int, AddedToken]] = {}
        for token in self.added_tokens:
            found = self.id_of[token.content], token
            if not token.normalized:
                in_text[token.content] = found
                continue
            content = self.normaliser.normalise(token.content)[0]
            if not content:
                raise ValueError(f"nothing is left of the added token {token.content!r} when it is normalised")
            if content in in_normalised:  # tokenizers takes one of them, and not the same in every process
                other = in_normalised[content][1].content
                raise ValueError(
                    f"the added tokens {other!r} and {token.content!r} are the same text once normalised, {content!r}; "
                    "remove one of them"
                )
            in_normalised[content] = found
        return AddedTokens(in_text), AddedTokens(in_normalised)

    def __len__(self) -> int:
        return len(self.vocabulary)

    @property
    def lowercase(self) -> bool:
        return self.normaliser.lowercase

    def encode(self, text: str, pair: str | None = None, max_length: int | None = None) -> Encoding:
        """Encode a text as [CLS] text [SEP], or a pair as [CLS] text [SEP] pair [SEP].

        max_length: the maximum number of tokens, including special tokens; the longer text of a pair is truncated
        first, at its end.  None: nothing is truncated.
        Raises ValueError if a text holds a lone surrogate, or if max_length is too small for the special tokens.
        """
        first = self._tokenize(text)
        second = None if pair is None else self._tokenize(pair)
        if max_length is not None:
            n_special = 2 if pair is None else 3
            if max_length < n_special:
                raise ValueError(
                    f"max_length {max_length} is too small; expected at least {n_special} for [CLS] and [SEP]"
                )
            keep_first, keep_second = longest_first(
                len(first), 0 if second is None else len(second), max_length - n_special
            )
            first = first[:keep_first]
            second = None if second is None else second[:keep_second]

        cls, sep = (self.cls_id, (0, 0)), (self.sep_id, (0, 0))
        tokens = [cls, *first, sep]
        special_mask = [1, *[0] * len(first), 1]
        segment_ids = [0] * len(tokens)
        if second is not None:
            tokens += [*second, sep]
            special_mask += [*[0] * len(second), 1]
            segment_ids += [1] * (len(second) + 1)
        ids = [token_id for token_id, _ in tokens]
        return Encoding(
            ids=ids,
            segment_ids=segment_ids,
            tokens=[self.vocabulary[token_id] for token_id in ids],
            offsets=[offsets for _, offsets in tokens],
            special_mask=special_mask,
        )

    def token_of(self, token_id: int) -> str:
        """The token with an id; "" for an id after the vocabulary, as a model's table may have more rows."""
        return self.vocabulary[token_id] if token_id < len(self.vocabulary) else ""

    def tokenize_ids(self, text: str) -> list[int]:
        """The token ids of a text without [CLS] and [SEP]: the fast path for large corpora."""
        check_text(text)
        ids = []
        known = self._known
        for start, end, added_id in self._in_text.split(text):
            if added_id is not None:
                ids.append(added_id)
                continue
            for chunk in self._chunks.findall(text, start, end):
                found = known.get(chunk)
                ids += found[0] if found else self._tokenize_chunk(chunk)[0]
        return ids

    def _tokenize(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """The (id, (start, end)) of each token of a text."""
        check_text(text)
        tokens = []
        for part, stop, added_id in self._in_text.split(text):
            if added_id is not None:
                tokens.append((added_id, (part, stop)))
                continue
            for match in self._chunks.finditer(text, part, stop):
                base = match.start()
                ids, spans = self._tokenize_chunk(match[0])
                tokens += [
                    (token_id, (base + start, base + end)) for token_id, (start, end) in zip(ids, spans, strict=True)
                ]
        return tokens

    def _tokenize_chunk(self, chunk: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        """The ids and offsets of the tokens of a chunk, a piece of text without white space.

        The tokens of a chunk do not depend on what surrounds it, so they are computed once and cached.
        """
        found = self._known.get(chunk)
        if found is not None:
            return found
        ids, spans = [], []
        normalised, origins = self.normaliser.normalise(chunk)
        for part, stop, added_id in self._in_normalised.split(normalised):
            if added_id is not None:
                ids.append(added_id)
                spans.append((origins[part], origins[stop - 1] + 1))
                continue
            for match in self._words.finditer(normalised, part, stop):
                word, begin = match[0], match.start()
                if len(word) == 1:  # punctuation and Chinese: a piece or unknown
                    ids.append(self._letters.get(word, self.unk_id))
                    spans.append((origins[begin], origins[begin] + 1))
                    continue
                for piece_id, start, end in self._pieces_of(word):
                    ids.append(piece_id)
                    spans.append((origins[begin + start], origins[begin + end - 1] + 1))
        if len(self._known) >= _CACHE_LIMIT:
            self._known.clear()
        found = tuple(ids), tuple(spans)  # unlike lists, tuples are soon no longer tracked by the garbage collector
        if len(chunk) <= _CACHED_LENGTH:
            self._known[chunk] = found
        return found

    def _pieces_of(self, word: str) -> list[tuple[int, int, int]]:
        """The (id, start, end) of the pieces of a word, or of the word as one unknown token."""
        rules = self.rules
        pieces = split_into_pieces(
            word,
            self.pieces,
            self._longest,
            continuation=rules.continuation,
            max_word_length=rules.max_word_length,
        )
        return pieces or [(self.unk_id, 0, len(word))]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Convert token ids to text: join pieces into words and words with spaces, except before `.`, `,`, `!` and `?`.

        Case, accents and the exact white space are lost.  Raises ValueError for an id outside the vocabulary.
        """
        ids = [int(token_id) for token_id in ids]
        if skip_special_tokens:
            ids = [token_id for token_id in ids if token_id not in self.special_ids]
        text, prefix = "", self.rules.continuation
        for position, token_id in enumerate(ids):
            if not 0 <= token_id < len(self.vocabulary):
                raise ValueError(
                    f"token id {token_id} is outside the vocabulary; expected 0 to {len(self.vocabulary) - 1}"
                )
            token = self.vocabulary[token_id]
            if position > 0:
                token = token.removeprefix(prefix) if prefix and token.startswith(prefix) else f" {token}"
            for apart, together in _CLEAN_UP:
                token = token.replace(apart, together)
            text += token
        return text

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """Load the tokenizer of a minibert or transformers model folder; see minibert.text.files.load_tokenizer."""
        from minibert.text.files import load_tokenizer

        return load_tokenizer(folder)

    def save(self, folder: str | Path) -> None:
        """Write vocab.txt and tokenizer_config.json; see minibert.text.files.save_tokenizer."""
        from minibert.text.files import save_tokenizer

        save_tokenizer(self, folder)


# The replacements that `tokenizers`' WordPiece decoder makes in each token after the first
_CLEAN_UP = [(" " + mark, mark) for mark in (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")]


def longest_first(first: int, second: int, budget: int) -> tuple[int, int]:
    """The number of tokens that each of two texts keeps if the longer is cut first: transformers' "longest_first".

    If both have to be truncated, the shorter text gets the smaller half of the budget (on a tie, the first text does).

    >>> longest_first(10, 4, 12), longest_first(10, 9, 7), longest_first(9, 10, 7), longest_first(3, 2, 9)
    ((8, 4), (4, 3), (3, 4), (3, 2))
    """
    if first + second <= budget:
        return first, second
    shorter, longer = min(first, second), budget - min(first, second)
    if shorter > longer:
        shorter, longer = budget // 2, budget - budget // 2
    return (longer, shorter) if first > second else (shorter, longer)


def check_text(text: str) -> None:
    """Raise TypeError if text is not a string, ValueError if it contains half of a surrogate pair."""
    if not isinstance(text, str):
        raise TypeError(f"expected text as a str, got {type(text).__name__}")
    if text.isascii():
        return
    lone = _SURROGATE.search(text)
    if lone:
        raise ValueError(
            f"lone surrogate U+{ord(lone[0]):04X} at position {lone.start()}: this is not valid Unicode text; "
            "read it again with the right encoding, or drop the surrogate with text.encode('utf-8', 'ignore').decode()"
        )


def _check_vocabulary(vocabulary: Sequence[str], id_of: dict[str, int], special_tokens: Sequence[str]) -> None:
    if not vocabulary:
        raise ValueError("the vocabulary is empty; learn one with minibert.text.learn_vocabulary")
    if len(id_of) < len(vocabulary):
        second = next(i for i, token in enumerate(vocabulary) if id_of[token] != i)
        token = vocabulary[second]
        raise ValueError(f"the vocabulary contains {token!r} twice, as ids {second} and {id_of[token]}")
    missing = [token for token in special_tokens if token not in id_of]
    if missing:
        raise ValueError(f"the vocabulary lacks the special tokens {', '.join(missing)}, which BERT requires")
