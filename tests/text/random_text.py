"""Random strings that hit what tokenizers get wrong, and a vocabulary that shows it."""

import random

from minibert.text import unicode_tables
from minibert.text.characters import decompose, lower
from minibert.text.tokenizer import SPECIAL_TOKENS

ALPHABETS = {
    "English": "etaoinshrdlu ETAOINSHRDLU" * 2 + " .,!?'\"-0123456789",
    "Latin": "àéîõüçñøåßæœÀÉÎÕÜÇÑØÅẞÆŒİıŁłǅǆĿŉẛſﬁﬀ" + "".join(map(chr, range(0x1E00, 0x1F00))),
    "Greek": "αβγδεζηθικλμνξοπρσςτυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΆΈΉΊΌΎΏΐΰᾳῼΣΣΣ ",
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИЙКЛМЁЇЎѝҐ ",
    "right to left": "אבגדהוזחטיכלמנסעפצקרשתְֱֲֳִ\u200f\u200e\u202b\u202cابتثجحخدذرزسشصضطظعغفقكلمنهويًٌٍَُِّٰۖ۬،؛؟ ",
    "Indic": "कखगघङचछजझञटठड़ढ़ािीुूेैोौंः्०१२३।॥ஃஅஆஇகஙசஞடണതമാിീുംഃ྅ཱཱིུྲྀཷླྀཹ ",
    "Chinese": "中文国语漢字學習豈更車賈﹐﹑。、，！？「」『』㐀㐁𠀀𠀁𫜀𫠠𬺰丽丸乁 ",
    "Japanese and Korean": "あいうえおがぎぐげごぱぴぷアイウエオガギグパピプ゛゜ー한국어각힣ᄀ까ᅢᆨᆩ ",
    "emoji": "😀😂❤️👍👍🏽👨‍👩‍👧‍👦🏳️‍🌈🇩🇪🇫🇷#️⃣1️⃣☀☂✂️🫠🧑‍🚀‍\ufe0f\u20e3 ",
    "white space": " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000",
    "control": "\x00\x01\x07\x08\x1b\x7f\x80\x9f\xad\u061c\u180e\u200b\u200c\u200d\u2060\ufeff"
    "\ufff9\ufffc\ufffd\ue000\U000e0001",
    "punctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡§«¶·»¿‐–—‘’“”†…‰€£¥©®°±×÷\u037e\u0387\u1fef՚׀؉٪।៘᠆⁅⸺﴾︙﹖｡｟",
    "letters beyond Unicode 14": "\u1c89\u1c8aꟋꟌꟍꟚꟛꟜ𐵐𐵑𐵥𐵰𖺠𖺡𖺸𖺻",
    "mathematics and more": "𝐀𝑎ΩKÅℵⅣⅳⒶⓐ①½²₃ªº™㎏ﬃ𝄞𝅗𝅥𝅘𝅥𝅮𝅘𝅥𝅯",
}


def characters_of(table):
    """The characters of a table such as unicode_tables.COMBINING."""
    spans = [span.split("-") for span in table.split()]
    return [chr(code) for span in spans for code in range(int(span[0], 16), int(span[-1], 16) + 1)]


MARKS = characters_of(unicode_tables.COMBINING) + characters_of(unicode_tables.NONSPACING)
KEPT_MARKS = characters_of(unicode_tables.COMBINING_BUT_KEPT)
COMPOSED = [c for c in characters_of(unicode_tables.DECOMPOSED) if not "\uac00" <= c <= "\ud7a3"]
CAPITALS = [run[: -len(run.lstrip("0123456789ABCDEF"))] for run in unicode_tables.LOWER.split()]
CAPITALS = [chr(int(code, 16)) for code in CAPITALS if code]
PUNCTUATION = characters_of(unicode_tables.PUNCTUATION)


def any_character(rng):
    """Any code point but a surrogate, the first planes more often than the empty ones."""
    code = rng.randrange(rng.choice([0x250, 0x3000, 0x10000, 0x20000, 0x110000]))
    return any_character(rng) if 0xD800 <= code <= 0xDFFF else chr(code)


def random_string(rng):
    """A string of 0 to 60 characters (now and then a word of more than 100) in one or two styles."""
    alphabets = [ALPHABETS[name] for name in rng.sample(sorted(ALPHABETS), 2)] + [ALPHABETS["English"]]
    pieces = []
    for _ in range(rng.randrange(rng.choice([4, 16, 60]))):
        draw = rng.random()
        if draw < 0.70:
            pieces.append(rng.choice(rng.choice(alphabets)))
        elif draw < 0.80:
            pieces.append(rng.choice(rng.choice([MARKS, KEPT_MARKS, COMPOSED, CAPITALS, PUNCTUATION])))
        elif draw < 0.86:
            pieces += rng.choices(rng.choice([MARKS, KEPT_MARKS, MARKS + KEPT_MARKS]), k=rng.randrange(1, 5))
        elif draw < 0.93:
            pieces.append(any_character(rng))
        elif draw < 0.96:
            pieces.append(rng.choice([*SPECIAL_TOKENS, "[mask]", "[MASK", "CLS]", "[[SEP]]", "##", "don't"]))
        elif draw < 0.963:
            pieces.append(rng.choice("aeτд國") * rng.choice([99, 100, 101]))
        else:
            pieces.append(rng.choice(" \n"))
    return "".join(pieces)


def random_strings(count, seed):
    rng = random.Random(seed)
    return [random_string(rng) for _ in range(count)]


def telling_vocabulary(seed=0):
    """Most of the characters above, plain and with ##, as they are and normalised, and some longer pieces.

    With pieces that short nearly every change to a text changes its ids or its offsets; some characters are left
    out, so that there are unknown words too.
    """
    rng = random.Random(seed)
    characters = {c for text in ALPHABETS.values() for c in text} | {*MARKS, *COMPOSED, *CAPITALS, *PUNCTUATION}
    characters |= {part for c in characters for part in decompose(c)}
    characters |= {part for c in characters for part in lower(c)}
    characters = sorted(c for c in characters if not c.isspace())  # transformers trims the lines of a vocab.txt
    pieces = {spelled for c in characters for spelled in (c, "##" + c) if rng.random() < 0.95}
    for text in ALPHABETS.values():
        letters = [c for c in text if not c.isspace()] or ["a"]
        for length in (2, 2, 3, 4) * 20:
            pieces.add(rng.choice(["", "##"]) + "".join(map(lower, rng.choices(letters, k=length))))
    return [*SPECIAL_TOKENS, *sorted(pieces - {*SPECIAL_TOKENS, "", "##"})]
