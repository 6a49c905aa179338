"""The tokenizer by itself: what it promises in its docstrings, and what it refuses."""

import pickle

import numpy as np
import pytest

from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS

VOCABULARY = [*SPECIAL_TOKENS, "the", "state", "of", "un", "##ion", "##s", "e", "##t", "!", ",", "国"]
TOKENIZER = Tokenizer(VOCABULARY)


def test_ids_of_the_special_tokens():
    assert (TOKENIZER.pad_id, TOKENIZER.unk_id, TOKENIZER.cls_id, TOKENIZER.sep_id, TOKENIZER.mask_id) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert TOKENIZER.special_ids == (0, 1, 2, 3, 4)
    assert len(TOKENIZER) == len(VOCABULARY)


def test_continuation_marks_the_pieces_that_do_not_begin_a_word():
    assert TOKENIZER.continuation.dtype == np.bool_
    marked = [piece for piece, mark in zip(VOCABULARY, TOKENIZER.continuation, strict=True) if mark]
    assert marked == ["##ion", "##s", "##t"]


def test_one_text():
    encoding = TOKENIZER.encode("The  STATE of the Unions!")
    assert encoding.tokens == ["[CLS]", "the", "state", "of", "the", "un", "##ion", "##s", "!", "[SEP]"]
    assert [VOCABULARY[i] for i in encoding.ids] == encoding.tokens
    assert encoding.segment_ids == [0] * 10
    assert encoding.special_mask == [1, *[0] * 8, 1]
    assert len(encoding) == 10


def test_offsets_point_into_the_original_text():
    text = "ét,\t国 \u200bUN\u200bIONS"
    encoding = TOKENIZER.encode(text)
    assert encoding.tokens[1:-1] == ["e", "##t", ",", "国", "un", "##ion", "##s"]
    assert [text[start:end] for start, end in encoding.offsets[1:-1]] == ["é", "t", ",", "国", "UN", "ION", "S"]


def test_a_pair():
    encoding = TOKENIZER.encode("the state", "of unions")
    assert encoding.tokens == ["[CLS]", "the", "state", "[SEP]", "of", "un", "##ion", "##s", "[SEP]"]
    assert encoding.segment_ids == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert encoding.offsets[4:8] == [(0, 2), (3, 5), (5, 8), (8, 9)]


def test_an_empty_text_is_still_framed():
    assert TOKENIZER.encode("").tokens == ["[CLS]", "[SEP]"]
    assert TOKENIZER.encode("", "").tokens == ["[CLS]", "[SEP]", "[SEP]"]
    assert TOKENIZER.tokenize_ids(" \n\u200b") == []


def test_special_tokens_written_in_the_text_are_recognised():
    assert TOKENIZER.encode("the[MASK]of [mask]").tokens[1:4] == ["the", "[MASK]", "of"]
    assert TOKENIZER.encode("the[MASK]").offsets[2] == (3, 9)
    assert TOKENIZER.encode("the[MASK]").special_mask == [1, 0, 0, 1]


def test_extra_special_tokens_the_longest_first():
    tokenizer = Tokenizer([*VOCABULARY, "<e>", "<e>>"], extra_special_tokens=["<e>", "<e>>"])
    assert tokenizer.encode("the<e>>state<e>").tokens[1:-1] == ["the", "<e>>", "state", "<e>"]
    assert tokenizer.special_ids == (0, 1, 2, 3, 4, 16, 17)


def test_other_names_for_the_special_tokens():
    vocabulary = ["<pad>", "<unk>", "<s>", "</s>", "<mask>", "the"]
    tokenizer = Tokenizer(vocabulary, special_tokens=vocabulary[:5])
    assert tokenizer.encode("the <mask> x").tokens == ["<s>", "the", "<mask>", "<unk>", "</s>"]


def test_truncation_cuts_the_longer_text_at_its_end():
    assert TOKENIZER.encode("the state of the", max_length=4).tokens == ["[CLS]", "the", "state", "[SEP]"]
    encoding = TOKENIZER.encode("the state of the", "of", max_length=6)
    assert encoding.tokens == ["[CLS]", "the", "state", "[SEP]", "of", "[SEP]"]


def test_cased():
    tokenizer = Tokenizer([*SPECIAL_TOKENS, "The", "the"], lowercase=False)
    assert tokenizer.encode("The the THE").tokens[1:-1] == ["The", "the", "[UNK]"]
    assert not tokenizer.lowercase


def test_decoding():
    ids = TOKENIZER.encode("The unions, of the STATE!").ids
    assert TOKENIZER.decode(ids) == "the unions, of the state!"
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == "[CLS] the unions, of the state! [SEP]"
    assert TOKENIZER.decode(np.array(ids)) == "the unions, of the state!"
    assert TOKENIZER.decode([]) == ""


def test_a_pickled_tokenizer_works():
    again = pickle.loads(pickle.dumps(TOKENIZER))
    assert again.encode("The unión").ids == TOKENIZER.encode("The unión").ids


def test_the_memory_of_chunks_is_bounded(monkeypatch):
    monkeypatch.setattr("minibert.text.tokenizer._CACHE_LIMIT", 10)
    tokenizer = Tokenizer(VOCABULARY)
    texts = " ".join("the" + "!" * n for n in range(50))
    assert tokenizer.tokenize_ids(texts) == TOKENIZER.tokenize_ids(texts)
    assert len(tokenizer._known) <= 10


@pytest.mark.parametrize("method", ["encode", "tokenize_ids"])
def test_lone_surrogates_are_refused_with_their_position(method):
    with pytest.raises(ValueError, match=r"lone surrogate U\+DC80 at position 4: .*encoding") as error:
        getattr(TOKENIZER, method)("the \udc80")
    assert "\n" not in str(error.value)
    str(error.value).encode()  # the message itself can be printed


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="expected text as a str, got bytes"):
        TOKENIZER.encode(b"the")


@pytest.mark.parametrize(("pair", "least"), [(None, 2), ("of", 3)])
def test_too_few_tokens_for_the_special_ones(pair, least):
    assert len(TOKENIZER.encode("the", pair, max_length=least)) == least
    with pytest.raises(ValueError, match=f"max_length {least - 1} is too small"):
        TOKENIZER.encode("the", pair, max_length=least - 1)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "empty"),
        ([*VOCABULARY, "of"], "contains 'of' twice, as ids 7 and 16"),
        (["[UNK]", "[CLS]", "[MASK]", "a"], r"lacks the special tokens \[PAD\], \[SEP\]"),
    ],
)
def test_bad_vocabularies_are_refused(vocabulary, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer(vocabulary)


@pytest.mark.parametrize("token_id", [-1, 16])
def test_ids_outside_the_vocabulary_are_refused(token_id):
    with pytest.raises(ValueError, match=rf"token id {token_id} is outside the vocabulary; expected 0 to 15"):
        TOKENIZER.decode([5, token_id])
