"""vocab.txt, tokenizer_config.json and tokenizer.json: ours to transformers, theirs to us, and damaged ones."""

import json
import os

import pytest

from minibert.text import Tokenizer
from minibert.text.files import read_vocabulary
from minibert.text.tokenizer import SPECIAL_TOKENS
from tests.text.random_text import random_strings, telling_vocabulary

VOCABULARY = telling_vocabulary()
TEXTS = ["The [MASK] of the Unión: 国家 ΣΑΣ, İstanbul!", *random_strings(60, seed=7)]
SETTINGS = [
    {},
    {"lowercase": False},
    {"strip_accents": False, "model_max_length": 128},
    {"lowercase": False, "strip_accents": True, "tokenize_chinese_chars": False},
]
every_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def same_settings(one, other):
    names = ("lowercase", "strip_accents", "tokenize_chinese_chars")
    return (
        all(getattr(one.normaliser, name) == getattr(other.normaliser, name) for name in names)
        and one.model_max_length == other.model_max_length
        and one.vocabulary == other.vocabulary
        and one.special_tokens == other.special_tokens
        and one.extra_special_tokens == other.extra_special_tokens
    )


@every_setting
def test_saved_and_loaded_it_is_the_same(settings, tmp_path):
    tokenizer = Tokenizer(VOCABULARY, **settings)
    tokenizer.save(tmp_path / "new" / "folder")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["tokenizer_config.json", "vocab.txt"]
    assert same_settings(Tokenizer.load(tmp_path / "new" / "folder"), tokenizer)
    written = json.loads((tmp_path / "new" / "folder" / "tokenizer_config.json").read_text())
    assert "added_tokens_decoder" not in written  # only special tokens, which their roles describe in full


@every_setting
def test_auto_tokenizer_reads_what_we_wrote_and_we_read_what_it_writes(settings, tmp_path):
    transformers = pytest.importorskip("transformers", reason="AutoTokenizer is transformers'")
    tokenizer = Tokenizer([*VOCABULARY, "<a>", "<b c>"], **settings, extra_special_tokens=["<a>", "<b c>"])
    texts = [*TEXTS, "x<a>y <b c> <b  c>"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    tokenizer.save(ours)
    (ours / "config.json").write_text(json.dumps({"model_type": "bert"}))
    auto = transformers.AutoTokenizer.from_pretrained(ours)
    assert auto.model_max_length == tokenizer.model_max_length
    assert (auto.pad_token_id, auto.mask_token_id) == (tokenizer.pad_id, tokenizer.mask_id)
    for text in texts:
        expected = auto(text, return_offsets_mapping=True)
        encoding = tokenizer.encode(text)
        assert encoding.ids == expected["input_ids"]
        assert encoding.offsets == expected["offset_mapping"]
    pair, expected = tokenizer.encode(*TEXTS[:2], max_length=16), auto(*TEXTS[:2], max_length=16, truncation=True)
    assert (pair.ids, pair.segment_ids) == (expected["input_ids"], expected["token_type_ids"])
    assert tokenizer.decode(pair.ids) == auto.decode(pair.ids, skip_special_tokens=True)

    auto.save_pretrained(theirs)
    assert not (theirs / "vocab.txt").exists()  # all is in tokenizer.json
    assert same_settings(Tokenizer.load(theirs), tokenizer)


def test_tokenizer_json_alone_is_enough(tmp_path):
    from tests.text.peer import peer_tokenizer

    peer = peer_tokenizer(VOCABULARY, lowercase=False, strip_accents=True, tokenize_chinese_chars=False)
    peer.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path)
    assert [tokenizer.encode(text).ids for text in TEXTS] == [peer.encode(text).ids for text in TEXTS]


def test_a_file_with_everything_is_read_by_tokenizers(tmp_path):
    tokenizers = pytest.importorskip("tokenizers", reason="parity needs the extra `peers`")
    from tests.text.peer import peer_tokenizer

    peer = peer_tokenizer(VOCABULARY, lowercase=True)
    peer.add_tokens(["covid-19"])
    values = json.loads(peer.to_str())
    values["model"]["max_input_chars_per_word"] = 7  # which a vocab.txt and its config cannot say
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    tokenizer = Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path / "again")
    written = tokenizers.Tokenizer.from_file(str(tmp_path / "again" / "tokenizer.json"))
    pair = tokenizer.encode("a covid-19 b", "a")
    again = written.encode("a covid-19 b", "a")
    assert (again.ids, again.type_ids) == (pair.ids, pair.segment_ids)
    assert tokenizer.id_of["covid-19"] in pair.ids


