"""A matrix of model folders that tokenizers and transformers wrote: the same ids as transformers', or a refusal."""

import json
import random

import pytest

from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS
from tests.text.random_text import random_strings, telling_vocabulary

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors  # noqa: E402

PIECES = "covid", "##19", "the", "state", "##s", "new", "york", "@@s", "@@a", "@@e", "aa"
VOCABULARY = [*dict.fromkeys([*telling_vocabulary()[::7], *"".join(map(str, range(10))), *"abcdefghst<>!", *PIECES])]
VOCABULARY = [*SPECIAL_TOKENS, *(piece for piece in VOCABULARY if piece not in SPECIAL_TOKENS)]
HARD = [
    "The États-Unis: 国家 ΣΑΣ, İstanbul! ǅ ﬁ",
    "covid19 COVID19 xcovid19y covid19. covid1 Covid19\u0301 co\u00advid19 covid 19",
    "new york New\tYork new  york NEW YORKERS newyork",
    "a <x> b<x>c \t<x>\u00a0<x> d\x85<x>\x0b! <X> <x><x>",
    "<s>a <img> <k><e> covid <pad> [PAD] <X> aa covid19",
    "[CLS] the [MASK] of [SEP][PAD] [UNK] [mask] [[MASK]]",
    "\x00a\x07b\ufffdc\u200bd\u200de\r\nf\x0bg\x0ch\x85i\u2028j\u3000k",
    "thestates " + "a" * 101 + " " + "b" * 100 + " aaaa aaaaa aaaaaa",
    "👨‍👩‍👧‍👦 ❤️ 1️⃣ 🏽 naïve café e\u0301\u0323 o\u0338",
    "国a 国 a x国ax 中国人 日本語 한국어 हिन्दी ไทย",
    "state State STATE états _state_ state2 state-state stateless",
    "",
    " ",
]
TEXTS = [*HARD, *random_strings(8, seed=3)]
WORDS = [
    "covid19", "new york", "State", "国a", "<x>", "é", AddedToken("<x>", lstrip=True), AddedToken("<x>", rstrip=True),
    AddedToken("<x>", lstrip=True, rstrip=True, normalized=False), AddedToken("state", single_word=True),
    AddedToken("STATE", single_word=True, normalized=False), AddedToken("Covid19", normalized=False),
    AddedToken("new york", lstrip=True, rstrip=True), AddedToken("<y>", special=True),
    AddedToken("a", single_word=True),
]  # fmt: skip


def pick(rng, usual, *others, share=0.35):
    return rng.choice(others) if rng.random() < share else usual


def peer(rng):
    """A random tokenizer of the tokenizers library, and whether all of it is BERT's."""
    prefix = pick(rng, "##", "@@", "", share=0.15)
    unknown = SPECIAL_TOKENS[1]
    vocabulary = {token: number for number, token in enumerate(VOCABULARY)}
    made = tokenizers.Tokenizer(
        models.WordPiece(
            vocabulary,
            unk_token=unknown,
            continuing_subword_prefix=prefix,
            max_input_chars_per_word=pick(rng, 100, 5, 101, 1, share=0.2),
        )
    )
    bert = normalizers.BertNormalizer(
        clean_text=pick(rng, True, False),
        handle_chinese_chars=pick(rng, True, False),
        strip_accents=rng.choice([None, True, False]),
        lowercase=rng.choice([True, False]),
    )
    berts = True  # whether all of it is BERT's, so that it must be accepted
    kind = pick(rng, "bert", "one", "nfkc", "none", "two", "lower", share=0.2)
    berts &= kind in ("bert", "one")
    made.normalizer = {
        "bert": bert,
        "one": normalizers.Sequence([bert]),
        "nfkc": normalizers.NFKC(),
        "none": None,
        "two": normalizers.Sequence([normalizers.NFC(), bert]),
        "lower": normalizers.Lowercase(),
    }[kind]
    split = pick(rng, "bert", "one", "space", "none", share=0.15)
    berts &= split in ("bert", "one")
    made.pre_tokenizer = {
        "bert": pre_tokenizers.BertPreTokenizer(),
        "one": pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer()]),
        "space": pre_tokenizers.Whitespace(),
        "none": None,
    }[split]
    special = [("[CLS]", 2), ("[SEP]", 3)]
    template = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=special
    )
    frame = pick(rng, "template", "bert", "one", "half", share=0.2)
    berts &= frame != "half"
    made.post_processor = {
        "template": template,
        "bert": processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
        "one": processors.Sequence([template]),
        "half": processors.TemplateProcessing(single="[CLS] $A", pair="[CLS] $A $B", special_tokens=special),
    }[frame]
    if rng.random() < 0.8:
        made.add_special_tokens(list(SPECIAL_TOKENS))
    made.add_tokens(rng.sample(WORDS, rng.choice([0, 0, 1, 2, 3])))
    if rng.random() < 0.3:
        side = pick(rng, "right", "left", share=0.2)
        berts &= side == "right"
        made.enable_truncation(8, direction=side)
        made.enable_padding(length=16, pad_token=pick(rng, "[PAD]", "<pad>", "the"))
    return made, berts


