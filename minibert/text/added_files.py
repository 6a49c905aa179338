"""The added tokens of a model folder, from the five files in which transformers has kept them over the years.

tokenizer_config.json (added_tokens_decoder, the roles such as cls_token, and lists of extra tokens) decides;
special_tokens_map.json and added_tokens.json are older, and are read only if it has no added_tokens_decoder, as is
what tokenizer.json says of them, unless that file is the tokenizer itself.
"""

from pathlib import Path
from typing import Any

from minibert.text.added_tokens import AddedToken
from minibert.text.tokenizer import SPECIAL_TOKENS
from minibert.text.tokenizer_json import ROLES

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
FLAGS = "special", "normalized", "single_word", "lstrip", "rstrip"


def read_added_tokens(
    files: dict[str, dict], generic: bool, folder: Path
) -> tuple[list[AddedToken], dict[str, int], dict[str, str]]:
    """The added tokens of a folder, as `transformers` adds them to its tokenizer.

    files: the contents of tokenizer_config.json, tokenizer.json, special_tokens_map.json and added_tokens.json by name,
    {} where there is no such file; generic: whether tokenizer.json alone makes the tokenizer.
    Returns the tokens in the order in which ids are given to those that the vocabulary lacks; the ids that the files
    give, by token; and the tokens of the roles that the files name.
    Raises ValueError for a malformed entry, and for a token that two files describe differently.
    """
    _check_types(files, folder)
    config = dict(files["tokenizer_config.json"])
    listed = [
        _numbered(entry, folder / "tokenizer.json") for entry in files["tokenizer.json"].get("added_tokens") or ()
    ]
    if config.get("additional_special_tokens") and not config.get("extra_special_tokens"):
        config["extra_special_tokens"] = config.pop("additional_special_tokens")
    with_names = _take_named(config)
    numbered: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in config:
        path = folder / "tokenizer_config.json"
        for number, entry in (config["added_tokens_decoder"] or {}).items():
            token_id, token = _numbered({**_entry(entry, path), "id": number}, path)
            numbered[token_id] = token
    else:
        config |= _of_map(files["special_tokens_map.json"], config, folder)
        with_names |= _take_named(config)
        special = {_content(config.get(name)) for name in NAMED} | {*map(_content, _listed(config))}
        if config.get("additional_special_tokens"):  # those of special_tokens_map.json, which transformers reads later
            config["extra_special_tokens"] = config.get("extra_special_tokens") or config["additional_special_tokens"]
        for content, number in files["added_tokens.json"].items():
            if type(number) is not int:
                raise ValueError(f"{folder / 'added_tokens.json'}: {content!r} has id {number!r}; expected a number")
            numbered[number] = AddedToken(content, special=content in special, normalized=content not in special)
        numbered |= dict(listed)

    found: dict[str, AddedToken] = {}
    ids: dict[str, int] = {}
    for token_id, token in [*(sorted(listed, key=_first) if generic else ()), *sorted(numbered.items(), key=_first)]:
        known = found.setdefault(token.content, token)
        if known != token and generic:
            raise ValueError(
                f"{folder}: tokenizer.json and tokenizer_config.json describe {token.content!r} differently"
            )
        if ids.setdefault(token.content, token_id) != token_id:
            raise ValueError(f"{folder}: the token {token.content!r} has the ids {ids[token.content]} and {token_id}")

    padding = files["tokenizer.json"].get("padding")
    if generic and isinstance(padding, dict) and isinstance(padding.get("pad_token"), str):
        config.setdefault("pad_token", padding["pad_token"])
    roles = _roles(config, with_names, generic, folder)
    for name, token in roles.items():
        known = found.setdefault(token.content, token)
        if not known.special and name in NAMED and not generic:
            found[token.content] = AddedToken(**{**vars(known), "special": True})
    for extra in _listed(config):
        token = _token(extra, folder, special=True)
        found.setdefault(token.content, token)
    tokens = [token for content, token in found.items() if content]
    return tokens, ids, {name: token.content for name, token in roles.items() if name in ROLES}


