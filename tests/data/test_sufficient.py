"""A corpus that is too small for a run is refused when it has been read, before a vocabulary is learnt."""

import pytest

from minibert.data.corpus import Document
from minibert.data.sufficient import Need, Sufficient

NEEDS = [Need(8, False), Need(32, True)]


def documents(count, sentences, text="The rain fell on the roof. "):
    return [Document(f"d{i}", f"d{i}", text * sentences) for i in range(count)]


def passed(corpus, needs=NEEDS, batch_tokens=128, tune=False):
    return list(Sufficient(needs, batch_tokens, 0.05, tune).passed(corpus))


def test_documents_are_passed_on_unchanged():
    corpus = documents(40, 5)
    assert passed(corpus) == corpus
    assert passed(corpus, tune=True) == corpus


@pytest.mark.parametrize(
    "corpus, options, message",
    [
        (documents(1, 50), {}, "the corpus has 1 document; expected at least 2"),
        (documents(2, 50), {}, "sentence pairs need at least two documents"),
        (documents(3, 50), {}, "cannot evaluate on the 1 held-out documents"),
        (documents(2, 50), dict(needs=NEEDS[:1], tune=True), "too small to set documents aside for --tune"),
        (
            documents(5, 2),
            dict(needs=NEEDS[1:], batch_tokens=1024),
            "a batch of 1024 tokens needs 32 sequences of 32 tokens",
        ),
        (documents(9, 1, "A."), dict(needs=NEEDS[:1], batch_tokens=800), "needs 100 sequences of 8 tokens"),
    ],
)
def test_what_cannot_be_enough_is_refused_after_the_last_document(corpus, options, message):
    read = []
    with pytest.raises(ValueError, match=message) as caught:
        for document in Sufficient(
            options.get("needs", NEEDS), options.get("batch_tokens", 128), 0.05, options.get("tune", False)
        ).passed(corpus):
            read.append(document)
    assert read == corpus and "\n" not in str(caught.value)


def test_documents_of_one_sentence_count_since_they_are_cut():
    assert len(passed(documents(30, 1))) == 30


def test_sentences_are_not_counted_beyond_what_is_plenty(monkeypatch):
    from minibert.data import sufficient

    calls = []
    real = sufficient.split_sentences
    monkeypatch.setattr(sufficient, "split_sentences", lambda *given: calls.append(given) or real(*given))
    passed(documents(2000, 11), needs=[Need(32, True)])
    assert len(calls) == 4 * sufficient.PLENTY / 10
