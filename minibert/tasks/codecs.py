"""Codecs, one for each kind of task, which encode examples as features and decode a model's scores as answers.

A codec knows the classes, the maximum sequence length, and which part of an example each feature covers; it is
independent of the model.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert.base.numbers import softmax
from minibert.tasks.examples import ChoiceExample, SentenceExample, SpanExample, WordsExample
from minibert.tasks.features import Feature, as_int32, sequence
from minibert.tasks.registry import CHOICE, REGRESSION, SENTENCE, SPAN, TOKENS
from minibert.text import Tokenizer
from minibert.text.tokenizer import longest_first

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
LEAST_CONTEXT = 8  # the minimum number of context tokens; a question that would leave room for fewer is truncated


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one example."""

    answer: Any
    """depending on the task: a class, a number, a tuple of labels, a text ("" for no answer), or an ending's index"""
    probability: float | None = None
    """the model's probability for the answer, averaged over the words for a tuple of labels; None for a number"""
    others: list = field(default_factory=list)
    """alternative answers as pairs (answer, probability), most likely first"""


class Codec:
    """The base class of all codecs."""

    def __init__(self, tokenizer: Tokenizer, labels: Sequence[str], max_length: int) -> None:
        self.tokenizer, self.labels, self.max_length = tokenizer, tuple(labels), max_length
        self.number = {label: number for number, label in enumerate(self.labels)}

    def encode(self, examples: Sequence) -> list[Feature]:
        """The features of all examples, in the order of the examples.  Raises ValueError for an unknown label."""
        return [feature for number, example in enumerate(examples) for feature in self.features(example, number)]

    def features(self, example: Any, number: int) -> list[Feature]:
        raise NotImplementedError

    def truth(self, example: Any) -> Any:
        """The correct answer for an example, in the form that the metrics expect."""
        return example.label

    def decode(self, examples: Sequence, features: Sequence[Feature], logits: Sequence[np.ndarray]) -> list[Prediction]:
        """The predictions for the examples.  logits: for each feature, the model's scores for its `rows`."""
        return [self.answer(scores[0]) for scores in logits]

    def answer(self, scores: np.ndarray) -> Prediction:
        """The prediction for one example, from the scores [classes] of all classes."""
        shares, order = softmax(scores.astype(np.float64)), np.argsort(-scores, kind="stable")
        ranked = [(self.labels[number], float(shares[number])) for number in order]
        return Prediction(*ranked[0], ranked[1:])

    def label_number(self, label: str, where: str) -> int:
        if label not in self.number:
            raise ValueError(
                f"{where}: the label {label!r} does not occur in the training data, which has the labels "
                f"{', '.join(self.labels)}"
            )
        return self.number[label]

    def pair(self, first: str, second: str | None) -> tuple[tuple[np.ndarray, np.ndarray], bool]:
        """The token ids and segment ids of a text or a pair, and whether it was truncated, the longer text first."""
        one = self.tokenizer.tokenize_ids(first)
        two = None if second is None else self.tokenizer.tokenize_ids(second)
        budget = self.max_length - (2 if two is None else 3)
        keep_one, keep_two = longest_first(len(one), 0 if two is None else len(two), budget)
        cut = keep_one < len(one) or (two is not None and keep_two < len(two))
        return sequence(self.tokenizer, one[:keep_one], None if two is None else two[:keep_two]), cut


class SentenceCodec(Codec):
    """The codec for classifying sentences and sentence pairs."""

    def features(self, example: SentenceExample, number: int) -> list[Feature]:
        labels = None
        if example.label is not None:
            labels = as_int32([self.label_number(str(example.label), example.where or f"example {number + 1}")])
        ids_and_segments, cut = self.pair(example.text, example.pair)
        return [Feature((ids_and_segments,), as_int32([0]), labels, number, cut=cut)]


class RegressionCodec(Codec):
    """The codec for predicting a number for a sentence or sentence pair."""

    def features(self, example: SentenceExample, number: int) -> list[Feature]:
        labels = None if example.label is None else np.array([example.label], np.float32)
        ids_and_segments, cut = self.pair(example.text, example.pair)
        return [Feature((ids_and_segments,), as_int32([0]), labels, number, cut=cut)]

    def answer(self, scores: np.ndarray) -> Prediction:
        return Prediction(float(scores[0]))


