"""Project 2, run 10: the vocabulary."""

from collections.abc import Callable, Iterable, Iterator

from minibert.exercises import broken
from minibert.exercises.broken import PROJECT
from minibert.exercises.exercise import Exercise, Mistake, Try, add

# ---------------------------------------------------------------------------------------------------- run 10


def encode(text: str, vocabulary: dict) -> list:
    """The ids of a text's word pieces.

    text: words and spaces; vocabulary: piece -> id, with [UNK] and other pieces in brackets.
    If the vocabulary has no capital letters, the text is lower-cased; otherwise it is not.
    """
    ordinary = [piece for piece in vocabulary if not (piece.startswith("[") and piece.endswith("]"))]
    cased = any(piece != piece.lower() for piece in ordinary)
    ids = []
    for word in (text if cased else text.lower()).split():
        pieces, begin = [], 0
        while begin < len(word):
            end, mark = len(word), "##" if begin else ""
            while end > begin and mark + word[begin:end] not in vocabulary:
                end -= 1
            if end == begin:  # nothing fits: the whole word is unknown
                pieces = ["[UNK]"]
                break
            pieces.append(mark + word[begin:end])
            begin = end
        ids += [vocabulary[piece] for piece in pieces]
    return ids


def encoded_if(cased: Callable) -> Callable:
    """encode with another test: vocabulary -> whether it is cased."""

    def wrong(text, vocabulary):
        return encode_as_given(text if cased(vocabulary) else text.lower(), vocabulary)

    return wrong


def encode_as_given(text: str, vocabulary: dict) -> list:
    """encode without a change of the text."""
    return encode(text, vocabulary | {"##X": -1})


def encoded_word_by_word(text: str, vocabulary: dict) -> list:
    """Each word as it is if the vocabulary has it, and otherwise lower-cased."""
    found = []
    for word in text.split():
        ids = encode_as_given(word, vocabulary)
        found += encode_as_given(word.lower(), vocabulary) if vocabulary["[UNK]"] in ids else ids
    return found


def is_lower(vocabulary: Iterable[str]) -> bool:
    """Whether no ordinary piece has a capital letter."""
    return all(piece == piece.lower() for piece in vocabulary if piece[0] + piece[-1] != "[]")


def casing_tries() -> Iterator[Try]:
    def case(what: str, pieces: str, text: str) -> Try:
        return Try(what, (text, {piece: number for number, piece in enumerate(pieces.split())}))

    special = "[PAD] [UNK] [CLS] [SEP] [MASK] "
    lower = "the state of union ##s s ##tate a ##b president"
    yield case("a lower-case vocabulary and a text with capitals", special + lower, "The President of the States")
    yield case("a cased vocabulary", special + lower + " The State Union", "The Union of the States THE President")
    yield case("special pieces at the end", lower + " [UNK] [CLS] [SEP]", "The ab Union xyz")
    yield case("a cased vocabulary whose only capitals continue words", special + lower + " ##B", "aB ab The AB")
    yield case("a capital after a bracket", special + lower + " [B", "The [B president")
    yield case("a capital before a bracket", special + lower + " B]", "The B] president")
    yield case("a bracket that is a piece", special + "[ ] the [the", "The [ The ]")


add(
    Exercise(
        "run_10",
        PROJECT,
        "run 10: fast at first, then too slow",
        encode,
        casing_tries,
        outputs=("the ids",),
        mistakes=(
            Mistake(
                "Now every text is lower-cased, and a cased vocabulary loses its capitals.  It depends on the "
                "vocabulary.",
                encoded_if(lambda vocabulary: False),
            ),
            Mistake(
                "You try each word both ways.  With a cased vocabulary, The and the are different words, and a word "
                "that it lacks is unknown; a model is trained with one way only.",
                encoded_word_by_word,
            ),
            Mistake(
                "The special pieces are not always the first five; here, they are in brackets.",
                encoded_if(lambda vocabulary: any(piece != piece.lower() for piece in list(vocabulary)[5:])),
            ),
            Mistake(
                "It is the other way round: the text keeps its capitals if the vocabulary has some.",
                encoded_if(is_lower),
            ),
            Mistake(
                "A piece with capitals may also continue a word, as ##B does.",
                encoded_if(lambda vocabulary: not is_lower([piece for piece in vocabulary if piece[:2] != "##"])),
            ),
        ),
        hints=(
            "The loss falls faster at first, so something is easier; later it is slower, so something is missing.  "
            "A third of the pieces is [UNK]: there are fewer words to predict, and less context.  Model and step are "
            "as in the healthy run.",
            'Call encode("The state", {"[UNK]": 0, "the": 1, "state": 2}).  What is `cased` in it?',
            "[CLS] has capital letters in every vocabulary.",
        ),
        note=(
            "In the package, a folder says whether its vocabulary is cased (do_lower_case), and more than 1 % of [UNK] "
            "gives a warning: test_many_unknown_tokens_are_warned_of is in tests/training/test_own_text.py."
        ),
        broken=broken.encode,
    )
)
