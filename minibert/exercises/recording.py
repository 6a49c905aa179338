"""Cases and results of exercises as JSON: for the student edition, and from the process in which an answer runs.

JSON has no arrays, tuples, sets or errors; each is a dictionary with one key that says what it is.  Reading never runs
anything: what comes from somebody else's process is as harmless as a list of numbers.  Functions are written by name
(module and name), and are only read where the text is our own.
"""

import base64
import builtins
import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from minibert.exercises.calling import Outcome
from minibert.exercises.exercise import NothingReturned, Try
from minibert.exercises.judging import LINE, line_of
from minibert.exercises.limits import OutOfTime
from minibert.exercises.watched import Log, Rows

KINDS = "biufcUS"  # of the arrays whose memory is written


class Other:
    """Something that JSON cannot hold, such as a generator: only its representation is left."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def encode(value: Any, strict: bool = False, logs: list | None = None) -> Any:
    """A value as JSON can hold it.

    strict: raise ValueError for what it cannot hold, instead of its representation (see Other).
    """
    logs = [] if logs is None else logs

    def each(values: Iterable) -> list:
        return [encode(one, strict, logs) for one in values]

    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in KINDS:
        memory = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"memory": memory, "dtype": value.dtype.str, "shape": None if is_number(value) else list(value.shape)}
    if isinstance(value, Rows):
        if not any(value.log is log for log in logs):
            logs.append(value.log)
        number = next(k for k, log in enumerate(logs) if value.log is log)
        return {"rows": value.name, "of": encode(value.array, strict), "log": number}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return each(value)
    if isinstance(value, tuple):
        return {"tuple": each(value)}
    if isinstance(value, set | frozenset):
        return {"set": each(sorted(value, key=repr))}
    if isinstance(value, dict):
        return {"dict": [each(pair) for pair in value.items()]}
    if isinstance(value, partial):
        return {"partial": each((value.func, *value.args))}
    name = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}"
    if strict and callable(value) and is_named(value, name):
        return {"function": name}
    if inspect.isgenerator(value):
        return {"generator": True}
    if strict:
        raise ValueError(f"{described(value)} cannot be recorded: expected arrays, numbers, text or named functions")
    return {"other": described(value)}


def decode(value: Any, functions: bool = False, logs: dict[int, Log] | None = None) -> Any:
    """What `encode` wrote.  functions: whether functions may be imported.  Raises ValueError for anything else."""
    logs = {} if logs is None else logs
    if isinstance(value, list):
        return [decode(one, functions, logs) for one in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"memory": str(memory), "dtype": str(dtype), "shape": shape}:
            if np.dtype(dtype).kind not in KINDS:
                raise ValueError(f"an array of {dtype}")
            numbers = np.frombuffer(base64.b64decode(memory), dtype)
            return numbers[0] if shape is None else numbers.reshape(shape).copy()
        case {"rows": str(name), "of": of, "log": int(log)}:
            return Rows(name, decode(of), logs.setdefault(log, Log()))
        case {"tuple": list(items)}:
            return tuple(decode(items, functions, logs))
        case {"set": list(items)}:
            return set(decode(items, functions, logs))
        case {"dict": list(items)}:
            return {key: one for key, one in decode(items, functions, logs)}
        case {"partial": list(items)} if functions:
            return partial(*decode(items, functions, logs))
        case {"function": str(name)} if functions:
            return named(name)
        case {"generator": True}:
            return (one for one in ())
        case {"other": str(text)}:
            return Other(text)
    raise ValueError(f"this is no recorded value: {str(value)[:80]}")


def is_number(value: Any) -> bool:
    """Whether a value is one of NumPy's numbers, rather than an array without axes."""
    return isinstance(value, np.generic)


def described(value: Any) -> str:
    """A value's representation, or, where it has none, its type."""
    try:
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value)[:200])
    except Exception:
        return f"<{type(value).__name__}>"


def is_named(value: Any, name: str) -> bool:
    """Whether a function can be found again by its module and name."""
    try:
        return named(name) is value
    except (ImportError, AttributeError, ValueError):
        return False


def named(name: str) -> Any:
    """The function or class "module:name"."""
    module, _, inside = name.partition(":")
    return getattr(importlib.import_module(module), inside)


# ---------------------------------------------------------------------------------------- outcomes and cases


def encode_outcomes(outcomes: Iterable[Outcome | None], strict: bool = False) -> list:
    """What a function gave, case by case, as JSON can hold it."""
    return [
        None
        if one is None
        else {
            "results": encode(one.results, strict),
            "error": None if one.error is None else encode_error(one.error),
            "changed": one.changed,
            "count": one.count,
            "parts": encode(one.parts),
        }
        for one in outcomes
    ]


def decode_outcomes(found: list) -> list:
    """What `encode_outcomes` wrote.  Raises ValueError, TypeError or KeyError if it did not."""
    return [
        None
        if one is None
        else Outcome(
            decode(one["results"]), decode_error(one["error"]), one["changed"], one["count"], decode(one["parts"])
        )
        for one in found
    ]


def encode_error(error: BaseException) -> dict:
    """An error: its class, its message and its line in the answer."""
    try:
        text = str(error)
    except Exception:  # its own __str__ fails
        text = ""
    name = getattr(error, "name", None)
    return {
        "error": type(error).__name__,
        "text": text[:2000],
        "line": line_of(error),
        "name": name if isinstance(name, str) else None,
    }


def decode_error(found: dict | None) -> BaseException | None:
    """An error of the same class name, message and line; where Python has such a class, it is derived from that."""
    if found is None:
        return None
    if found["error"] == OutOfTime.__name__:
        return OutOfTime()
    kind, text = found["error"], found["text"]
    base: Any = NothingReturned if kind == NothingReturned.__name__ else getattr(builtins, kind, None)
    if not (isinstance(base, type) and issubclass(base, BaseException)):
        base = Exception
    error = type(kind, (base,), {"__str__": lambda self: text, "__init__": lambda self: None})()
    setattr(error, LINE, found["line"])
    if isinstance(error, NameError):
        error.name = found["name"]
    return error


def encode_tries(tries: Iterable[Try]) -> list:
    """Cases, as JSON can hold them.  Raises ValueError for an argument that it cannot hold."""
    return [{"what": one.what, "arguments": encode(one.arguments, strict=True)} for one in tries]


def decode_tries(found: list) -> Callable[[], list[Try]]:
    """A function that gives the cases, with fresh arguments each time."""
    return lambda: [Try(one["what"], decode(one["arguments"], functions=True)) for one in found]
