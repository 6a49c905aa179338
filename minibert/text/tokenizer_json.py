"""What a tokenizer.json says, and which of the files of a folder decides, as in transformers 5.

tokenizer.json is the file of the `tokenizers` library.  It can describe far more than BERT's tokenizer; what is not
BERT's is refused by name (docs/using.md has the table).  With the class BertTokenizer, `transformers` takes only the
vocabulary and the added tokens from it, and the other settings from tokenizer_config.json; with a generic class, it
takes everything from it.
"""

import json
import logging
from pathlib import Path
from typing import Any

from minibert.text.tokenizer import SPECIAL_TOKENS, Rules

BERTS = "Bert", "DistilBert", "Electra", "MobileBert", "SqueezeBert", "Lxmert"  # transformers has one tokenizer for all
GENERIC = "PreTrainedTokenizer", "TokenizersBackend"
BERTS_MODELS = (  # the values of model_type in config.json with BERT's tokenizer; elmo is minibert's own
    *("bert", "distilbert", "electra", "mobilebert", "squeezebert", "lxmert", "ernie", "megatron-bert", "layoutlm"),
    "elmo",
)
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")  # in the order of SPECIAL_TOKENS
NORMALIZER = {  # the argument of Tokenizer or Rules: (in tokenizer_config.json, in tokenizer.json, the default)
    "lowercase": ("do_lower_case", "lowercase", True),
    "strip_accents": ("strip_accents", "strip_accents", None),
    "tokenize_chinese_chars": ("tokenize_chinese_chars", "handle_chinese_chars", True),
    "clean_text": (None, "clean_text", True),
}
log = logging.getLogger("minibert")


def is_generic(config: dict, model_config: dict, whole: dict, folder: Path) -> bool:
    """Whether tokenizer.json alone decides.  Raises ValueError if the folder's tokenizer is not BERT's."""
    name = config.get("tokenizer_class") or model_config.get("tokenizer_class")
    if "AutoTokenizer" in (config.get("auto_map") or ()) or isinstance(config.get("auto_map"), list):
        raise ValueError(
            f"{folder / 'tokenizer_config.json'}: auto_map names Python code of the model's own, which minibert does "
            "not run; expected a BertTokenizer"
        )
    if name is None:
        model_type = model_config.get("model_type")
        if model_type not in (None, *BERTS_MODELS):
            raise ValueError(
                f"{folder}: the model is of type {model_type!r}, and tokenizer_config.json names no tokenizer_class; "
                "expected the tokenizer of a BERT"
            )
        return bool(whole) and model_type is None
    kind = str(name).removesuffix("Fast")
    if kind in GENERIC:
        return bool(whole)
    if kind.removesuffix("Tokenizer") not in BERTS:
        raise ValueError(f"{folder}: the tokenizer is a {name}; expected a BertTokenizer")
    return False


def settings_of(config: dict, whole: dict, generic: bool, folder: Path) -> tuple[dict[str, Any], Rules]:
    """The arguments of Tokenizer that control normalisation, and its rules.

    config: tokenizer_config.json; whole: tokenizer.json, or {}; generic: see `is_generic`.
    Raises ValueError, naming the setting, for what BERT's tokenizer does not have.
    """
    in_json = _of_json(whole, folder / "tokenizer.json") if whole else {}
    in_config: dict[str, Any] = {}
    path = folder / "tokenizer_config.json"
    for ours, (name, _, default) in NORMALIZER.items():
        value = config.get(name, default) if name else default
        if not isinstance(value, bool) and (ours, value) != ("strip_accents", None):
            raise ValueError(f"{path}: {name} is {value!r}; expected true or false")
        in_config[ours] = value
    for name, usual in (("split_special_tokens", False), ("truncation_side", "right")):
        if config.get(name, usual) != usual:
            raise ValueError(f"{path}: {name} is {config[name]!r}, which minibert does not support")
    side = str(_part(whole.get("truncation")).get("direction", "Right"))
    if side != "Right" and "truncation_side" not in config:
        raise ValueError(f"{folder / 'tokenizer.json'}: the truncation's direction is {side!r}; expected 'Right'")
    files = config.get("fast_tokenizer_files") or ["tokenizer.json"]
    if files != ["tokenizer.json"]:
        raise ValueError(f"{path}: fast_tokenizer_files is {files!r}; minibert reads only tokenizer.json")
    in_config |= {"continuation": Rules.continuation, "max_word_length": Rules.max_word_length}
    if in_json and not generic:
        differing = [name for name, value in in_json.items() if value != in_config[name]]
        if differing:
            theirs, ours = (", ".join(_json(by[name]) for name in differing) for by in (in_json, in_config))
            which = ", ".join(map(_name_in_json, differing))
            log.warning(
                f"{folder}: tokenizer.json has {which} {theirs}, but transformers' BertTokenizer takes {ours} "
                "(from tokenizer_config.json, or by default), and so does minibert"
            )
    settings = in_json if generic else in_config
    names = "lowercase", "strip_accents", "tokenize_chinese_chars"
    rules = {name: value for name, value in settings.items() if name not in names}
    return {name: settings[name] for name in names}, Rules(**rules)