def test_a_generic_class_lets_tokenizer_json_go_first(tmp_path):
    from tests.text.peer import peer_tokenizer

    peer_tokenizer(VOCABULARY, lowercase=False).save(str(tmp_path / "tokenizer.json"))
    for name, lowercase in (("BertTokenizer", True), ("PreTrainedTokenizerFast", False)):
        config = {"tokenizer_class": name, "do_lower_case": True}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        assert Tokenizer.load(tmp_path).lowercase is lowercase


def test_vocab_txt_alone_is_enough_and_may_have_windows_line_ends(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*SPECIAL_TOKENS, "été", "\u2028"]).encode())
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.vocabulary == [*SPECIAL_TOKENS, "été", "\u2028"]
    assert tokenizer.lowercase


def test_special_tokens_written_as_objects_or_by_other_names(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["<pad>", *SPECIAL_TOKENS[1:], "a"]))
    config = {"pad_token": {"content": "<pad>", "lstrip": False}, "do_lower_case": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert Tokenizer.load(tmp_path).special_tokens == ("<pad>", *SPECIAL_TOKENS[1:])


def test_a_folder_in_the_older_form(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "a"]))
    config = {
        "tokenizer_class": "BertTokenizer",
        "additional_special_tokens": ["<x>"],
        "added_tokens_decoder": {"6": {"content": "<x>", "special": True}, "0": {"content": "[PAD]"}},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode("a<x>").ids == [2, 5, 6, 3]
    assert tokenizer.extra_special_tokens == ("<x>",)
    config["added_tokens_decoder"]["9"] = config["added_tokens_decoder"].pop("6")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="'<x>' has id 6 here, but was added with id 9"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"vocab\.txt is empty"),
        (b"[PAD]\n[UNK]\na\n[PAD]\n", r"vocab\.txt, line 4: '\[PAD\]' is a duplicate \(first in line 1\)"),
        (b"[PAD]\n\n[UNK]\n", r"vocab\.txt, line 2 is empty"),
        (b"[PAD]\n[UNK]\ncaf\xe9\n", r"vocab\.txt, line 3: byte 15 of the file \(0xE9\) is not UTF-8"),
        (b"[PAD]\n[UNK]\na\n", r"vocab\.txt: the vocabulary lacks the special tokens \[CLS\], \[SEP\], \[MASK\]"),
    ],
)
def test_a_damaged_vocabulary_is_refused_with_file_and_line(content, message, tmp_path):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", '{\n"do_lower_case": tru', r"tokenizer_config\.json, line 2: not valid JSON"),
        ("tokenizer_config.json", "[]", r"tokenizer_config\.json: expected a JSON object, got list"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {}}}', "expected a WordPiece model .* 'BPE'"),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0, "b": 2}}}', "token 'b' has id 2; expected 1"),
        ("tokenizer.json", '{"model": {"vocab": {"a": "0"}}}', "token 'a' has id '0'; expected a whole number"),
    ],
)
def test_other_damaged_files_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither vocab.txt nor tokenizer.json"):
        Tokenizer.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Tokenizer.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        read_vocabulary(tmp_path / "vocab.txt")


def test_saving_replaces_a_file_whole_or_not_at_all(tmp_path, monkeypatch):
    Tokenizer([*SPECIAL_TOKENS, "old"]).save(tmp_path)

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        Tokenizer([*SPECIAL_TOKENS, "new"]).save(tmp_path)
    monkeypatch.undo()
    assert Tokenizer.load(tmp_path).vocabulary == [*SPECIAL_TOKENS, "old"]
    assert sorted(os.listdir(tmp_path)) == ["tokenizer_config.json", "vocab.txt"]
    Tokenizer([*SPECIAL_TOKENS, "new"]).save(tmp_path)
    assert Tokenizer.load(tmp_path).vocabulary == [*SPECIAL_TOKENS, "new"]


def test_saving_does_not_hide_behind_a_tokenizer_json(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FileExistsError, match="tokenizer.json is in the way"):
        Tokenizer(VOCABULARY).save(tmp_path)


@pytest.mark.parametrize("token", ["", "a\nb", "a\rb"])
def test_a_token_that_no_line_can_hold_is_refused_before_anything_is_written(token, tmp_path):
    with pytest.raises(ValueError, match=r"token 5 is .* a line of vocab\.txt cannot hold"):
        Tokenizer([*SPECIAL_TOKENS, token]).save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_token_with_a_role_is_special_whatever_its_entry_says(tmp_path):
    Tokenizer([*SPECIAL_TOKENS, "a"]).save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    entry = {"content": "[CLS]", "special": False, "normalized": False}
    path.write_text(json.dumps({**json.loads(path.read_text()), "added_tokens_decoder": {"2": entry}}))
    tokenizer = Tokenizer.load(tmp_path)
    assert next(token for token in tokenizer.added_tokens if token.content == "[CLS]").special
    assert tokenizer.decode(tokenizer.encode("a").ids) == "a"
