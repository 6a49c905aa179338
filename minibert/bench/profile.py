"""The cost of each op, measured by wrapping every op of a backend in a timer that also totals the work of its calls."""

import copy
import inspect
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from minibert.bench.work import bytes_moved, elementwise_operations, product_flops
from minibert.bench.workload import Workload
from minibert.ops import Backend, load_backend
from minibert.ops.table import OPS, row_of


@dataclass
class Tally:
    """Totals over all calls of one op."""

    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    """Floating-point operations of the matrix products that the mathematics requires."""
    elementwise: float = 0.0
    """All other floating-point operations, roughly estimated."""
    bytes: float = 0.0
    """Bytes moved to and from memory, estimated."""


@dataclass
class Profile:
    """The cost of each op over one or more turns."""

    ops: dict[str, Tally] = field(default_factory=dict)
    bookkeeping: float = 0.0
    """The number of seconds spent on the measurement itself."""


class Noted(NamedTuple):
    """A forward pass's cache and its FLOPs, from which the FLOPs of the matching backward pass are computed."""

    cache: Any
    flops: float


def timed(backend: Backend, profile: Profile) -> Backend:
    """A copy of `backend` whose ops compute the same results and also record their cost in `profile`."""
    ours = copy.copy(backend)
    for name in OPS:
        setattr(ours, name, timed_op(name, getattr(backend, name), profile))
    return ours


def timed_op(name: str, function: Callable, profile: Profile) -> Callable:
    """A wrapper around `function`, the op called `name`, that records the cost of each call in `profile`."""
    op, backward = row_of(name)
    assert op is not None
    signature = inspect.signature(function) if op.pair and not backward else None

    def call(*arguments, **named):
        entered = time.perf_counter()
        noted = [value for value in (*arguments, *named.values()) if isinstance(value, Noted)]
        arguments = tuple(plain(value) for value in arguments)
        named = {key: plain(value) for key, value in named.items()}
        began = time.perf_counter()
        result = function(*arguments, **named)
        ended = time.perf_counter()

        tally = profile.ops.setdefault(name, Tally())
        tally.calls += 1
        tally.seconds += ended - began
        tally.elementwise += elementwise_operations(name, (arguments, named), result)
        tally.bytes += bytes_moved(name, (arguments, named), result)
        if signature is not None:
            flops = product_flops(op.name, signature.bind(*arguments, **named).arguments)
            *outputs, cache = result
            result = (*outputs, Noted(cache, flops))
        else:
            flops = sum(note.flops for note in noted) * op.backward
        tally.flops += flops
        profile.bookkeeping += time.perf_counter() - ended + began - entered
        return result

    return call


def plain(value: Any) -> Any:
    """`value` as the op itself expects it: the cache inside a Noted, and any other value unchanged."""
    return value.cache if isinstance(value, Noted) else value


class Profiler:
    """Runs profiled turns of minibert, on a separate model that is created on first use."""

    def __init__(self, workload: Workload, backend: str):
        self.workload, self.backend, self.profile = workload, backend, Profile()
        self.inputs: list = []
        self.step: Any = None

    def turn(self) -> dict:
        """Run one profiled turn; returns {"seconds", "steps", "ops"}.

        "seconds" is the time of all steps, excluding bookkeeping; "steps" is the number of steps; "ops" maps the name
        of each op to its Tally as a dictionary.
        """
        if self.step is None:
            from minibert.bench import ours

            self.inputs, self.step = ours.contender(self.workload, timed(load_backend(self.backend), self.profile))
            self.step(self.inputs[0])  # warm-up
        self.profile.ops.clear()
        self.profile.bookkeeping = 0.0
        began = time.perf_counter()
        for one in self.inputs:
            self.step(one)
        seconds = time.perf_counter() - began - self.profile.bookkeeping
        tallies = {name: asdict(tally) for name, tally in self.profile.ops.items()}
        return {"seconds": seconds, "steps": len(self.inputs), "ops": tallies}