ROLES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True))


SEEDS = range(5)
CONTRADICTIONS = "are the same text once normalised", "in tokenizer_config.json and '[UNK]' in tokenizer.json"
EXTRAS = [
    {}, {"bos_token": "<s>"}, {"image_token": "<img>"}, {"extra_special_tokens": ["<e>", "covid"]},
    {"extra_special_tokens": {"kind_token": "<k>"}}, {"additional_special_tokens": ["<e>", "<x>"]},
    {"mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": True, "normalized": False}},
    {"pad_token": "<pad>"}, {"sep_token": "the", "cls_token": "state"}, {"unk_token": "aa"},
]  # fmt: skip


def write(rng, folder):
    """Write a random folder in one of the forms that are in circulation; returns whether all of it is BERT's."""
    form = rng.choice(["json alone", "json and class", "json and model", "fast", "bert", "legacy", "decoder"])
    casing = {
        "do_lower_case": rng.choice([True, False]),
        "strip_accents": rng.choice([None, True, False]),
        "tokenize_chinese_chars": pick(rng, True, False),
    }
    words = rng.sample(WORDS, rng.choice([0, 1, 2, 3]))
    berts = True
    folder.mkdir()
    if form.startswith("json"):
        made, berts = peer(rng)
        made.save(str(folder / "tokenizer.json"))
        names = ["BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", "DistilBertTokenizer"]
        if form == "json and class":
            extras = pick(rng, {}, *EXTRAS)
            config = {"tokenizer_class": rng.choice([*names, "ElectraTokenizerFast", "TokenizersBackend"])}
            config |= rng.choice([{}, casing, casing | ROLES]) | extras
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
        if form == "json and model":
            (folder / "config.json").write_text(json.dumps({"model_type": rng.choice(["bert", "distilbert"])}))
    elif form == "fast":
        made, berts = peer(rng)
        theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=made, **rng.choice([{}, ROLES]))
        theirs.add_tokens(words)
        theirs.save_pretrained(folder)
    else:
        new = {str(word): word for word in words if str(word) not in VOCABULARY}
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY))
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
        if form == "bert":
            theirs = transformers.BertTokenizer(str(folder / "vocab.txt"), **casing)
            theirs.add_tokens(words)
            if rng.random() < 0.5:
                theirs.add_special_tokens({"extra_special_tokens": ["<e>", AddedToken("<f>", lstrip=True)]})
            theirs.save_pretrained(folder)
        elif form == "legacy":  # as transformers 2 to 4.33 wrote them
            added = {word: len(VOCABULARY) + number for number, word in enumerate(new)}
            (folder / "added_tokens.json").write_text(json.dumps(added))
            mask = rng.choice(
                ["[MASK]", {"content": "[MASK]", "lstrip": True, "normalized": rng.choice([True, False])}]
            )
            special = {**ROLES, "mask_token": mask}
            special |= rng.choice([{}, {"additional_special_tokens": ["<x>"]}])
            (folder / "special_tokens_map.json").write_text(json.dumps(special))
            (folder / "tokenizer_config.json").write_text(json.dumps(casing | pick(rng, {}, *EXTRAS)))
        else:  # 4.34 and later
            flags = ("lstrip", "rstrip", "single_word", "normalized", "special")
            listed = [AddedToken(name, special=True) for name in SPECIAL_TOKENS]
            listed += [word if isinstance(word, AddedToken) else AddedToken(word) for word in new.values()]
            numbers = [*range(5), *range(len(VOCABULARY), len(VOCABULARY) + len(new))]
            decoder = {
                str(number): {"content": token.content, **{flag: getattr(token, flag) for flag in flags}}
                for number, token in zip(numbers, listed, strict=True)
            }
            config = casing | {"tokenizer_class": "BertTokenizer", "added_tokens_decoder": decoder} | ROLES
            config |= pick(rng, {}, *EXTRAS)
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            (folder / "added_tokens.json").write_text(json.dumps({"zzz": 99}))  # not read
    return berts


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_folder_gives_the_same_ids_as_in_transformers_or_is_refused(seed, tmp_path):
    rng = random.Random(seed)
    accepted = 0
    for number in range(24):
        folder = tmp_path / str(number)
        berts = write(rng, folder)
        try:
            ours = Tokenizer.load(folder)
        except ValueError as error:
            assert "\n" not in str(error)
            if berts and not any(words in str(error) for words in CONTRADICTIONS):
                pytest.fail(f"seed {seed}, folder {number}: {error}")
            continue
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        accepted += 1
        ours.save(tmp_path / "saved" / str(number))
        saved = Tokenizer.load(tmp_path / "saved" / str(number))
        for text in TEXTS:
            expected = theirs(text)["input_ids"]
            assert ours.encode(text).ids == expected, f"seed {seed}, folder {number}, {ascii(text)}"
            assert ours.tokenize_ids(text) == expected[1:-1]
            assert saved.encode(text).ids == expected, f"saved again: seed {seed}, folder {number}, {ascii(text)}"
        pair = theirs(HARD[0], HARD[1])
        mine = ours.encode(HARD[0], HARD[1])
        assert (mine.ids, mine.segment_ids) == (pair["input_ids"], pair.get("token_type_ids", mine.segment_ids))
    assert accepted > 10