def vocabulary_of(whole: dict, path: Path) -> list[str]:
    """The vocabulary in a tokenizer.json.  Raises ValueError if it is not WordPiece's, or if its ids have gaps."""
    model = _part(whole.get("model"))
    if model.get("type", "WordPiece") != "WordPiece" or not isinstance(model.get("vocab"), dict):
        raise ValueError(f"{path}: expected a WordPiece model with a vocab, got type {model.get('type')!r}")
    id_of = model["vocab"]
    if wrong := [token for token, token_id in id_of.items() if type(token_id) is not int]:
        raise ValueError(f"{path}: token {wrong[0]!r} has id {id_of[wrong[0]]!r}; expected a whole number")
    vocabulary = sorted(id_of, key=id_of.get)  # type: ignore[arg-type]
    for expected, token in enumerate(vocabulary):
        if id_of[token] != expected:
            raise ValueError(
                f"{path}: token {token!r} has id {id_of[token]}; expected {expected}, as ids must have no gaps"
            )
    return vocabulary


def framing_of(whole: dict, vocabulary: list[str], path: Path) -> tuple[str, str]:
    """The tokens that a tokenizer.json puts at a text's beginning and end: [CLS] and [SEP].

    vocabulary: the tokens by id.  Raises ValueError unless they are put as BERT does.
    """
    processor = _only(whole.get("post_processor"), "processors")
    kind = processor.get("type")
    ids: list[Any] = []
    if kind == "BertProcessing":
        ids = [(processor.get(name) or [None, None])[1] for name in ("cls", "sep")]
    elif kind == "TemplateProcessing":
        single, pair = (_items(processor.get(name)) for name in ("single", "pair"))
        names = [single[0][0], single[-1][0]] if len(single) == 3 else [None, None]
        cls, sep = names
        if (
            single == [(cls, 0), ("A", 0), (sep, 0)]
            and pair == [*single, ("B", 1), (sep, 1)]
            and not {cls, sep} & {"A", "B"}
        ):
            special = processor.get("special_tokens") or {}
            given = [special.get(name) if isinstance(special, dict) else None for name in names]
            lists = [one.get("ids") if isinstance(one, dict) else None for one in given]
            ids = [number for one in lists for number in (one if isinstance(one, list) else [None])]
    if len(ids) != 2 or not all(type(number) is int and 0 <= number < len(vocabulary) for number in ids):
        raise ValueError(
            f"{path}: the post-processor is {kind or 'missing'}, and does not put [CLS] before and [SEP] after a text, "
            "or after both of a pair; expected BERT's"
        )
    return vocabulary[ids[0]], vocabulary[ids[1]]