class WordsCodec(Codec):
    """The codec for labelling words, each represented by its first piece (BERT paper, section 5.3).

    A sentence that is too long is split between words into several features.
    """

    def features(self, example: WordsExample, number: int) -> list[Feature]:
        pieces = [self.tokenizer.tokenize_ids(word) or [self.tokenizer.unk_id] for word in example.words]
        made, begin = [], 0
        while begin < len(pieces):
            end, ids, rows = begin, [], []
            while end < len(pieces) and (not ids or len(ids) + len(pieces[end]) <= self.max_length - 2):
                rows.append(len(ids) + 1)  # after [CLS]
                ids += pieces[end][: self.max_length - 2]
                end += 1
            labels = None
            if example.labels is not None:
                where = example.where or f"sentence {number + 1}"
                labels = as_int32([self.label_number(label, where) for label in example.labels[begin:end]])
            cut = any(len(word) > self.max_length - 2 for word in pieces[begin:end])
            made.append(Feature((sequence(self.tokenizer, ids),), as_int32(rows), labels, number, (begin, end), cut))
            begin = end
        return made

    def truth(self, example: WordsExample) -> tuple[str, ...]:
        return example.labels or ()

    def decode(
        self, examples: Sequence[WordsExample], features: Sequence[Feature], logits: Sequence[np.ndarray]
    ) -> list[Prediction]:
        answers = [[""] * len(example.words) for example in examples]
        sure = [[0.0] * len(example.words) for example in examples]
        for feature, scores in zip(features, logits, strict=True):
            for word, row in zip(range(*feature.location), scores, strict=True):
                best = int(np.argmax(row))
                answers[feature.example][word] = self.labels[best]
                sure[feature.example][word] = float(softmax(row.astype(np.float64))[best])
        return [Prediction(tuple(labels), float(np.mean(shares))) for labels, shares in zip(answers, sure, strict=True)]


class SpanCodec(Codec):
    """The codec for questions whose answer is a span of a text (BERT paper, sections 4.2 and 4.3).

    A text that is too long is read in overlapping windows, each of which starts `stride` tokens after the previous one.
    A span's score is the sum of its first token's score as a start and its last token's score as an end; the answer is
    the span with the highest score in any window.  If texts may have no answer, "no answer" is scored at [CLS] and is
    chosen if its score exceeds the best span's score by more than `null_threshold`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        *,
        stride: int = 128,
        longest: int = 30,
        best: int = 20,
        may_lack: bool = False,
        null_threshold: float = 0.0,
    ) -> None:
        super().__init__(tokenizer, (), max_length)
        self.stride, self.longest, self.best = stride, longest, best
        self.may_lack, self.null_threshold = may_lack, null_threshold

    def features(self, example: SpanExample, number: int) -> list[Feature]:
        question = self.tokenizer.tokenize_ids(example.question)
        cut = len(question) > self.max_length - 3 - LEAST_CONTEXT
        question = question[: self.max_length - 3 - LEAST_CONTEXT]
        encoding = self.tokenizer.encode(example.context)
        ids, offsets = encoding.ids[1:-1], encoding.offsets[1:-1]
        budget, before = self.max_length - len(question) - 3, len(question) + 2  # before: tokens before the context
        target = self.answer_tokens(example, offsets)
        made, begin = [], 0
        while True:
            end = min(begin + budget, len(ids))
            ids_and_segments = sequence(self.tokenizer, question, ids[begin:end])
            labels = None
            if example.answers or self.may_lack:
                first = last = 0
                if target is not None and begin <= target[0] and target[1] < end:
                    first, last = (index - begin + before for index in target)
                labels = as_int32([[first, last]])
            rows = np.arange(len(ids_and_segments[0]), dtype=np.int32)
            made.append(Feature((ids_and_segments,), rows, labels, number, (before, offsets[begin:end]), cut))
            if end == len(ids):
                return made
            begin += min(self.stride, budget)

    @staticmethod
    def answer_tokens(example: SpanExample, offsets: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
        """The indices of the first answer's first and last tokens; None if there is no answer or it covers no token."""
        if not example.answers:
            return None
        answer = example.answers[0]
        inside = [
            number
            for number, (begin, end) in enumerate(offsets)
            if begin < answer.start + len(answer.text) and end > answer.start
        ]
        return (inside[0], inside[-1]) if inside else None

    def truth(self, example: SpanExample) -> list[str]:
        return [answer.text for answer in example.answers]

    def decode(
        self, examples: Sequence[SpanExample], features: Sequence[Feature], logits: Sequence[np.ndarray]
    ) -> list[Prediction]:
        spans: list[list[tuple[float, int, int]]] = [[] for _ in examples]  # score, start character, end character
        none = [np.inf] * len(examples)
        for feature, scores in zip(features, logits, strict=True):
            spans[feature.example] += self.best_spans(feature, scores)
            none[feature.example] = min(none[feature.example], float(scores[0].astype(np.float64).sum()))
        return [
            self.choose(example, sorted(found, reverse=True), nothing)
            for example, found, nothing in zip(examples, spans, none, strict=True)
        ]

    def best_spans(self, feature: Feature, scores: np.ndarray) -> list[tuple[float, int, int]]:
        """The best spans in one window, as tuples (score, start character, end character).

        scores [T, 2]: each token's scores as the first and as the last token of the answer.
        """
        before, offsets = feature.location
        first, last = scores[before : before + len(offsets)].T.astype(np.float64)  # [C] each, of the context's tokens
        if not len(first):
            return []
        pairs = np.full((len(first), self.longest), -np.inf)  # [C, longest], indexed by first token and length - 1
        for more in range(min(self.longest, len(first))):
            pairs[: len(first) - more, more] = first[: len(first) - more] + last[more:]
        order = np.argsort(-pairs, axis=None, kind="stable")[: self.best]
        found = []
        for begin, more in zip(*np.unravel_index(order, pairs.shape), strict=True):
            if np.isfinite(pairs[begin, more]):
                found.append((float(pairs[begin, more]), offsets[begin][0], offsets[begin + more][1]))
        return found

    def choose(self, example: SpanExample, spans: list[tuple[float, int, int]], nothing: float) -> Prediction:
        """The prediction for one example, from the spans of all windows and, if allowed, "no answer".

        nothing: the score of "no answer".
        """
        texts: dict[str, float] = {}
        for score, begin, end in spans:
            texts.setdefault(example.context[begin:end], score)
        candidates = list(texts.items())[: self.best]
        if self.may_lack or not candidates:
            candidates.append(("", nothing - self.null_threshold if candidates else 0.0))
        candidates.sort(key=lambda candidate: -candidate[1])
        shares = softmax(np.array([score for _, score in candidates]))
        ranked = [(text, float(share)) for (text, _), share in zip(candidates, shares, strict=True)]
        return Prediction(*ranked[0], ranked[1:])


