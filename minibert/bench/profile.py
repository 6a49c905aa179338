"""The cost of each op: every op of a backend, wrapped in a timer that also adds up the work of its calls."""

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
    """Totals over the calls of one op."""

    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    """Operations of the matrix products that are really needed."""
    elementwise: float = 0.0
    """Other operations, a rough number."""
    bytes: float = 0.0
    """Traffic with memory, an estimate."""


@dataclass
class Profile:
    """The cost of one or more turns, op by op."""

    ops: dict[str, Tally] = field(default_factory=dict)
    bookkeeping: float = 0.0
    """The number of seconds that the measurement itself took."""


class Noted(NamedTuple):
    """A forward pass's cache, with the pass's work, a multiple of which is charged to the backward pass."""

    cache: Any
    flops: float


def timed(backend: Backend, profile: Profile) -> Backend:
    """A copy of `backend` whose ops do the same and also record their cost in `profile`."""
    ours = copy.copy(backend)
    for name in OPS:
        setattr(ours, name, timed_op(name, getattr(backend, name), profile))
    return ours


def timed_op(name: str, function: Callable, profile: Profile) -> Callable:
    """`function`, the op called `name`, with a timer around it.  The arguments are passed on unchanged."""
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
    """An argument in the form that the op itself expects."""
    return value.cache if isinstance(value, Noted) else value


class Profiler:
    """Turns of minibert under the timer, with a separate model that is created on first use."""

    def __init__(self, workload: Workload, backend: str):
        self.workload, self.backend, self.profile = workload, backend, Profile()
        self.inputs: list = []
        self.step: Any = None

    def turn(self) -> dict:
        """One turn: {"seconds": of the steps, without the bookkeeping; "steps": how many; "ops": {name: a Tally}}"""
        if self.step is None:
            from minibert.bench import ours

            self.inputs, self.step = ours.contender(self.workload, timed(load_backend(self.backend), self.profile))
            self.step(self.inputs[0])  # a warm-up
        self.profile.ops.clear()
        self.profile.bookkeeping = 0.0
        began = time.perf_counter()
        for one in self.inputs:
            self.step(one)
        seconds = time.perf_counter() - began - self.profile.bookkeeping
        tallies = {name: asdict(tally) for name, tally in self.profile.ops.items()}
        return {"seconds": seconds, "steps": len(self.inputs), "ops": tallies}