def write_whole(tokenizer: Any) -> dict:
    """The content of a tokenizer.json for a Tokenizer."""
    normaliser, rules = tokenizer.normaliser, tokenizer.rules
    cls, sep = (tokenizer.vocabulary[number] for number in (tokenizer.cls_id, tokenizer.sep_id))

    def special(name: str, segment: int) -> dict:
        return {"SpecialToken": {"id": name, "type_id": segment}}

    def sequence(name: str, segment: int) -> dict:
        return {"Sequence": {"id": name, "type_id": segment}}

    single = [special(cls, 0), sequence("A", 0), special(sep, 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": tokenizer.id_of[token.content], **vars(token)}
            for token in sorted(tokenizer.added_tokens, key=lambda token: tokenizer.id_of[token.content])
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": rules.clean_text,
            "handle_chinese_chars": normaliser.tokenize_chinese_chars,
            "strip_accents": normaliser.strip_accents,
            "lowercase": normaliser.lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, sequence("B", 1), special(sep, 1)],
            "special_tokens": {
                name: {"id": name, "ids": [tokenizer.id_of[name]], "tokens": [name]} for name in (cls, sep)
            },
        },
        "decoder": {"type": "WordPiece", "prefix": rules.continuation, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": tokenizer.vocabulary[tokenizer.unk_id],
            "continuing_subword_prefix": rules.continuation,
            "max_input_chars_per_word": rules.max_word_length,
            "vocab": tokenizer.pieces,
        },
    }


def _of_json(whole: dict, path: Path) -> dict[str, Any]:
    """The settings in a tokenizer.json: those of NORMALIZER and Rules.  Raises ValueError for what is not BERT's."""
    normalizer = _only(whole.get("normalizer"), "normalizers")
    pre_tokenizer = _only(whole.get("pre_tokenizer"), "pretokenizers")
    for name, part, expected in (
        ("normalizer", normalizer, "BertNormalizer"),
        ("pre_tokenizer", pre_tokenizer, "BertPreTokenizer"),
    ):
        if part.get("type") != expected:
            inner = [str(one.get("type")) for one in (part.get("normalizers") or part.get("pretokenizers") or ())]
            got = f"{part.get('type', 'missing')}{' of ' if inner else ''}{', '.join(inner)}"
            raise ValueError(f"{path}: the {name} is {got}; expected {expected}, as minibert has only BERT's")
    settings = {ours: normalizer.get(name, default) for ours, (_, name, default) in NORMALIZER.items()}
    for ours, value in settings.items():
        if not isinstance(value, bool) and (ours, value) != ("strip_accents", None):
            raise ValueError(f"{path}: the normalizer's {_name_in_json(ours)} is {value!r}; expected true or false")
    model = _part(whole.get("model"))
    prefix = model.get("continuing_subword_prefix", Rules.continuation)
    longest = model.get("max_input_chars_per_word", Rules.max_word_length)
    if not isinstance(prefix, str) or type(longest) is not int or longest < 0:
        raise ValueError(
            f"{path}: continuing_subword_prefix is {prefix!r} and max_input_chars_per_word {longest!r}; "
            "expected a text and a number of at least 0"
        )
    return settings | {"continuation": prefix, "max_word_length": longest}


def unknown_of(whole: dict) -> str:
    """The token that a tokenizer.json gives to unknown words."""
    return (_part(whole.get("model"))).get("unk_token") or SPECIAL_TOKENS[1]


def _only(part: Any, inner: str) -> dict:
    """A part of tokenizer.json; a sequence with a single member counts as that member."""
    part = _part(part)
    members = part.get(inner)
    if part.get("type") == "Sequence" and isinstance(members, list) and len(members) == 1:
        return members[0] if isinstance(members[0], dict) else {}
    return part


def _part(part: Any) -> dict:
    """A part of tokenizer.json that has to be an object; {} for any other value, which is refused as missing."""
    return part if isinstance(part, dict) else {}


def _items(template: Any) -> list[tuple[Any, Any]]:
    return [_item(item) for item in template] if isinstance(template, list) else []


def _item(item: dict) -> tuple[Any, Any]:
    """An item of a template as (the name of the token or of the text, segment)."""
    values = list(item.values()) if isinstance(item, dict) else []
    if len(values) != 1 or not isinstance(values[0], dict):
        return None, None
    return values[0].get("id"), values[0].get("type_id")


def _name_in_json(ours: str) -> str:
    others = {"continuation": "continuing_subword_prefix", "max_word_length": "max_input_chars_per_word"}
    return NORMALIZER[ours][1] if ours in NORMALIZER else others[ours]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
