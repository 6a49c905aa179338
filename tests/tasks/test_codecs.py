"""Codecs alone, without a model: every label and every answer survives encoding and decoding, for random texts.

Windows and answers are also compared with those of `transformers`' examples for question answering and token
classification, which are derived again here.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from minibert.tasks.codecs import ChoiceCodec, RegressionCodec, SentenceCodec, SpanCodec, WordsCodec
from minibert.tasks.examples import Answer, ChoiceExample, SentenceExample, SpanExample, WordsExample
from minibert.tasks.features import label_count, task_batch, truncated
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS
from tests.text.peer import peer_tokenizer

WORDS = ["ann", "saw", "tom", "un", "##seen", "cafe", "i", "中", "ﬁ", ",", "a", "##b", "##c"]
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *WORDS])
PAD, UNK, CLS, SEP, MASK = range(5)
# unchanged, in several pieces, with accents of one and two characters, and with characters that leave no token
PARTS = ["ann", "Tom", "saw", "unseen", "café", "cafe\u0301", "İ", "中", "中ann", "ﬁ", "zzz", "a,b", "abcbc", "[SEP]"]
PARTS += ["[MASK]", "\u200b", "\x00", "a\u00adn"]
SPACES = [" ", "  ", "\u2028", "\t", ""]
texts = st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(SPACES)), max_size=14).map(
    lambda parts: "".join(map("".join, parts))
)
questions = st.lists(st.sampled_from(["who", "tom", "unseen", "?"]), max_size=3).map(" ".join)
few = settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def scores_for(feature, first, last):
    """Scores [T, 2] whose best span is first to last."""
    scores = np.zeros((len(feature.rows), 2), np.float32)
    scores[first, 0] = scores[last, 1] = 9
    return scores


# ------------------------------------------------------------------------------------------------ sentences, choices

CUTS = [  # codec, an example that just fits, one that does not
    (SentenceCodec(TOKENIZER, "x", 6), SentenceExample("ann saw tom ann"), SentenceExample("ann saw tom ann i")),
    (SentenceCodec(TOKENIZER, "x", 6), SentenceExample("ann saw", "i"), SentenceExample("ann saw", "tom ann")),
    (RegressionCodec(TOKENIZER, "x", 3), SentenceExample("ann"), SentenceExample("ann saw")),
    (ChoiceCodec(TOKENIZER, "", 6), ChoiceExample("ann", ("i", "tom saw")), ChoiceExample("ann", ("i", "tom saw ann"))),
    (WordsCodec(TOKENIZER, "x", 5), WordsExample(("abc", "saw", "tom")), WordsExample(("ann", "abcbc"))),
    (SpanCodec(TOKENIZER, 14), SpanExample("1", "ann saw tom", "i " * 99), SpanExample("1", "ann saw tom i", "i")),
]


@pytest.mark.parametrize(("codec", "whole", "cut"), CUTS)
def test_examples_whose_text_is_cut_off_are_marked_and_counted(codec, whole, cut):
    assert not any(feature.cut for feature in codec.encode([whole]))
    assert any(feature.cut for feature in codec.encode([cut]))
    train, dev = codec.encode([whole, cut, cut]), codec.encode([cut])
    assert truncated(9, train=train, dev=dev) == "2 train and 1 dev examples are longer than 9 tokens, and cut off"
    assert (
        truncated(9, train=codec.encode([whole]), given=dev) == "1 given example is longer than 9 tokens, and cut off"
    )
    assert truncated(9, train=codec.encode([whole])) == ""


@few
@given(texts, st.none() | texts, st.integers(5, 30), st.sampled_from("xyz"))
def test_a_sentence_or_pair_keeps_its_label_and_as_much_text_as_fits(text, pair, length, label):
    codec = SentenceCodec(TOKENIZER, "xyz", length)
    [feature] = codec.encode([SentenceExample(text, pair, label)])
    [(ids, segments)] = feature.sequences
    one, two = TOKENIZER.tokenize_ids(text), [] if pair is None else TOKENIZER.tokenize_ids(pair)
    special = 2 if pair is None else 3
    assert len(ids) == min(len(one) + len(two) + special, length) and feature.rows.tolist() == [0]
    kept = segments.tolist().index(1) if pair is not None else len(ids)
    assert ids.tolist() == [CLS, *one[: kept - 2], SEP] + (
        [*two[: len(ids) - kept - 1], SEP] if pair is not None else []
    )
    if len(ids) == length and pair is not None:  # the longer text is truncated, down to the length of the other
        lost = len(one) - (kept - 2), len(two) - (len(ids) - kept - 1)
        assert all(part >= 0 for part in lost)
        assert not (lost[0] and kept - 2 < len(ids) - kept - 1 - 1) and not (
            lost[1] and len(ids) - kept - 1 < kept - 2 - 1
        )
    scores = np.eye(3, dtype=np.float32)[feature.labels]
    assert codec.decode([None], [feature], [scores])[0].answer == label


@few
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), texts)
def test_a_number_is_decoded_as_it_was_encoded(number, text):
    codec = RegressionCodec(TOKENIZER, ("value",), 12)
    [feature] = codec.encode([SentenceExample(text, None, number)])
    assert feature.labels.dtype == np.float32 and feature.rows.tolist() == [0]
    assert codec.decode([None], [feature], [feature.labels[:, None]])[0].answer == number


@few
@given(texts, st.lists(texts, min_size=2, max_size=4), st.integers(5, 20), st.data())
def test_a_choice_has_its_label_and_a_row_for_each_ending(text, endings, length, data):
    label = data.draw(st.integers(0, len(endings) - 1))
    codec = ChoiceCodec(TOKENIZER, (), length)
    [feature] = codec.encode([ChoiceExample(text, tuple(endings), label)])
    alone = SentenceCodec(TOKENIZER, (), length)
    for (ids, segments), ending in zip(feature.sequences, endings, strict=True):
        expected = alone.encode([SentenceExample(text, ending)])[0].sequences[0]
        assert np.array_equal(ids, expected[0]) and np.array_equal(segments, expected[1])
    flat = np.concatenate([ids for ids, _ in feature.sequences])
    assert len(feature.rows) == len(endings) and np.all(flat[feature.rows] == CLS)
    assert feature.rows.tolist() == np.cumsum([0, *(len(ids) for ids, _ in feature.sequences)])[:-1].tolist()
    scores = np.eye(len(endings), dtype=np.float32)[feature.labels]
    assert codec.decode([None], [feature], [scores])[0].answer == label


def test_an_unknown_label_is_named_with_the_place_of_the_example():
    with pytest.raises(ValueError, match="a.csv, line 3: the label 'w' does not occur in the training data"):
        SentenceCodec(TOKENIZER, "xyz", 9).encode([SentenceExample("a", None, "w", "a.csv, line 3")])


# ------------------------------------------------------------------------------------------------ words

sentences = st.lists(st.sampled_from(PARTS), min_size=1, max_size=14)


@few
@given(st.lists(sentences, min_size=1, max_size=3), st.integers(4, 12), st.data())
def test_every_word_keeps_its_label_in_whichever_window_it_is(words, length, data):
    labels = [data.draw(st.lists(st.sampled_from("OBI"), min_size=len(some), max_size=len(some))) for some in words]
    codec = WordsCodec(TOKENIZER, "OBI", length)
    examples = [WordsExample(tuple(some), tuple(tags)) for some, tags in zip(words, labels, strict=True)]
    features = codec.encode(examples)
    reached = [0] * len(words)
    for feature in features:
        [(ids, segments)] = feature.sequences
        begin, end = feature.location
        assert begin == reached[feature.example] < end and len(ids) <= length and not segments.any()
        reached[feature.example] = end
        assert (ids[0], ids[-1]) == (CLS, SEP)
        firsts = [(TOKENIZER.tokenize_ids(word) or [UNK])[0] for word in words[feature.example][begin:end]]
        assert ids[feature.rows].tolist() == firsts  # each word is represented by its first piece
        assert np.all((feature.rows > 0) & (feature.rows < len(ids) - 1))
        assert [codec.labels[number] for number in feature.labels] == labels[feature.example][begin:end]
    assert reached == [len(some) for some in words]
    logits = [np.eye(3, dtype=np.float32)[feature.labels] for feature in features]
    predictions = codec.decode(examples, features, logits)
    assert [prediction.answer for prediction in predictions] == [tuple(tags) for tags in labels]
    assert label_count(features) == sum(map(len, words))
    batch = task_batch(features)  # the labels of a batch are those of its rows, in order
    assert np.all(np.isin(batch.tokens.token_ids[batch.rows], [PAD, CLS]) == 0)


# ------------------------------------------------------------------------------------------------ spans


def windows_of(length, question):
    return length - 3 - len(TOKENIZER.tokenize_ids(question))


@st.composite
def asked(draw):
    """A question, its context, an answer that begins and ends with a token, and a codec."""
    context, question = draw(texts), draw(questions)
    offsets = [span for span in TOKENIZER.encode(context).offsets[1:-1] if span[0] < span[1]]
    assume(offsets)
    first = draw(st.integers(0, len(offsets) - 1))
    last = draw(st.integers(first, min(first + 5, len(offsets) - 1)))
    begin, end = offsets[first][0], max(offsets[last][1], offsets[first][1])
    length = draw(st.integers(16, 24))
    stride = draw(st.integers(1, windows_of(length, question)))
    example = SpanExample("1", question, context, (Answer(context[begin:end], begin),))
    codec = SpanCodec(TOKENIZER, length, stride=stride, longest=40, may_lack=draw(st.booleans()))
    return example, codec


@few
@given(asked())
def test_every_answer_inside_a_window_is_decoded_and_none_is_labelled_elsewhere(case):
    example, codec = case
    features = codec.encode([example])
    encoding = TOKENIZER.encode(example.context)
    ids, offsets = encoding.ids[1:-1], encoding.offsets[1:-1]
    question = TOKENIZER.tokenize_ids(example.question)
    budget = windows_of(codec.max_length, example.question)
    begins = range(0, max(len(ids) - budget, 0) + codec.stride, codec.stride)
    assert len(features) == len(begins)
    answer = example.answers[0]
    inside = [
        n for n, (one, other) in enumerate(offsets) if one < answer.start + len(answer.text) and other > answer.start
    ]
    for begin, feature in zip(begins, features, strict=True):
        [(found, segments)] = feature.sequences
        window = ids[begin : begin + budget]
        assert found.tolist() == [CLS, *question, SEP, *window, SEP]
        assert segments.tolist() == [0] * (len(question) + 2) + [1] * (len(window) + 1)
        assert feature.rows.tolist() == list(range(len(found)))
        [(first, last)] = feature.labels
        before = len(question) + 2
        assert feature.location[0] == before and list(feature.location[1]) == offsets[begin : begin + budget]
        if begin <= inside[0] and inside[-1] < begin + len(window):
            assert (first - before + begin, last - before + begin) == (inside[0], inside[-1])
            [prediction] = codec.decode([example], [feature], [scores_for(feature, first, last)])
            assert prediction.answer == answer.text
        else:
            assert (first, last) == (0, 0)  # [CLS]: not in this window


@pytest.mark.parametrize("stride", [4, 8])
def test_answers_at_the_edges_of_windows(stride):
    """Windows of 8 tokens: the last token of one, the first of the next, and two tokens across the edge."""
    context = "ann saw tom a i , ann saw tom a i , ann saw tom a"
    codec = SpanCodec(TOKENIZER, 13, stride=stride)
    offsets = TOKENIZER.encode(context).offsets[1:-1]
    for first, last in ((7, 7), (8, 8), (7, 8), (0, 7), (8, 15), (15, 15)):
        begin, end = offsets[first][0], offsets[last][1]
        features = codec.encode([SpanExample("1", "tom who", context, (Answer(context[begin:end], begin),))])
        expected = []
        for start in range(0, 16 - 8 + 1, stride):
            inside = start <= first and last < start + 8
            expected.append([first - start + 4, last - start + 4] if inside else [0, 0])
        assert [feature.labels[0].tolist() for feature in features] == expected
        for feature in features:
            assert feature.labels.max() < len(feature.rows) - 1  # never the [SEP] at the end


def test_a_context_without_a_token_has_one_window_and_no_answer():
    for context in ("", " ", "\u200b\x00"):
        for may_lack in (True, False):
            codec = SpanCodec(TOKENIZER, 16, may_lack=may_lack)
            [feature] = codec.encode([SpanExample("1", "who", context)])
            assert feature.sequences[0][0].tolist() == [CLS, UNK, SEP, SEP]
            assert (feature.labels is None) == (not may_lack)
            assert codec.decode([SpanExample("1", "who", context)], [feature], [np.ones((4, 2))])[0].answer == ""


def test_the_truth_is_what_all_annotators_answered():
    answers = Answer("ann", 0), Answer("tom", 8)
    assert SpanCodec(TOKENIZER, 16).truth(SpanExample("1", "who?", "ann saw tom", answers)) == ["ann", "tom"]
    assert WordsCodec(TOKENIZER, "OB", 16).truth(WordsExample(("ann", "saw"), ("B", "O"))) == ("B", "O")
    assert SentenceCodec(TOKENIZER, "xy", 16).truth(SentenceExample("ann", None, "y")) == "y"


def test_a_long_question_leaves_tokens_for_the_context():
    """Its end is left out."""
    [feature, *_] = SpanCodec(TOKENIZER, 16).encode([SpanExample("1", "saw ann " + "tom " * 30, "ann " * 30)])
    assert feature.sequences[0][0].tolist() == [CLS, 6, 5, *[7] * 3, SEP, *[5] * 8, SEP]


def test_an_answer_has_at_most_so_many_tokens_and_ends_where_it_begins_or_later():
    codec, example = SpanCodec(TOKENIZER, 16, longest=3), SpanExample("1", "tom", "ann saw tom a i")
    [feature] = codec.encode([example])
    scores = np.zeros((len(feature.rows), 2))
    for first, last, answer in ((3, 5, "ann saw tom"), (3, 6, None), (5, 4, None)):
        scores[:] = 0
        scores[first, 0], scores[last, 1] = 5, 6
        [prediction] = codec.decode([example], [feature], [scores])
        if answer:
            assert prediction.answer == answer
        else:  # the higher of the two scores decides, with the other end next to it
            assert prediction.answer in {example.context[a:b] for a, b in ends_at(feature, last)}
    scores[:] = 0
    scores[0], scores[2], scores[-1] = 99, 99, 99  # [CLS] and [SEP] are no answers
    assert codec.decode([example], [feature], [scores])[0].answer in example.context.split() + ["ann saw"]


def ends_at(feature, last):
    before, offsets = feature.location
    end = offsets[last - before][1]
    return [(begin, end) for begin, _ in offsets[: last - before + 1]]


# ------------------------------------------------------------------------------------------------ no answer

EXAMPLE = SpanExample("1", "who?", "ann saw tom")
SPANS = [(5.0, 0, 3), (4.0, 8, 11)]  # scores, first and after the last character


def codec_with(threshold: float) -> SpanCodec:
    return SpanCodec(TOKENIZER, 32, stride=16, may_lack=True, null_threshold=threshold)


@pytest.mark.parametrize(
    "nothing, threshold, answer",
    [
        (4.9, 0.0, "ann"),
        (5.1, 0.0, ""),
        (6.9, 2.0, "ann"),  # "no answer" must exceed the best answer by the threshold
        (7.0, 2.0, "ann"),
        (7.1, 2.0, ""),
        (3.1, -2.0, ""),
        (2.9, -2.0, "ann"),
    ],
)
def test_no_answer_wins_if_it_scores_more_than_the_best_answer_and_the_threshold(nothing, threshold, answer):
    prediction = codec_with(threshold).choose(EXAMPLE, SPANS, nothing)
    assert prediction.answer == answer
    assert {prediction.answer, *(other for other, _ in prediction.others)} == {"ann", "tom", ""}
    assert prediction.probability + sum(share for _, share in prediction.others) == pytest.approx(1)


def test_a_high_threshold_keeps_the_answer():
    """As in SQuAD's evaluation: "" only if the score of no answer minus that of the best span exceeds the threshold."""
    assert codec_with(10.0).choose(EXAMPLE, [(3.0, 0, 3)], 5.0).answer == "ann"
    assert codec_with(1.0).choose(EXAMPLE, [(3.0, 0, 3)], 5.0).answer == ""


