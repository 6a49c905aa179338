"""Ids, offsets and decoded text equal those of the `tokenizers` library: random text, and every code point."""

import random
from functools import partial

import pytest

from minibert.text import Tokenizer, unicode_tables
from minibert.text.added_tokens import AddedTokens
from minibert.text.tokenizer import Rules
from tests.text.peer import SETTINGS, assert_same, differences, peer_tokenizer, same_encoding
from tests.text.random_text import characters_of, random_strings, telling_vocabulary

VOCABULARY = telling_vocabulary()
every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())


def both(settings):
    return Tokenizer(VOCABULARY, *settings), peer_tokenizer(VOCABULARY, *settings)


@every_setting
def test_random_strings(settings):
    assert_same(*both(settings), random_strings(800, seed=1))


@pytest.mark.thorough
@every_setting
def test_fifty_thousand_random_strings_each(settings):
    assert_same(*both(settings), random_strings(50_000, seed=2))


def around_every_range(step):
    """The characters at both ends of every range of every table, inside and outside, and every step-th one."""
    codes = set(range(0, 0x110000, step))
    for name in ("REMOVED", "WHITESPACE", "CHINESE", "PUNCTUATION", "DECOMPOSED", "NONSPACING", "COMBINING"):
        inside = set(map(ord, characters_of(getattr(unicode_tables, name))))
        codes |= {code for code in inside if code - 1 not in inside or code + 1 not in inside}
        codes |= {code + 1 for code in inside if code + 1 not in inside}
        codes |= {code - 1 for code in inside if code - 1 not in inside}
    for run in unicode_tables.LOWER.split():
        first = int(run.split("-")[0].split("+")[0].split("/")[0], 16)
        codes |= set(range(max(first - 1, 0), first + 3))
    return [chr(code) for code in sorted(codes) if 0 <= code < 0xD800 or 0xDFFF < code < 0x110000]


def in_context(characters):
    """Texts in which each character stands alone, and between capitals, before accents."""
    for begin in range(0, len(characters), 500):
        yield " ".join(f"{c} aΣ{c}É\u0301\u0323" for c in characters[begin : begin + 500])


@pytest.mark.slow
@every_setting
def test_characters_at_the_ends_of_every_range(settings):
    assert_same(*both(settings), list(in_context(around_every_range(step=499))))


EVERY_CHARACTER = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
# All that Unicode has assigned outside private use, and what it may assign next
LIKELY = [c for c in EVERY_CHARACTER if c < "\U00034000" or "\U000e0000" <= c < "\U000e1000"]


def assert_normalised_and_split_alike(characters, settings):
    tokenizer, peer = both(settings)
    for begin in range(0, len(characters), 1000):
        text = " ".join(f"a{c}b" for c in characters[begin : begin + 1000])
        normalised = tokenizer.normaliser.normalise(text)[0]
        assert normalised == peer.normalizer.normalize_str(text)
        words = [word for word, _ in peer.pre_tokenizer.pre_tokenize_str(normalised)]
        assert tokenizer._words.findall(normalised) == words


@pytest.mark.thorough
def test_every_code_point_is_normalised_and_split_alike():
    assert_normalised_and_split_alike(EVERY_CHARACTER, SETTINGS["uncased"])


@pytest.mark.slow
@every_setting
def test_every_likely_code_point_is_normalised_and_split_alike(settings):
    assert_normalised_and_split_alike(LIKELY, settings)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["uncased", "cased"])
def test_every_likely_code_point_is_encoded_alike(name):
    assert_same(*both(SETTINGS[name]), list(in_context(LIKELY)))


# The Universal Declaration of Human Rights, the beginning of article 1
REAL_TEXT = [
    "All human beings are born free and equal in dignity and rights.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. BÜTÜN İNSANLAR HÜR DOĞARLAR.",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. ΟΛΟΙ ΟΙ ΑΝΘΡΩΠΟΙ",
    "Все люди рождаются свободными и равными в своем достоинстве и правах. ЁЖИК, ЙОД",
    "כל בני אדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "人人生而自由，在尊严和权利上一律平等。",
    "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და უფლებებით.",
    "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ ու իրավունքներով։",
]


@every_setting
def test_real_text_in_fifteen_languages(settings):
    from minibert.text import learn_vocabulary

    texts = REAL_TEXT + [text.upper() for text in REAL_TEXT] + [" ".join(REAL_TEXT)]
    vocabulary = learn_vocabulary(
        texts,
        1500,
        lowercase=settings[0],
        strip_accents=settings[1],
        tokenize_chinese_chars=settings[2],
        limit_alphabet=400,
    )
    assert_same(Tokenizer(vocabulary, *settings), peer_tokenizer(vocabulary, *settings), texts)


