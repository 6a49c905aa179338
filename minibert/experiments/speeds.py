"""The speeds of models that are compared in turns, so that a slow moment of the machine hits all of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from minibert.base.progress import progress_bar
from minibert.data.batch import Batch
from minibert.models import DistilBertForMaskedLM, Elmo

TURNS, LEAST = 5, 0.2  # turns of each model, in alternation; the least seconds of a turn
VOCABULARY = 8192
USES = "training", "inference"


@dataclass(frozen=True)
class Speed:
    """One measurement: tokens per second, the median over the turns."""

    model: str
    use: str
    length: int
    batch: int
    sequential_steps: int
    """how many steps of a forward pass depend on each other"""
    tokens_per_second: float


class Contender:
    """The layers of a model, and one step of their use without a head."""

    def __init__(self, name: str, model: Any):
        """model: an Elmo, a Bert, or a DistilBertForMaskedLM, of which only the body is used."""
        self.name, self.model = name, model
        self.body = model.bert if isinstance(model, DistilBertForMaskedLM) else getattr(model, "body", model)

    def sequential_steps(self, length: int) -> int:
        """How many steps of a forward pass depend on each other."""
        layers = self.model.config.num_hidden_layers
        return layers * length if isinstance(self.model, Elmo) else layers

    def infer(self, batch: Batch) -> None:
        self.wait(self.body.hidden_states(batch)[-1])

    def train(self, batch: Batch) -> None:
        """A forward and a backward pass, with ones as the gradient of the output."""
        ones = self.model.backend.xp.ones_like
        if isinstance(self.model, Elmo):
            inputs = self.model.prepare(batch).inputs
            x, embedding_cache = self.model.embed(inputs.body, None)
            d_x: Any = 0
            for direction in range(2):
                states, caches = self.model.run(direction, x, inputs)
                d_x = self.model.run_backward(direction, ones(states[-1]), caches) + d_x
            self.model.embed_backward(d_x, embedding_cache)
        else:
            hidden, cache = self.body.forward(self.body.prepare(batch, None), None, keep_cache=True)
            self.body.backward(ones(hidden), cache)
        self.wait(self.model.parameters.gradients[:1])

    def wait(self, array: Any) -> None:
        self.model.backend.numpy(array[:1])


def measure(contenders: Sequence[Contender], cases: Sequence[tuple[int, int]]) -> list[Speed]:
    """Measure all contenders in training and inference; cases: pairs (number of sequences, length)."""
    random, found = np.random.default_rng(0), []
    for batch_size, length in progress_bar(cases, desc="measuring", unit="case"):
        ids = random.integers(5, VOCABULARY, (batch_size, length)).astype(np.int32)
        batch = Batch.of_sequences(list(ids))
        for use in USES:
            times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            runs = {each.name: each.train if use == "training" else each.infer for each in contenders}
            for run in runs.values():
                run(batch)  # warm-up
            for _ in range(TURNS):
                for name, run in runs.items():
                    times[name].append(seconds_of(run, batch))
            for each in contenders:
                speed = batch_size * length / median(times[each.name])
                found.append(Speed(each.name, use, length, batch_size, each.sequential_steps(length), speed))
    return found


def seconds_of(run: Callable[[Batch], None], batch: Batch) -> float:
    """The mean time of a call, over as many calls as take LEAST seconds."""
    began, calls = time.perf_counter(), 0
    while True:
        run(batch)
        calls += 1
        taken = time.perf_counter() - began
        if taken >= LEAST:
            return taken / calls


def by_case(speeds: Sequence[Speed]) -> dict[tuple[str, int, int], dict[str, Speed]]:
    """(use, number of sequences, length) -> name of the model -> its speed, with training first."""
    found: dict[tuple[str, int, int], dict[str, Speed]] = {}
    for speed in sorted(speeds, key=lambda speed: (USES.index(speed.use), speed.batch, speed.length)):
        found.setdefault((speed.use, speed.batch, speed.length), {})[speed.model] = speed
    return found