@pytest.fixture
def folder(tmp_path):
    """A folder with a tokenizer.json of BERT's form, and a function that changes one of its files and loads it."""
    made = tokenizers.Tokenizer(models.WordPiece({t: i for i, t in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_special_tokens(list(SPECIAL_TOKENS))
    made.add_tokens(["covid19"])
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))

    def change(name, **entries):
        path = tmp_path / name
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(content | entries))
        return Tokenizer.load(tmp_path)

    return change


JSON, CONFIG = "tokenizer.json", "tokenizer_config.json"


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [
        (JSON, {"normalizer": None}, "the normalizer is missing; expected BertNormalizer"),
        (JSON, {"normalizer": {"type": "NFKC"}}, "the normalizer is NFKC; expected BertNormalizer"),
        (
            JSON,
            {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}},
            "the normalizer is Sequence of NFC, Lowercase; expected BertNormalizer",
        ),
        (JSON, {"pre_tokenizer": None}, "the pre_tokenizer is missing; expected BertPreTokenizer"),
        (JSON, {"pre_tokenizer": {"type": "Whitespace"}}, "the pre_tokenizer is Whitespace"),
        (JSON, {"post_processor": None}, "the post-processor is missing, and does not put"),
        (JSON, {"post_processor": {"type": "ByteLevel"}}, "the post-processor is ByteLevel, and does not put"),
        (JSON, {"model": {"type": "Unigram", "vocab": []}}, "expected a WordPiece model with a vocab, got .*Unigram"),
        (CONFIG, {"tokenizer_class": "BertJapaneseTokenizer"}, "is a BertJapaneseTokenizer; expected a BertTokenizer"),
        (CONFIG, {"tokenizer_class": "RobertaTokenizerFast"}, "is a RobertaTokenizerFast"),
        (CONFIG, {"auto_map": {"AutoTokenizer": ["x.Y", None]}}, "auto_map names Python code"),
        (CONFIG, {"split_special_tokens": True}, "split_special_tokens is True"),
        (CONFIG, {"truncation_side": "left"}, "truncation_side is 'left'"),
        (
            JSON,
            {"truncation": {"direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0}},
            "the truncation's direction is 'Left'; expected 'Right'",
        ),
        (CONFIG, {"do_lower_case": "yes"}, "do_lower_case is 'yes'; expected true or false"),
        (CONFIG, {"unk_token": "<unk>"}, "unk_token is '<unk>' in tokenizer_config.json and '.UNK.' in tokenizer.json"),
        (CONFIG, {"model_max_length": "long"}, "model_max_length is 'long'"),
        (CONFIG, {"added_tokens_decoder": {"7": {"content": "<z>"}}}, "token '<z>' has id .* but was added with id 7"),
        (CONFIG, {"added_tokens_decoder": {"7": "<z>"}}, "'<z>' is not an added token"),
        (
            CONFIG,
            {"added_tokens_decoder": {"0": {"content": "[PAD]", "special": True, "lstrip": True}}},
            r"tokenizer.json and tokenizer_config.json describe '\[PAD\]' differently",
        ),
        (
            CONFIG,
            {"added_tokens_decoder": {"9": {"content": "Covid19", "normalized": True}}},
            "'covid19' and 'Covid19' are the same text once normalised",
        ),
    ],
)
def test_what_is_not_berts_is_refused_by_name(name, entries, message, folder):
    assert folder(CONFIG).encode("covid19").ids[1] == len(VOCABULARY)
    with pytest.raises(ValueError, match=message) as error:
        folder(name, **entries)
    assert "\n" not in str(error.value)


