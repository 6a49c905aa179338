"""A tokenizer's files in a model folder, as transformers reads and writes them.

    vocab.txt               one token per line; the number of the line, from 0, is the token's id
    tokenizer_config.json   casing, special tokens and other settings
    tokenizer.json          the `tokenizers` library's own file, with both vocabulary and settings

minibert writes the first two.  It reads the vocabulary from vocab.txt or, where there is none, from tokenizer.json
(which is what transformers writes today), and each setting from the first of tokenizer_config.json, tokenizer.json
and the defaults of transformers that has it.  (With a config that names a generic class instead of a BERT class,
tokenizer.json takes precedence, as in transformers.)
"""

import json
from pathlib import Path
from typing import Any

from minibert.base.files import write_text
from minibert.text.tokenizer import SPECIAL_TOKENS, Tokenizer

_ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")  # in the order of SPECIAL_TOKENS


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer of a model folder.

    Raises FileNotFoundError if the folder has neither vocab.txt nor tokenizer.json, and ValueError, naming file
    and line, if one of these files is damaged or describes a tokenizer that is not BERT's.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}; expected a model folder with vocab.txt or tokenizer.json")
    config_path, json_path, vocab_path = (
        folder / name for name in ("tokenizer_config.json", "tokenizer.json", "vocab.txt")
    )
    config = _read_json(config_path) if config_path.exists() else {}
    whole = _read_json(json_path) if json_path.exists() else {}
    if vocab_path.exists():
        source, vocabulary = vocab_path, read_vocabulary(vocab_path)
    elif whole:
        source, vocabulary = json_path, _vocabulary_of(whole, json_path)
    else:
        raise FileNotFoundError(f"{folder} contains neither vocab.txt nor tokenizer.json; expected one of them")

    settings = _settings(config, whole)
    special_tokens = [
        _content(config.get(role)) or default for role, default in zip(_ROLES, SPECIAL_TOKENS, strict=True)
    ]
    added = _added_tokens(config, whole, folder)
    vocabulary += [token for token in added if token not in vocabulary]
    for token, token_id in added.items():
        if token_id not in (None, vocabulary.index(token)):
            raise ValueError(
                f"{source}: token {token!r} has id {vocabulary.index(token)} here, but was added with id {token_id}"
            )
    try:
        return Tokenizer(
            vocabulary,
            **settings,
            model_max_length=int(config.get("model_max_length", 512)),
            special_tokens=special_tokens,
            extra_special_tokens=[token for token in added if token not in special_tokens],
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write vocab.txt and tokenizer_config.json into the folder, which is created if needed.

    Each file is replaced atomically, so a reader sees the old file or the new file, never a partial file.
    Raises FileExistsError if the folder holds a tokenizer.json, which transformers would read instead.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "tokenizer.json").exists():
        raise FileExistsError(
            f"{folder / 'tokenizer.json'} is in the way: transformers would read it instead of the new vocab.txt; "
            "delete it or choose another folder"
        )
    for token_id, token in enumerate(tokenizer.vocabulary):
        if not token or "\n" in token or "\r" in token:
            raise ValueError(f"token {token_id} is {token!r}, which a line of vocab.txt cannot hold")
    config: dict[str, Any] = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": tokenizer.normaliser.lowercase,
        "strip_accents": tokenizer.normaliser.strip_accents,
        "tokenize_chinese_chars": tokenizer.normaliser.tokenize_chinese_chars,
        "model_max_length": tokenizer.model_max_length,
        **dict(zip(_ROLES, tokenizer.special_tokens, strict=True)),
    }
    if tokenizer.extra_special_tokens:
        config["extra_special_tokens"] = list(tokenizer.extra_special_tokens)
    write_text(folder / "vocab.txt", "".join(f"{token}\n" for token in tokenizer.vocabulary))
    write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def read_vocabulary(path: str | Path) -> list[str]:
    """The tokens of a vocab.txt.

    Raises ValueError, naming file and line, for bytes that are not UTF-8, an empty line, or a duplicate
    token; FileNotFoundError if there is no such file.
    """
    lines = [line.rstrip(" \t\r") for line in _read_text(Path(path)).split("\n")]  # splitlines would split at U+2028
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise ValueError(f"{path} is empty; expected one token per line")
    first_seen: dict[str, int] = {}
    for number, token in enumerate(lines, start=1):
        if not token:
            raise ValueError(f"{path}, line {number} is empty; expected one token per line")
        if token in first_seen:
            raise ValueError(
                f"{path}, line {number}: {token!r} is a duplicate (first in line {first_seen[token]}); "
                "each token must occur once"
            )
        first_seen[token] = number
    return lines


def _settings(config: dict, whole: dict) -> dict:
    """The arguments of Tokenizer that control normalisation, as set by tokenizer_config.json and tokenizer.json."""
    names = {  # ours: (in tokenizer_config.json, in tokenizer.json)
        "lowercase": ("do_lower_case", "lowercase"),
        "strip_accents": ("strip_accents", "strip_accents"),
        "tokenize_chinese_chars": ("tokenize_chinese_chars", "handle_chinese_chars"),
    }
    normalizer = whole.get("normalizer") or {}
    in_config = {ours: config[name] for ours, (name, _) in names.items() if name in config}
    in_json = {ours: normalizer[name] for ours, (_, name) in names.items() if name in normalizer}
    defaults = {"lowercase": True, "strip_accents": None, "tokenize_chinese_chars": True}
    generic = config.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
    return defaults | (in_config | in_json if generic else in_json | in_config)


def _vocabulary_of(whole: dict, path: Path) -> list[str]:
    """The vocabulary in a tokenizer.json."""
    model = whole.get("model") or {}
    if model.get("type", "WordPiece") != "WordPiece" or not isinstance(model.get("vocab"), dict):
        raise ValueError(f"{path}: expected a WordPiece model with a vocab, got type {model.get('type')!r}")
    if model.get("continuing_subword_prefix", "##") != "##":
        raise ValueError(f"{path}: continuing_subword_prefix is {model['continuing_subword_prefix']!r}; expected '##'")
    id_of = model["vocab"]
    vocabulary = sorted(id_of, key=id_of.get)
    for expected, token in enumerate(vocabulary):
        if id_of[token] != expected:
            raise ValueError(
                f"{path}: token {token!r} has id {id_of[token]}; expected {expected}, as ids must have no gaps"
            )
    return vocabulary


def _added_tokens(config: dict, whole: dict, folder: Path) -> dict[str, int | None]:
    """The tokens that are matched before text is normalised and split: token -> id, or None if the file gives no id."""
    entries = [{**entry, "id": int(i)} for i, entry in (config.get("added_tokens_decoder") or {}).items()]
    entries += whole.get("added_tokens") or []
    for entry in entries:
        flags = [flag for flag in ("lstrip", "rstrip", "single_word", "normalized") if entry.get(flag)]
        if flags:
            raise ValueError(
                f"{folder}: the added token {entry['content']!r} is marked {', '.join(flags)}, "
                "which minibert does not support; expected only plain special tokens"
            )
    added = {entry["content"]: entry["id"] for entry in sorted(entries, key=lambda entry: entry["id"])}
    named = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    names = map(_content, named.values() if isinstance(named, dict) else named)
    return added | {name: None for name in names if name not in added}


def _content(token: str | dict | None) -> str | None:
    """The text of a special token, which is stored as a string or as an object with the text in `content`."""
    return token.get("content") if isinstance(token, dict) else token


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte {error.start} of the file (0x{data[error.start]:02X}) is not UTF-8; "
            "convert the file to UTF-8"
        ) from None


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
