"""A tokenizer's files in a model folder, as transformers reads and writes them.

    vocab.txt               one token per line; the number of the line, from 0, is the token's id
    tokenizer_config.json   casing, special tokens, added tokens and other settings
    tokenizer.json          the `tokenizers` library's own file, with both vocabulary and settings
    special_tokens_map.json, added_tokens.json     added tokens, in older folders

minibert writes the first two.  It reads all of them as version 5 of transformers does (tokenizer_json.py and
added_files.py), or refuses by name what is not BERT's.
"""

import json
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from minibert.base.beginnings import check_pointer
from minibert.base.files import write_text
from minibert.base.json_text import read_json
from minibert.text.added_files import read_added_tokens
from minibert.text.added_tokens import AddedToken
from minibert.text.characters import white_space
from minibert.text.tokenizer import SPECIAL_TOKENS, Rules, Tokenizer
from minibert.text.tokenizer_json import (
    ROLES,
    framing_of,
    is_generic,
    settings_of,
    unknown_of,
    vocabulary_of,
    write_whole,
)

UNLIMITED = int(1e30)  # transformers' model_max_length for "no limit"
_FILES = "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "config.json"


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer of a model folder.

    Raises FileNotFoundError if the folder has neither vocab.txt nor tokenizer.json, and ValueError, naming file
    and line, if one of these files is damaged or describes a tokenizer that is not BERT's.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}; expected a model folder with vocab.txt or tokenizer.json")
    json_path, vocab_path = folder / "tokenizer.json", folder / "vocab.txt"
    files = {name: _read_json(folder / name) if (folder / name).exists() else {} for name in _FILES}
    config, whole = files["tokenizer_config.json"], files["tokenizer.json"]
    if json_path.exists():
        source, vocabulary = json_path, vocabulary_of(whole, json_path)
    elif vocab_path.exists():
        source, vocabulary = vocab_path, read_vocabulary(vocab_path)
    else:
        raise FileNotFoundError(f"{folder} contains neither vocab.txt nor tokenizer.json; expected one of them")

    generic = is_generic(config, files["config.json"], whole, folder)
    if null := [role for role in ROLES if not generic and role in config and config[role] is None]:
        raise ValueError(f"{folder / 'tokenizer_config.json'}: {null[0]} is null; expected a token, which BERT needs")
    settings, rules = settings_of(config, whole, generic, folder)
    added, ids, roles = read_added_tokens(files, generic, folder)
    if generic:
        every = [*vocabulary, *(token.content for token in added if token.content not in {*vocabulary})]
        roles["cls_token"], roles["sep_token"] = framing_of(whole, every, json_path)
        if roles.setdefault("unk_token", unknown_of(whole)) != unknown_of(whole):
            raise ValueError(
                f"{folder}: unk_token is {roles['unk_token']!r} in tokenizer_config.json and {unknown_of(whole)!r} in "
                "tokenizer.json; expected the same"
            )
    special_tokens = [roles.get(role, default) for role, default in zip(ROLES, SPECIAL_TOKENS, strict=True)]
    if special_tokens[1] not in vocabulary:
        raise ValueError(
            f"{source}: the vocabulary lacks the unk_token {special_tokens[1]!r}, which unknown words need"
        )
    for token in special_tokens[2:4]:
        if any(character.isspace() for character in token) and not generic:
            raise ValueError(
                f"{folder}: the special token {token!r} contains white space, which a template cannot hold"
            )
    named = {
        *vocabulary,
        *ids,
        *map(_content, config.values()),
    }  # the roles that nothing names must be in the vocabulary
    added = [token for token in added if token.content in named or token.content not in SPECIAL_TOKENS]
    try:
        tokenizer = Tokenizer(
            vocabulary,
            **settings,
            model_max_length=_max_length(config, folder / "tokenizer_config.json"),
            special_tokens=special_tokens,
            extra_special_tokens=[t.content for t in added if t.special and t.content not in special_tokens],
            added_tokens=added,
            rules=rules,
        )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    for token, token_id in ids.items():
        if tokenizer.id_of.get(token, token_id) != token_id:
            raise ValueError(
                f"{source}: token {token!r} has id {tokenizer.id_of[token]} here, but was added with id {token_id}"
            )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write vocab.txt and tokenizer_config.json into the folder, which is created if needed.

    A tokenizer with Rules of its own, which these files cannot hold, also gets a tokenizer.json.

    Each file is replaced atomically, so a reader sees the old file or the new file, never a partial file.
    Raises FileExistsError if the folder holds a tokenizer.json, which transformers would read instead.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = {token.content for token in tokenizer.added_tokens}
    ours = tokenizer.rules == Rules() and found.issuperset(tokenizer.special_tokens)
    if ours and (folder / "tokenizer.json").exists():
        raise FileExistsError(
            f"{folder / 'tokenizer.json'} is in the way: transformers would read it instead of the new vocab.txt; "
            "delete it or choose another folder"
        )
    for token_id, token in enumerate(tokenizer.pieces):
        if not token or "\n" in token or "\r" in token:
            raise ValueError(f"token {token_id} is {token!r}, which a line of vocab.txt cannot hold")
    config: dict[str, Any] = {
        "tokenizer_class": "BertTokenizer" if ours else "PreTrainedTokenizerFast",
        "do_lower_case": tokenizer.normaliser.lowercase,
        "strip_accents": tokenizer.normaliser.strip_accents,
        "tokenize_chinese_chars": tokenizer.normaliser.tokenize_chinese_chars,
        "model_max_length": tokenizer.model_max_length,
    }
    # what this file names is looked for in text
    config |= {role: s for role, s in zip(ROLES, tokenizer.special_tokens, strict=True) if s in found}
    if tokenizer.extra_special_tokens:
        config["extra_special_tokens"] = list(tokenizer.extra_special_tokens)
    if not all(t.content in tokenizer.pieces and t == AddedToken(t.content, True) for t in tokenizer.added_tokens):
        config["added_tokens_decoder"] = {str(tokenizer.id_of[t.content]): vars(t) for t in tokenizer.added_tokens}
    # vocab.txt comes last: a folder in which it is has everything
    write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    if not ours:
        write_text(folder / "tokenizer.json", json.dumps(write_whole(tokenizer), ensure_ascii=False) + "\n")
    write_text(folder / "vocab.txt", "".join(f"{token}\n" for token in tokenizer.pieces))


