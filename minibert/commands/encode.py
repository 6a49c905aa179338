"""`minibert encode` turns lines of text into vectors; `minibert search` finds the lines closest to a query."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from minibert.base.arguments import Argument
from minibert.base.files import write_file
from minibert.commands.options import check_writable
from minibert.data.text_files import looks_like_jsonl
from minibert.inference.encode import TOKENS, encode
from minibert.inference.sentence_folder import DOT, Recipe, load_recipe
from minibert.models import Bert
from minibert.models.hub import find_model
from minibert.models.huggingface import save_tensors
from minibert.ops import load_backend
from minibert.ops.threads import use_threads
from minibert.tasks.readers import lines_of, open_file, open_standard_input, parse_examples
from minibert.tasks.readers.files import PARQUET
from minibert.tasks.registry import SENTENCE, OwnColumns, task_info
from minibert.text import Tokenizer

STANDARD_INPUT = "-"
TABLES = ".csv", ".tsv", ".jsonl", ".json", ".parquet"
TEXTS = task_info(SENTENCE)  # a column of texts; its labels are not read
log = logging.getLogger("minibert")


@dataclass(frozen=True)
class EncodeConfig:
    """Turn each line of a text into a vector, or into one vector per token.

    For example: minibert encode MODEL lines.txt --out vectors.npy
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a model (a minibert run or any BERT in safetensors), or the name of a published one."""
    file: Annotated[str, Argument(metavar="FILE", positional=True)]
    """Text file with one sentence per line, or a table with a column of texts (.csv, .tsv, .jsonl, .json, .parquet);
    - for standard input. Empty lines are skipped."""
    text_column: Annotated[str | None, Argument(metavar="NAME", default="(default: text)")] = None
    """Column of a table, or field of JSON objects, that holds the text."""
    out: str = "vectors.npy"
    """File to write the vectors to: .npy or .safetensors."""
    pooling: Annotated[
        Literal["mean", "cls", "max", "mean-sqrt-len", "weighted-mean", "last", "tokens"] | None,
        Argument(default="(default: the model's own, or mean)"),
    ] = None
    """What to write for each line: the mean over its tokens, the vector of its first or last token, the maximum, the
    sum over the square root of their number, the mean with weights 1, 2, 3, …, or the vectors of all its tokens
    (concatenated; a .safetensors file also holds cu_seqlens, the index at which each line begins)."""
    prompt: Annotated[str | None, Argument(default="(default: the model's default prompt, if any)")] = None
    """Name of a prompt of the model (in config_sentence_transformers.json), which is put before each line."""
    layer: int = -1
    """Layer whose output to use: -1 for the last layer, 0 for the embeddings."""
    normalise: bool = False
    """Normalise each vector to length 1."""
    max_length: Annotated[int | None, Argument(default="(default: the longest the model accepts)")] = None
    """Truncate lines to this many tokens."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    backend: Literal["reference", "cpu", "gpu"] = "cpu"
    """Backend to compute with: cpu (Numba), reference (NumPy) or gpu (CuPy)."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU (slow; requires a C++ compiler)."""
    threads: Annotated[int | None, Argument(default="(default: one per available core)")] = None
    """Number of CPU threads."""

    def __post_init__(self) -> None:
        if not self.out.endswith((".npy", ".safetensors")):
            raise ValueError(f"--out {self.out}: expected a name that ends in .npy or .safetensors")
        for name in ("max_length", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected at least 1")


@dataclass(frozen=True)
class SearchConfig:
    """Find the lines of a text that are closest in meaning to a query, by the cosine similarity of their vectors.

    A model of sentence-transformers brings its own similarity, and its prompts for queries and documents.

    For example: minibert search MODEL lines.txt "a sunny day".  Use a model that was trained to compare sentences.
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a model (a minibert run or any BERT in safetensors), or the name of a published one."""
    file: Annotated[str, Argument(metavar="FILE", positional=True)]
    """Text file with one sentence per line, or a table, as for minibert encode; - for standard input."""
    query: Annotated[tuple[str, ...], Argument(metavar="QUERY ...", positional=True)]
    """Text to search for."""
    text_column: Annotated[str | None, Argument(metavar="NAME", default="(default: text)")] = None
    """Column of a table, or field of JSON objects, that holds the text."""
    top: int = 5
    """Number of lines to show for each query."""
    pooling: Annotated[
        Literal["mean", "cls", "max", "mean-sqrt-len", "weighted-mean", "last"] | None,
        Argument(default="(default: the model's own, or mean)"),
    ] = None
    """Vector of a line, from those of its tokens: see minibert encode."""
    layer: int = -1
    """Layer whose output to use: -1 for the last layer."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    backend: Literal["reference", "cpu", "gpu"] = "cpu"
    """Backend to compute with: cpu (Numba), reference (NumPy) or gpu (CuPy)."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU (slow; requires a C++ compiler)."""
    threads: Annotated[int | None, Argument(default="(default: one per available core)")] = None
    """Number of CPU threads."""

    def __post_init__(self) -> None:
        if self.top < 1 or (self.threads is not None and self.threads < 1):
            raise ValueError("--top and --threads must be at least 1")
        if not self.query or not all(query.strip() for query in self.query):
            raise ValueError('no QUERY was given; give a text to search for, such as "a sunny day"')


def encode_lines(config: EncodeConfig) -> None:
    """Run `minibert encode`.  Raises ValueError or OSError with a one-line message."""
    out = Path(config.out)
    check_writable("--out", out)
    lines, blank = read_lines(config.file, config.text_column)
    model, tokenizer, recipe = load(config)
    settings: dict[str, Any] = dict(pooling=config.pooling, layer=config.layer, normalise=config.normalise)
    prompt = prompt_of(config, recipe)
    vectors: Any = encode(
        model, tokenizer, lines, max_length=config.max_length, recipe=recipe, prompt=prompt, **settings
    )
    tensors = {}
    if config.pooling == TOKENS:
        tensors["cu_seqlens"] = np.cumsum([0, *map(len, vectors)], dtype=np.int64)
        vectors = np.concatenate(vectors)
    if out.suffix == ".npy":
        write_file(out, lambda temporary: save_npy(temporary, vectors))
    else:
        save_tensors(out, {"vectors": np.ascontiguousarray(vectors), **tensors})
    skipped = f"; {blank:,} empty ones were skipped" if blank else ""
    print(f"{out}: {len(vectors):,} vectors of length {vectors.shape[1]} from {len(lines):,} lines{skipped}")


def search(config: SearchConfig) -> None:
    """Run `minibert search`.  Raises ValueError or OSError with a one-line message."""
    lines, _ = read_lines(config.file, config.text_column)
    model, tokenizer, recipe = load(config)
    of_lines, of_queries = (recipe.prompt(name) if recipe else "" for name in ("document", "query"))
    normalise = recipe is None or recipe.similarity != DOT
    settings: dict[str, Any] = dict(pooling=config.pooling, layer=config.layer, normalise=normalise, recipe=recipe)
    vectors: Any = encode(model, tokenizer, lines, prompt=of_lines, **settings)  # [lines, H]
    queries = encode(model, tokenizer, config.query, prompt=of_queries, **settings)  # [queries, H]
    for query, cosines in zip(config.query, queries @ vectors.T, strict=True):
        if len(config.query) > 1:
            print(query)
        for number in np.argsort(-cosines, kind="stable")[: config.top]:
            print(f"{cosines[number]:7.4f}  {lines[number]}")


def load(config: EncodeConfig | SearchConfig) -> tuple[Bert, Tokenizer, Recipe | None]:
    """The model, its tokenizer and, for a folder of sentence-transformers, what that library adds."""
    use_threads(config.threads)
    folder = find_model(config.run, config.revision)
    recipe = load_recipe(folder)
    if recipe is not None and config.pooling not in (None, *recipe.pooling):
        theirs = " and ".join(recipe.pooling)
        log.warning(f"{folder}: --pooling {config.pooling} replaces the model's own, {theirs}")
    tokenizer = Tokenizer.load(folder) if recipe is None else recipe.tokenizer()
    backend = load_backend(config.backend, emulate=config.emulate)
    body = folder if recipe is None else recipe.body
    return Bert.from_pretrained(body, backend, report=log.info), tokenizer, recipe


def prompt_of(config: EncodeConfig, recipe: Recipe | None) -> str:
    """The text of the prompt that --prompt names.  Raises ValueError if the model has no prompt of that name."""
    names = [name for name, _ in recipe.prompts] if recipe else []
    if config.prompt is not None and config.prompt not in names:
        raise ValueError(f"--prompt is {config.prompt!r}; the model's prompts are {', '.join(names) or 'none'}")
    return recipe.prompt(config.prompt) if recipe else ""


def read_lines(file: str, column: str | None = None) -> tuple[list[str], int]:
    """The texts of a file or of standard input: those in a column of a table, or the lines that are not blank, without
    white space around; and how many lines are blank.

    Raises FileNotFoundError if there is no such file, and ValueError if the input is not text in UTF-8, has only blank
    lines, or lacks the column or a text in it.
    """
    source = open_standard_input() if file == STANDARD_INPUT else open_file(file)
    plain = source.suffix not in TABLES and not source.data.startswith(PARQUET)
    lines = [line.strip() for line in lines_of(source)] if plain else []
    full = [line for line in lines if line]
    if plain and not full:
        raise ValueError(f"{source.path} is empty; expected at least one line of text")
    if plain and looks_like_jsonl(full):
        source, plain = replace(source, suffix=".jsonl"), False
    if not plain:
        examples = parse_examples(TEXTS, source, OwnColumns(text=column), labelled=False)
        return [example.text for example in examples], 0
    if column is not None:
        raise ValueError(
            f"--text-column cannot act: {source.path} is read as plain text; omit it, or give a .csv, .tsv, .jsonl, "
            ".json or .parquet file"
        )
    return full, len(lines) - len(full)


def save_npy(path: Path, vectors: np.ndarray) -> None:
    with open(path, "wb") as file:  # not a file name, to which np.save would append .npy
        np.save(file, vectors)
