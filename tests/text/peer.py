"""The `tokenizers` library's BERT tokenizer, set up as transformers' AutoTokenizer sets it up for a BERT folder."""

import pytest

SETTINGS = {  # name -> lowercase, strip_accents, tokenize_chinese_chars
    "uncased": (True, None, True),
    "cased": (False, None, True),
    "uncased with accents": (True, False, False),
    "cased without accents": (False, True, False),
}


def peer_tokenizer(vocabulary, lowercase=True, strip_accents=None, tokenize_chinese_chars=True):
    tokenizers = pytest.importorskip("tokenizers", reason="parity is measured against the tokenizers library")
    ids = {token: token_id for token_id, token in enumerate(vocabulary)}
    peer = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    peer.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=tokenize_chinese_chars,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    peer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    peer.decoder = tokenizers.decoders.WordPiece(prefix="##")
    peer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    peer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return peer


def same_encoding(ours, theirs):
    return (
        ours.ids == theirs.ids
        and ours.offsets == theirs.offsets
        and ours.tokens == theirs.tokens
        and ours.segment_ids == theirs.type_ids
        and ours.special_mask == theirs.special_tokens_mask
    )


def differences(tokenizer, peer, texts):
    """The texts that the two encode differently."""
    return [text for text in texts if not same_encoding(tokenizer.encode(text), peer.encode(text))]


def assert_same(tokenizer, peer, texts):
    different = differences(tokenizer, peer, texts)
    if different:
        text = min(different, key=len)
        ours, theirs = tokenizer.encode(text), peer.encode(text)
        pytest.fail(
            f"{len(different)} of {len(texts)} texts differ; the shortest is {ascii(text)}:\n"
            f"ours   {ascii(list(zip(ours.tokens, ours.offsets, strict=True)))}\n"
            f"theirs {ascii(list(zip(theirs.tokens, theirs.offsets, strict=True)))}"
        )