PADDING = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0}


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "BertTokenizer"])
@pytest.mark.parametrize("token", ["[PAD]", "<pad>", "the"])
@pytest.mark.parametrize("named", [{}, {"pad_token": "[PAD]"}])
def test_the_padding_of_tokenizer_json_can_name_the_token(kind, token, named, folder, tmp_path):
    """A generic class makes it a special token, which is then found in texts, if no other file names one."""
    folder(JSON, padding=PADDING | {"pad_token": token}, added_tokens=[])
    ours = folder(CONFIG, tokenizer_class=kind, **named)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("the <pad> [PAD] state[PAD]<pad>the", *HARD):
        assert ours.encode(text).ids == theirs(text)["input_ids"]


def test_the_type_of_the_model_decides_where_no_class_is_named(folder):
    folder(JSON, normalizer={"type": "BertNormalizer", "lowercase": False})
    assert not folder(CONFIG, tokenizer_class=None).lowercase
    assert folder("config.json", model_type="distilbert").lowercase
    with pytest.raises(ValueError, match="the model is of type 'mpnet', and .* names no tokenizer_class"):
        folder("config.json", model_type="mpnet")


def test_settings_that_the_class_overrules_are_named(folder, caplog):
    folder(JSON, normalizer={"type": "BertNormalizer", "lowercase": False, "clean_text": True})
    assert not caplog.text
    assert folder(CONFIG, tokenizer_class="BertTokenizer").lowercase
    assert "tokenizer.json has lowercase false, but transformers' BertTokenizer takes true" in caplog.text


@pytest.mark.parametrize(
    ("entry", "expected"),
    [({}, int(1e30)), ({"model_max_length": None}, int(1e30)), ({"model_max_length": float("inf")}, int(1e30)),
     ({"model_max_length": 1e30}, int(1e30)), ({"model_max_length": 128}, 128), ({"max_len": 256}, 256)],
)  # fmt: skip
def test_a_length_without_limit(entry, expected, folder):
    assert folder(CONFIG, **entry).model_max_length == expected
