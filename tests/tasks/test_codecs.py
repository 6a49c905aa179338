"""Codecs alone, without a model: when a span is the answer, and when none is."""

import pytest

from minibert.tasks.codecs import SpanCodec
from minibert.tasks.examples import SpanExample
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS

EXAMPLE = SpanExample("1", "who?", "ann saw tom")
SPANS = [(5.0, 0, 3), (4.0, 8, 11)]  # scores, first and after the last character


def codec(threshold: float) -> SpanCodec:
    return SpanCodec(Tokenizer([*SPECIAL_TOKENS, "ann"]), 32, stride=16, may_lack=True, null_threshold=threshold)


@pytest.mark.parametrize(
    "nothing, threshold, answer",
    [
        (4.9, 0.0, "ann"),
        (5.1, 0.0, ""),
        (6.9, 2.0, "ann"),  # "no answer" must exceed the best answer by the threshold
        (7.1, 2.0, ""),
        (3.1, -2.0, ""),
        (2.9, -2.0, "ann"),
    ],
)
def test_no_answer_wins_if_it_scores_more_than_the_best_answer_and_the_threshold(nothing, threshold, answer):
    prediction = codec(threshold).choose(EXAMPLE, SPANS, nothing)
    assert prediction.answer == answer
    assert {prediction.answer, *(other for other, _ in prediction.others)} == {"ann", "tom", ""}
    assert prediction.probability + sum(share for _, share in prediction.others) == pytest.approx(1)


def test_without_a_span_there_is_no_answer():
    assert codec(9.0).choose(EXAMPLE, [], 0.0).answer == ""