def _take_named(config: dict) -> dict:
    """Remove and return the extra special tokens if they have names: name -> token."""
    named = config.get("extra_special_tokens")
    return config.pop("extra_special_tokens") if isinstance(named, dict) else {}


def _roles(config: dict, with_names: dict, generic: bool, folder: Path) -> dict[str, AddedToken]:
    """The special tokens that have names, such as cls_token, in the order in which they are added."""
    defaults = {} if generic else dict(zip(ROLES, SPECIAL_TOKENS, strict=True))
    named = {name: config.get(name) or defaults.get(name) for name in NAMED}
    named |= {name: value for name, value in config.items() if name.endswith("_token") and isinstance(value, str)}
    named |= with_names
    return {name: _token(value, folder, special=True) for name, value in named.items() if value}


def _of_map(special_map: dict, config: dict, folder: Path) -> dict:
    """The entries of special_tokens_map.json, which are added to those of tokenizer_config.json, or replace them."""
    taken = dict(special_map)
    extra = taken.get("extra_special_tokens")
    if isinstance(extra, list):
        before = config.get("extra_special_tokens")
        taken["extra_special_tokens"] = [*(before if isinstance(before, list) else ()), *extra]
    return taken


def _listed(config: dict) -> list[Any]:
    """The extra special tokens that have no names."""
    return list(config.get("extra_special_tokens") or [])


def _check_types(files: dict[str, dict], folder: Path) -> None:
    """Raise ValueError for a part of the files that is not of the type that holds added tokens."""
    if files["tokenizer_config.json"].get("added_tokens_decoder", {}) is None:
        raise ValueError(f"{folder / 'tokenizer_config.json'}: added_tokens_decoder is null; expected an object")
    tokens: list[tuple[str, str, tuple[type, ...], str]] = [
        ("tokenizer.json", "added_tokens", (list,), "a list"),
        ("tokenizer_config.json", "added_tokens_decoder", (dict,), "an object"),
    ]
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        tokens += [(file, "extra_special_tokens", (list, dict), "a list or an object of tokens")]
        tokens += [(file, "additional_special_tokens", (list,), "a list of tokens")]
        tokens += [(file, name, (str, dict), "a token") for name in NAMED]
    for file, name, kinds, expected in tokens:
        value = files[file].get(name)
        if value is not None and not isinstance(value, kinds):
            raise ValueError(f"{folder / file}: {name} is {value!r}; expected {expected}, or null")
        if value == "":
            raise ValueError(f"{folder / file}: {name} is empty; expected a token, or null")
        if isinstance(value, dict) and name in NAMED:
            _entry(value, folder / file)
        for one in value if isinstance(value, list) and name.endswith("special_tokens") else ():
            if not isinstance(one, str):
                _entry(one, folder / file)


def _numbered(entry: Any, path: Path) -> tuple[int, AddedToken]:
    try:
        return int(entry["id"]), _token(_entry(entry, path), path, special=False)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if type(error) is ValueError and str(error).startswith(f"{path}: "):
            raise
        raise ValueError(f"{path}: {entry!r} is not an added token; expected an object with id and content") from None


def _entry(entry: Any, path: Path) -> dict:
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        raise ValueError(f"{path}: {entry!r} is not an added token; expected an object with content")
    return entry


def _token(entry: Any, path: Path, special: bool) -> AddedToken:
    """The token that a file describes as a string or an object; special: the default."""
    if isinstance(entry, str):
        return AddedToken(entry, special=special)
    entry = _entry(entry, path)
    flags = {name: entry[name] for name in FLAGS if name in entry}
    if wrong := [name for name, value in flags.items() if not isinstance(value, bool)]:
        raise ValueError(
            f"{path}: {wrong[0]} of the added token {entry['content']!r} is {flags[wrong[0]]!r}; expected true or false"
        )
    flags["special"] = special or flags.get("special", False)
    return AddedToken(entry["content"], **{"normalized": not flags["special"], **flags})


def _content(entry: Any) -> Any:
    return entry.get("content") if isinstance(entry, dict) else entry


def _first(pair: tuple[int, AddedToken]) -> int:
    return pair[0]
