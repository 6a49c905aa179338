"""The types of a dataclass's fields, for values that come from a JSON file."""

import dataclasses
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from minibert.base.numbers import is_number


def typed(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values for the fields of a dataclass, with tuples for lists.

    Raises TypeError, naming the field, if a value is not of its field's type: int, float (any finite number), bool,
    str, None, Literal, tuples of one type, and unions of them.  Names that the class does not have stay as they are.

    >>> @dataclasses.dataclass
    ... class Options:
    ...     steps: int | None = None
    ...     lengths: tuple[int, ...] = ()
    >>> typed(Options, {"steps": 10, "lengths": [8, 16]})
    {'steps': 10, 'lengths': (8, 16)}
    >>> typed(Options, {"steps": 12.5})
    Traceback (most recent call last):
    TypeError: steps is 12.5; expected int | None
    """
    hints, found = get_type_hints(kind), dict(values)
    for name in values.keys() & {field.name for field in dataclasses.fields(kind)}:
        if get_origin(hints[name]) is tuple and isinstance(values[name], list):
            found[name] = tuple(values[name])
        if not is_of(found[name], hints[name]):
            raise TypeError(f"{name} is {shown(values[name])}; expected {name_of(hints[name])}")
    return found


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; True and False are no numbers."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(is_of(value, one) for one in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(is_of(one, arguments[0]) for one in value)
    return is_number(value) if hint is float else type(value) is hint


def name_of(hint: Any) -> str:
    """A type in words, as a reader of a JSON file would look for it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " | ".join(map(name_of, arguments))
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list of {name_of(arguments[0])}"
    return "None" if hint is NoneType else str(hint.__name__)


def shown(value: Any) -> str:
    """A value as Python writes it, shortened: it may be long, or contain line breaks."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
