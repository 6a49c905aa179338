"""The table of gradient checks, which maps the name of a check to a function that yields its cases for a backend."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.checks.gradients import Case
from minibert.ops import Backend

CASES: dict[str, Callable[[Backend, np.random.Generator], Iterator[Case]]] = {}


def cases_of(name: str, backend: Backend, seed: int = 0) -> list[Case]:
    """The gradient-check cases of one op, layer or model.  Raises ValueError for a name that is not in CASES."""
    if name not in CASES:
        raise ValueError(f"unknown gradient check {name!r}; choose from {', '.join(CASES)}")
    return list(CASES[name](backend, np.random.default_rng(seed)))


def cases(name: str) -> Callable:
    """A decorator that registers a generator function in CASES as the source of the cases called `name`."""

    def register(generator):
        CASES[name] = generator
        return generator

    return register