def test_greek_final_sigma_is_lowered_like_any_other():
    tokenizer, peer = both(SETTINGS["uncased"])
    assert tokenizer.normaliser.normalise("ΟΔΟΣ ΣΑΣ")[0] == "οδοσ σασ" == peer.normalizer.normalize_str("ΟΔΟΣ ΣΑΣ")


@pytest.mark.parametrize("length", [99, 100, 101])
def test_longest_word(length):
    vocabulary = [*VOCABULARY[:5], "x", "##x"]
    assert_same(Tokenizer(vocabulary), peer_tokenizer(vocabulary), ["x" * length, "é" * length, "x\u0301" * length])


def test_pairs_and_truncation():
    tokenizer, peer = both(SETTINGS["uncased"])
    rng = random.Random(3)
    texts = random_strings(300, seed=4)
    for text, pair in zip(texts, reversed(texts), strict=True):
        pair = None if rng.random() < 0.3 else pair
        max_length = rng.randrange(4, 40)
        peer.enable_truncation(max_length, strategy="longest_first")
        assert same_encoding(tokenizer.encode(text, pair, max_length), peer.encode(text, pair))
        peer.no_truncation()
        assert same_encoding(tokenizer.encode(text, pair), peer.encode(text, pair))


def test_every_truncation_of_short_pairs():
    tokenizer, peer = both(SETTINGS["uncased"])
    for first in range(6):
        for second in range(6):
            for max_length in range(4, 14):  # theirs keeps one token too many at 3
                peer.enable_truncation(max_length)
                ours = tokenizer.encode("a " * first, "b " * second, max_length)
                assert same_encoding(ours, peer.encode("a " * first, "b " * second))


def test_fast_path_gives_the_same_ids():
    tokenizer = Tokenizer(VOCABULARY)
    for text in random_strings(500, seed=5):
        assert tokenizer.tokenize_ids(text) == tokenizer.encode(text).ids[1:-1]


@pytest.mark.parametrize("skip", [True, False])
def test_decoding(skip):
    vocabulary = [*VOCABULARY, "n't", "'s", "'m", ".a", "?b"]
    tokenizer, peer = Tokenizer(vocabulary), peer_tokenizer(vocabulary)
    rng = random.Random(6)
    for _ in range(1000):
        ids = [rng.choice([rng.randrange(len(vocabulary)), rng.randrange(200), len(vocabulary) - 1 - rng.randrange(5)])
               for _ in range(rng.randrange(12))]  # fmt: skip
        assert tokenizer.decode(ids, skip) == peer.decode(ids, skip_special_tokens=skip)


# Planted bugs: the sample that the daily tests use must show each of them.
def plant_casefold(patch):
    patch.setattr("minibert.text.normalisation.lower", str.casefold)


def plant_final_sigma(patch):
    from minibert.text.characters import lower

    patch.setattr("minibert.text.normalisation.lower", lambda c: "ς" if c == "Σ" else lower(c))


def plant_python_accents(patch):
    import unicodedata

    patch.setattr("minibert.text.normalisation.is_accent", lambda c: unicodedata.category(c) == "Mn")


def plant_marks_as_written(patch):
    patch.setattr("minibert.text.normalisation.combining_class", lambda c: 0)


def plant_origins_by_character(patch):
    from minibert.text.normalisation import Normaliser

    patch.setattr(Normaliser, "_normalise_with_order", lambda self, text: _without_order(self, text))


def _without_order(normaliser, text):
    made = [normaliser._becomes[c] for c in text]
    return "".join(made), [index for index, part in enumerate(made) for _ in part]


def plant_ascii_punctuation(patch):
    import re

    pattern = re.compile("[!-/:-@[-`{-~]|[^ !-/:-@[-`{-~]+")
    patch.setattr("minibert.text.tokenizer.word_pattern", lambda: pattern)


def plant_word_length(patch):
    patch.setattr("minibert.text.tokenizer.Rules", partial(Rules, max_word_length=99))


def plant_no_chinese(patch):
    patch.setattr("minibert.text.normalisation.spread_chinese", lambda c: c)


def plant_format_characters_kept(patch):
    from minibert.text.characters import clean

    patch.setattr("minibert.text.normalisation.clean", lambda c: c if c == "\u200d" else clean(c))


def plant_special_tokens_split(patch):
    patch.setattr(AddedTokens, "split", lambda self, text: [(0, len(text), None)])


@pytest.mark.slow
@pytest.mark.parametrize("plant", [f for name, f in sorted(globals().items()) if name.startswith("plant_")])
def test_a_planted_bug_is_seen(plant, monkeypatch):
    peer = peer_tokenizer(VOCABULARY)
    texts = random_strings(800, seed=1)
    plant(monkeypatch)
    assert differences(Tokenizer(VOCABULARY), peer, texts)