class ChoiceCodec(Codec):
    """The codec for multiple choice (BERT paper, section 4.4).

    Each ending forms a pair with the text, and a softmax over the scores of all endings gives their probabilities.
    """

    def features(self, example: ChoiceExample, number: int) -> list[Feature]:
        sequences, cuts = zip(*(self.pair(example.text, ending) for ending in example.endings), strict=True)
        starts = np.cumsum([0, *(len(ids) for ids, _ in sequences[:-1])])
        labels = None if example.label is None else as_int32([example.label])
        return [Feature(sequences, as_int32(starts), labels, number, cut=any(cuts))]

    def answer(self, scores: np.ndarray) -> Prediction:
        shares, order = softmax(scores.astype(np.float64)), np.argsort(-scores, kind="stable")
        ranked = [(int(number), float(shares[number])) for number in order]
        return Prediction(*ranked[0], ranked[1:])


CODECS = {
    SENTENCE: SentenceCodec,
    REGRESSION: RegressionCodec,
    TOKENS: WordsCodec,
    SPAN: SpanCodec,
    CHOICE: ChoiceCodec,
}


def labels_of(kind: str, examples: Sequence, named: dict[str, str] | None) -> tuple[str, ...]:
    """The classes of a task: those that the task defines, or otherwise the sorted labels of the examples, "O" first.

    Labels that are all numbers are sorted as numbers.

    Returns () for spans and choices, and ("value",) for regression.  If the labels are taken from the examples, raises
    ValueError if an example has no label, or if all have the same label.
    """
    if kind in (SPAN, CHOICE):
        return ()
    if kind == REGRESSION:
        return ("value",)
    if named is not None:
        return tuple(named.values())
    found: set[str] = set()
    for number, example in enumerate(examples):
        labels = example.labels if kind == TOKENS else [example.label]
        if labels is None or None in labels:
            raise ValueError(f"{example.where or f'example {number + 1} of the training data'}: the label is missing")
        found.update(labels)
    if len(found) < 2:
        raise ValueError(
            f"all training examples have the label {found.pop()!r}; a classifier needs at least two labels"
        )
    if all(NUMBER.fullmatch(label) for label in found):
        return tuple(sorted(found, key=lambda label: (float(label), label)))
    return tuple(sorted(found, key=lambda label: (label != "O", label)))
