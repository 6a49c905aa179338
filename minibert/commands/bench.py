"""`minibert bench`: measure minibert's speed on this machine, compare it with PyTorch, and show the time per op."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from minibert.base.arguments import Argument
from minibert.base.cores import usable_cores
from minibert.base.files import write_text
from minibert.base.progress import progress_bar
from minibert.bench import peers, roofline, workload
from minibert.bench.measure import contenders_of, measure
from minibert.bench.report import as_text
from minibert.commands.options import check_writable
from minibert.data.pairs import Pairs
from minibert.ops import load_backend

LONGEST = 512  # the model's number of positions, which limits --length
STANDARD_OUTPUT = "-"
THREADS = Argument(metavar="INT", default="(default: all available cores)")


@dataclass(frozen=True)
class BenchConfig:
    """Benchmark a training step or inference on the default corpus: speed, memory, and time per op.

    If PyTorch and transformers are installed, the same model is benchmarked with them too, taking turns. Run nothing
    else on the machine meanwhile.
    """

    size: Literal["tiny", "mini", "small", "medium", "base", "large"] = "mini"
    """Layers/width/heads: tiny 2/128/2, mini 4/256/4, small 4/512/8, medium 8/512/8, base 12/768/12, large
    24/1024/16."""
    vocab_size: int = 8192
    """Vocabulary size."""
    batch: int = 16
    """Sequences per batch."""
    length: int = 128
    """Length of the longest sequences, in tokens."""
    dropout: float = 0.1
    """Dropout rate after sub-layers and on attention probabilities."""
    inference: bool = False
    """Measure inference instead: MiniLM's shape, 1,000 sentences of 5 to 60 tokens in batches of 32; the five options
    above are ignored."""
    backend: Literal["cpu", "reference"] = "cpu"
    """Backend of minibert to measure: cpu (Numba) or reference (NumPy)."""
    threads: Annotated[int | None, THREADS] = None
    """Number of threads for each contender."""
    repeats: int = 5
    """Number of measured turns, after one warm-up turn; the medians are reported."""
    peers: bool = True
    """Also measure transformers with PyTorch, if installed."""
    json: Annotated[str | None, Argument(metavar="FILE")] = None
    """Also write the results to this file as JSON; - prints the JSON instead of the tables."""
    plot: Annotated[str | None, Argument(metavar="FILE")] = None
    """Plot the roofline to this file (.png, .svg or .pdf): each op's speed against the machine's limits."""

    def __post_init__(self) -> None:
        for name in ("batch", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}; expected at least 1")
        if self.vocab_size < 300:  # special tokens, and each character of the corpus at the start of and within words
            raise ValueError(f"--vocab-size is {self.vocab_size}; expected at least 300")
        if not Pairs.SHORTEST <= self.length <= LONGEST:
            raise ValueError(f"--length is {self.length}; expected {Pairs.SHORTEST} to {LONGEST}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout is {self.dropout}; expected at least 0 and below 1")
        if self.threads is not None and not 1 <= self.threads <= (usable_cores() or self.threads):
            raise ValueError(
                f"--threads is {self.threads}; expected 1 to {usable_cores()}, the number of available cores"
            )
        if self.plot is not None and Path(self.plot).suffix not in roofline.SUFFIXES:
            raise ValueError(
                f"--plot is {self.plot}; expected a file name that ends in one of {', '.join(roofline.SUFFIXES)}"
            )


def bench(config: BenchConfig) -> None:
    """Run `minibert bench`: measure, print the tables, and write the files given by --json and --plot.

    Raises, before anything is measured, OSError if a file cannot be written, ModuleNotFoundError if the default corpus
    is not installed, and RuntimeError if the backend is not available.
    """
    for option, path in (("--json", config.json), ("--plot", config.plot)):
        if path not in (None, STANDARD_OUTPUT):
            check_writable(option, Path(path))
    report = run(config)
    if config.json == STANDARD_OUTPUT:
        print(json.dumps(report, indent=2))
    else:
        print(as_text(report))
        if config.json is not None:
            write_text(config.json, json.dumps(report, indent=2) + "\n")
    if config.plot is not None:
        roofline.draw(report, config.plot)


def run(config: BenchConfig, names: list[str] | None = None) -> dict:
    """Run the benchmark described by `config` and return its report (see minibert.bench.report).

    names: the contenders to measure, minibert first; None for all available contenders.
    """
    load_backend(config.backend)
    if config.peers and (missing := peers.missing()):
        print(f'skipping the peers; {", ".join(missing)} not installed: pip install -e ".[peers]"', file=sys.stderr)
    with progress_bar(bar_format="{desc} ({elapsed})") as bar:
        bar.set_description_str("making batches")
        work = make_workload(config)
        return measure(
            work,
            names or contenders_of(work.kind, config.backend, config.peers),
            threads=config.threads or usable_cores() or 1,
            repeats=config.repeats,
            tell=bar.set_description_str,
        )


def make_workload(config: BenchConfig) -> workload.Workload:
    """Create the Workload described by `config`."""
    if config.inference:
        return workload.inference_workload()
    return workload.training_workload(config.size, config.vocab_size, config.batch, config.length, config.dropout)
