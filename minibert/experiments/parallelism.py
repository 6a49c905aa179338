"""The speed of an LSTM and of a Transformer against sequence length and batch size, in training and in inference.

An LSTM reads token by token: with T tokens and L layers, T L products depend on each other.  A Transformer computes all
tokens of a layer at once: L steps, whatever the length (Vaswani et al. 2017, table 1).  On a machine that can do many
things at once, only the number of steps limits a batch that is small enough.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from minibert.base.files import write_file
from minibert.base.progress import progress_bar
from minibert.data.batch import Batch
from minibert.models import Bert, BertConfig, Elmo, ElmoConfig
from minibert.ops import load_backend

LENGTHS, BATCHES = (16, 32, 64, 128, 256, 512), (1, 16)
TURNS, LEAST = 5, 0.2  # turns of each model, in alternation; the least seconds of a turn
VOCABULARY = 8192


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
    """A stack of layers without a head, and one step of its use."""

    def __init__(self, name: str, model: Any):
        self.name, self.model = name, model

    def sequential_steps(self, length: int) -> int:
        """How many steps of a forward pass depend on each other."""
        layers = self.model.config.num_hidden_layers
        return layers * length if isinstance(self.model, Elmo) else layers

    def infer(self, batch: Batch) -> None:
        self.wait(self.model.hidden_states(batch)[-1])

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
            hidden, cache = self.model.forward(batch)
            self.model.backward(ones(hidden), cache)
        self.wait(self.model.parameters.gradients[:1])

    def wait(self, array: Any) -> None:
        self.model.backend.numpy(array[:1])


def contenders(backend_name: str, size: str = "tiny") -> list[Contender]:
    """A Transformer, and an LSTM in both directions with about as many parameters."""
    backend = load_backend(backend_name)
    longest = max(LENGTHS)
    bert = BertConfig.preset(size, VOCABULARY, max_position_embeddings=longest)
    elmo = ElmoConfig.preset(size, VOCABULARY, max_position_embeddings=longest)
    return [Contender("Transformer", Bert(bert, backend)), Contender("LSTM", Elmo(elmo, backend))]


def measure(backend_name: str = "cpu", size: str = "tiny") -> list[Speed]:
    """Measure both models at each length and batch size, in turns, so that a slow moment of the machine hits both."""
    both, random, found = contenders(backend_name, size), np.random.default_rng(0), []
    cases = [(batch, length) for batch in BATCHES for length in LENGTHS]
    for batch_size, length in progress_bar(cases, desc="measuring", unit="case"):
        ids = random.integers(5, VOCABULARY, (batch_size, length)).astype(np.int32)
        batch = Batch.of_sequences(list(ids))
        for use in ("training", "inference"):
            times: dict[str, list[float]] = {contender.name: [] for contender in both}
            runs = {contender.name: contender.train if use == "training" else contender.infer for contender in both}
            for run in runs.values():
                run(batch)  # warm-up
            for _ in range(TURNS):
                for name, run in runs.items():
                    times[name].append(seconds_of(run, batch))
            for contender in both:
                speed = batch_size * length / median(times[contender.name])
                found.append(Speed(contender.name, use, length, batch_size, contender.sequential_steps(length), speed))
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


def markdown(speeds: list[Speed]) -> str:
    """A table: for each use, batch and length, both speeds, their ratio, and the steps that depend on each other."""
    lines = [
        "| use | sequences | length | Transformer, tokens/s | LSTM, tokens/s | ratio | sequential steps | LSTM's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    by_case: dict[tuple[str, int, int], dict[str, Speed]] = {}
    for speed in speeds:
        by_case.setdefault((speed.use, speed.batch, speed.length), {})[speed.model] = speed
    for (use, batch, length), both in sorted(by_case.items(), key=lambda item: (item[0][0] != "training", item[0])):
        one, other = both["Transformer"], both["LSTM"]
        ratio = one.tokens_per_second / other.tokens_per_second
        lines.append(
            f"| {use} | {batch} | {length} | {one.tokens_per_second:,.0f} | {other.tokens_per_second:,.0f} | "
            f"{ratio:.1f} | {one.sequential_steps} | {other.sequential_steps} |"
        )
    return "\n".join(lines) + "\n"


def draw(speeds: list[Speed], path: Path) -> None:
    """Draw the speeds against the length: a panel for each use and batch size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for row, use in zip(panels, ("training", "inference"), strict=True):
        for panel, batch in zip(row, BATCHES, strict=True):
            for name, colour in (("Transformer", "#08519c"), ("LSTM", "#d94801")):
                chosen = [s for s in speeds if (s.model, s.use, s.batch) == (name, use, batch)]
                points = [s.length for s in chosen], [s.tokens_per_second for s in chosen]
                panel.plot(*points, "o-", color=colour, label=name)
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_title(f"{use}, {batch} {'sequence' if batch == 1 else 'sequences'}", fontsize=10)
            panel.grid(alpha=0.25, which="both")
    for panel in panels[1]:
        panel.set_xlabel("length (tokens)")
    for panel in panels[:, 0]:
        panel.set_ylabel("tokens per second")
    panels[0, 0].legend()
    write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))