def read_vocabulary(path: str | Path) -> list[str]:
    """The tokens of a vocab.txt.

    Raises ValueError, naming file and line, for bytes that are not UTF-8, an empty line, or a duplicate
    token; FileNotFoundError if there is no such file.
    """
    space = "".join(white_space())  # `tokenizers` drops all of Unicode's white space at the end of a line
    lines = _read_text(Path(path)).split("\n")  # splitlines would split at U+2028
    if lines[-1] == "":
        lines.pop()
    lines = [line.rstrip(space) or line.rstrip(" \t\r") for line in lines]
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


def _max_length(config: dict, path: Path) -> int:
    """The model_max_length of a tokenizer_config.json; UNLIMITED if it is missing, null or infinite."""
    value = config.get("model_max_length", config.get("max_len"))
    if value is None or value == float("inf"):
        return UNLIMITED
    if type(value) not in (int, float) or not value >= 1:
        raise ValueError(f"{path}: model_max_length is {value!r}; expected a number of at least 1, or null")
    return int(value)


def _content(entry: Any) -> str:
    """The text of a token, which is stored as a string or as an object with the text in `content`."""
    return str(entry.get("content")) if isinstance(entry, dict) else str(entry)


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    check_pointer(path, data)
    if data.startswith(BOM_UTF8):
        raise ValueError(
            f"{path}, line 1: a byte order mark, which would be part of the first token; save the file as UTF-8 "
            "without it"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte {error.start} of the file (0x{data[error.start]:02X}) is not UTF-8; "
            "convert the file to UTF-8"
        ) from None


def _read_json(path: Path) -> dict:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
