"""The speed of an LSTM and of a Transformer against sequence length and batch size, in training and in inference.

An LSTM reads token by token: with T tokens and L layers, T L products depend on each other.  A Transformer computes all
tokens of a layer at once: L steps, whatever the length (Vaswani et al. 2017, table 1).  On a machine that can do many
things at once, only the number of steps limits a batch that is small enough.
"""

from pathlib import Path

from minibert.base.files import write_file
from minibert.experiments.speeds import VOCABULARY, Contender, Speed, by_case, measure
from minibert.models import Bert, BertConfig, Elmo, ElmoConfig
from minibert.ops import load_backend

LENGTHS, BATCHES = (16, 32, 64, 128, 256, 512), (1, 16)


def contenders(backend_name: str, size: str = "tiny") -> list[Contender]:
    """A Transformer, and an LSTM in both directions with about as many parameters."""
    backend = load_backend(backend_name)
    longest = max(LENGTHS)
    bert = BertConfig.preset(size, VOCABULARY, max_position_embeddings=longest)
    elmo = ElmoConfig.preset(size, VOCABULARY, max_position_embeddings=longest)
    return [Contender("Transformer", Bert(bert, backend)), Contender("LSTM", Elmo(elmo, backend))]


def speeds(backend_name: str) -> list[Speed]:
    """The speeds of both models at each length and batch size."""
    return measure(contenders(backend_name), [(batch, length) for batch in BATCHES for length in LENGTHS])


def markdown(speeds: list[Speed]) -> str:
    """A table: for each use, batch and length, both speeds, their ratio, and the steps that depend on each other."""
    lines = [
        "| use | sequences | length | Transformer, tokens/s | LSTM, tokens/s | ratio | sequential steps | LSTM's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (use, batch, length), both in by_case(speeds).items():
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
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    figure.suptitle("Tokens per second of an LSTM and a Transformer of about as many parameters")
    panels = figure.subplots(2, 2, sharex=True)
    for row, use in zip(panels, ("training", "inference"), strict=True):
        for panel, batch in zip(row, BATCHES, strict=True):
            for name, colour in (("Transformer", "#08519c"), ("LSTM", "#d94801")):
                chosen = [s for s in speeds if (s.model, s.use, s.batch) == (name, use, batch)]
                points = [s.length for s in chosen], [s.tokens_per_second for s in chosen]
                panel.plot(*points, "o-", color=colour, label=name)
            panel.set_xscale("log", base=2)
            panel.set_xticks(LENGTHS, LENGTHS)
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:,.0f}")
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.set_title(f"{use}, {batch} {'sequence' if batch == 1 else 'sequences'}", fontsize=10)
            panel.grid(alpha=0.25, which="both")
    for panel in panels[1]:
        panel.set_xlabel("length (tokens)")
    for panel in panels[:, 0]:
        panel.set_ylabel("tokens per second")
    panels[0, 0].legend()
    write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))