def test_without_a_span_there_is_no_answer():
    assert codec_with(9.0).choose(EXAMPLE, [], 0.0).answer == ""


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_score_of_no_answer_is_the_least_of_all_windows(order):
    """A window that lacks the answer says so; the question has none only if every window says so."""
    codec = SpanCodec(TOKENIZER, 16, stride=11, may_lack=True)
    example = SpanExample("1", "tom", "ann saw tom a i , ann saw tom a i , ann saw tom")
    features = codec.encode([example])
    assert len(features) == 2
    logits = [np.zeros((len(feature.rows), 2)) for feature in features]
    logits[0][3, :] = 2  # "ann" scores 4
    for window, nothing in zip(order, (9, 1), strict=True):
        logits[window][0] = nothing
    assert codec.decode([example], features, logits)[0].answer == "ann"  # 18 in one window, 2 in the other
    for window in (0, 1):
        logits[window][0] = 3
    assert codec.decode([example], features, logits)[0].answer == ""


# ------------------------------------------------------------------------------------------------ as in transformers


@pytest.fixture(scope="module")
def fast():
    """The tokenizer of `transformers`."""
    transformers = pytest.importorskip("transformers", reason="parity is measured against transformers: extra `peers`")
    names = {f"{name[1:-1].lower()}_token": name for name in SPECIAL_TOKENS}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=peer_tokenizer(TOKENIZER.vocabulary), **names)


