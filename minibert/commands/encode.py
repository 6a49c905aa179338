"""`minibert encode`: vectors of the lines of a text; `minibert search`: the lines nearest to a query."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from minibert.base.arguments import Argument
from minibert.base.files import write_file
from minibert.commands.options import check_writable
from minibert.inference.encode import TOKENS, encode
from minibert.models import Bert
from minibert.models.hub import find_model
from minibert.models.huggingface import save_tensors
from minibert.ops import load_backend
from minibert.ops.threads import use_threads
from minibert.text import Tokenizer

STANDARD_INPUT = "-"
log = logging.getLogger("minibert")


@dataclass(frozen=True)
class EncodeConfig:
    """Turn each line of a text into a vector, or into one for each of its tokens.

    For example: minibert encode MODEL lines.txt --out vectors.npy
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a model: a run of minibert, or any BERT in safetensors; or the name of a published one."""
    file: Annotated[str, Argument(metavar="FILE", positional=True)]
    """Text with one sentence in each line; - for standard input.  Empty lines are passed over."""
    out: str = "vectors.npy"
    """File for the vectors: .npy, or .safetensors."""
    pooling: Literal["mean", "cls", "tokens"] = "mean"
    """The mean of all tokens, the first token's vector, or all of them (line after line; .safetensors also holds
    cu_seqlens, where each line begins)."""
    layer: int = -1
    """Layer whose output to use: -1 for the last, 0 for the embeddings."""
    normalise: bool = False
    """Normalise all vectors to length 1."""
    max_length: int | None = None
    """Truncate longer lines to this many tokens; by default, the longest sequence the model accepts."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    backend: Literal["reference", "cpu", "gpu"] = "cpu"
    """Compute with cpu (Numba), reference (NumPy) or gpu (CuPy)."""
    emulate: bool = False
    """Run the kernels of the gpu backend on the CPU (slow; needs a C++ compiler)."""
    threads: int | None = None
    """CPU threads; by default one for each core that this process may use."""

    def __post_init__(self) -> None:
        if not self.out.endswith((".npy", ".safetensors")):
            raise ValueError(f"--out {self.out}: expected a name that ends in .npy or .safetensors")
        for name in ("max_length", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected at least 1")


@dataclass(frozen=True)
class SearchConfig:
    """Find the lines of a text that are nearest to a query in meaning, by the cosine of their vectors.

    For example: minibert search MODEL lines.txt "a sunny day".  It takes a model that was trained to compare sentences.
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a model: a run of minibert, or any BERT in safetensors; or the name of a published one."""
    file: Annotated[str, Argument(metavar="FILE", positional=True)]
    """Text with one sentence in each line; - for standard input."""
    query: Annotated[tuple[str, ...], Argument(metavar="QUERY ...", positional=True)]
    """What to look for."""
    top: int = 5
    """Lines to show for each query."""
    pooling: Literal["mean", "cls"] = "mean"
    """The mean of all tokens, or the first token's vector."""
    layer: int = -1
    """Layer whose output to use: -1 for the last."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    backend: Literal["reference", "cpu", "gpu"] = "cpu"
    """Compute with cpu (Numba), reference (NumPy) or gpu (CuPy)."""
    emulate: bool = False
    """Run the kernels of the gpu backend on the CPU (slow; needs a C++ compiler)."""
    threads: int | None = None
    """CPU threads; by default one for each core that this process may use."""

    def __post_init__(self) -> None:
        if self.top < 1 or (self.threads is not None and self.threads < 1):
            raise ValueError("--top and --threads must be at least 1")
        if not self.query or not all(query.strip() for query in self.query):
            raise ValueError('no QUERY was given; say what to look for, such as "a sunny day"')


def encode_lines(config: EncodeConfig) -> None:
    """Run `minibert encode`.  Raises ValueError and OSError with one line for the user."""
    out = Path(config.out)
    check_writable("--out", out)
    lines = read_lines(config.file)
    model, tokenizer = load(config)
    settings: dict[str, Any] = dict(pooling=config.pooling, layer=config.layer, normalise=config.normalise)
    vectors: Any = encode(model, tokenizer, lines, max_length=config.max_length, **settings)
    tensors = {}
    if config.pooling == TOKENS:
        tensors["cu_seqlens"] = np.cumsum([0, *map(len, vectors)], dtype=np.int64)
        vectors = np.concatenate(vectors)
    if out.suffix == ".npy":
        write_file(out, lambda temporary: save_npy(temporary, vectors))
    else:
        save_tensors(out, {"vectors": np.ascontiguousarray(vectors), **tensors})
    print(f"{out}: {len(vectors):,} vectors of {vectors.shape[1]} numbers, from {len(lines):,} lines")


def search(config: SearchConfig) -> None:
    """Run `minibert search`.  Raises ValueError and OSError with one line for the user."""
    lines = read_lines(config.file)
    model, tokenizer = load(config)
    settings: dict[str, Any] = dict(pooling=config.pooling, layer=config.layer, normalise=True)
    vectors: Any = encode(model, tokenizer, lines, **settings)  # [lines, H]
    queries = encode(model, tokenizer, config.query, **settings)  # [queries, H]
    for query, cosines in zip(config.query, queries @ vectors.T, strict=True):
        if len(config.query) > 1:
            print(query)
        for number in np.argsort(-cosines, kind="stable")[: config.top]:
            print(f"{cosines[number]:7.4f}  {lines[number]}")


def load(config: EncodeConfig | SearchConfig) -> tuple[Bert, Tokenizer]:
    use_threads(config.threads)
    folder = find_model(config.run, config.revision)
    tokenizer = Tokenizer.load(folder)
    backend = load_backend(config.backend, emulate=config.emulate)
    return Bert.from_pretrained(folder, backend, report=log.info), tokenizer


def read_lines(file: str) -> list[str]:
    """The lines of a file or of standard input that hold a text.  ValueError if none does."""
    if file == STANDARD_INPUT:
        name, data = "standard input", sys.stdin.buffer.read()
    elif not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}")
    else:
        name, data = file, Path(file).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 at offset {error.start}; convert it first, with iconv say") from None
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"{name} is empty: there are no lines to encode")
    return lines


def save_npy(path: Path, vectors: np.ndarray) -> None:
    with open(path, "wb") as file:  # np.save would add an extension to the name
        np.save(file, vectors)