def their_windows(fast, example, length, overlap):
    """The windows of the question-answering example: ids, segments, offsets of the context's tokens, and labels."""
    encoded = fast(
        [example.question],
        [example.context],  # a list, as the example has it: a context that is "" alone would be none
        truncation="only_second",
        max_length=length,
        stride=overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    for number, (ids, offsets) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
        part = encoded.sequence_ids(number)
        context = [index for index, which in enumerate(part) if which == 1]
        labels = (0, 0)
        if example.answers and context:
            begin = example.answers[0].start
            end = begin + len(example.answers[0].text)
            if offsets[context[0]][0] <= begin and end <= offsets[context[-1]][1]:
                first = max(index for index in context if offsets[index][0] <= begin)
                labels = first, min(index for index in context if offsets[index][1] >= end)
        yield ids, encoded["token_type_ids"][number], {index: offsets[index] for index in context}, labels


def their_answer(example, windows, logits, longest, threshold):
    """The answer of the example's post-processing, from every pair of tokens (n_best_size as large as a window)."""
    found, null = [], np.inf
    for (_, _, offsets, _), scores in zip(windows, logits, strict=True):
        null = min(null, scores[0, 0] + scores[0, 1])
        for first, (begin, _) in offsets.items():
            for last, (_, end) in offsets.items():
                if first <= last < first + longest:
                    found.append((scores[first, 0] + scores[last, 1], example.context[begin:end]))
    if not found:
        return ""
    best, answer = max(found, key=lambda one: one[0])
    return "" if threshold is not None and null - best > threshold else answer


@few
@given(case=asked(), threshold=st.none() | st.sampled_from([0.0, 1.5, -1.5]), seed=st.integers(0, 99))
def test_windows_labels_and_answers_are_those_of_transformers(fast, case, threshold, seed):
    example, codec = case
    codec.may_lack, codec.null_threshold = threshold is not None, threshold or 0.0
    codec.longest = 1 + seed % 7
    budget = windows_of(codec.max_length, example.question)
    theirs = list(their_windows(fast, example, codec.max_length, budget - codec.stride))
    ours = codec.encode([example])
    assert len(ours) == len(theirs)
    random = np.random.default_rng(seed)
    logits = [random.standard_normal((len(feature.rows), 2)) for feature in ours]
    for feature, (ids, segments, offsets, labels) in zip(ours, theirs, strict=True):
        assert feature.sequences[0][0].tolist() == ids and feature.sequences[0][1].tolist() == segments
        assert list(map(tuple, feature.location[1])) == list(map(tuple, offsets.values()))
        assert tuple(feature.labels[0]) == labels
    [prediction] = codec.decode([example], ours, logits)
    assert prediction.answer == their_answer(example, theirs, logits, codec.longest, threshold)


@few
@given(context=texts, question=questions, length=st.integers(16, 24))
def test_questions_without_an_answer_are_those_of_transformers(fast, context, question, length):
    example = SpanExample("1", question, context)
    codec = SpanCodec(TOKENIZER, length, stride=5, may_lack=True)
    theirs = their_windows(fast, example, length, windows_of(length, question) - 5)
    for feature, (ids, segments, _, labels) in zip(codec.encode([example]), theirs, strict=True):
        assert feature.sequences[0][0].tolist() == ids and feature.sequences[0][1].tolist() == segments
        assert tuple(feature.labels[0]) == labels == (0, 0)


@few
@given(words=sentences, length=st.integers(4, 12))
def test_labels_of_words_are_those_of_transformers(fast, words, length):
    """In each window of whole words; a word without a piece, which the example skips, is [UNK] here."""
    words = [word for word in words if TOKENIZER.tokenize_ids(word)] or ["ann"]
    codec = WordsCodec(TOKENIZER, [str(number) for number in range(14)], length)
    for feature in codec.encode([WordsExample(tuple(words), tuple(map(str, range(len(words)))))]):
        begin, end = feature.location
        encoded = fast(words[begin:end], is_split_into_words=True, truncation=True, max_length=length)
        assert feature.sequences[0][0].tolist() == encoded["input_ids"]
        labels = dict(zip(feature.rows.tolist(), feature.labels.tolist(), strict=True))
        before = None
        for row, word in enumerate(encoded.word_ids()):
            expected = None if word is None or word == before else begin + word
            assert labels.get(row) == expected
            before = word


@few
@given(words=st.lists(st.sampled_from(["ann", "Tom", "中", "[MASK]", "zzz"]), min_size=1), length=st.integers(3, 8))
def test_windows_of_words_are_those_of_transformers(fast, words, length):
    """Where every word is one piece, so that no window of theirs ends inside a word."""
    encoded = fast(words, is_split_into_words=True, truncation=True, max_length=length, return_overflowing_tokens=True)
    ours = WordsCodec(TOKENIZER, ["O"], length).encode([WordsExample(tuple(words))])
    assert [feature.sequences[0][0].tolist() for feature in ours] == encoded["input_ids"]
