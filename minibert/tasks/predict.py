"""`minibert predict`: make predictions with a fine-tuned model for text from a file or standard input."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from minibert.base.arguments import Argument
from minibert.data.text_files import looks_like_jsonl
from minibert.models.hub import find_model
from minibert.ops import load_backend
from minibert.ops.threads import use_threads
from minibert.tasks.codecs import Prediction
from minibert.tasks.examples import SentenceExample, SpanExample, WordsExample
from minibert.tasks.features import truncated
from minibert.tasks.readers import (
    TASK_COLUMNS,
    Lines,
    columns_of,
    lines_of,
    open_file,
    open_standard_input,
    parse_examples,
)
from minibert.tasks.readers.conll import DOCUMENT
from minibert.tasks.readers.files import PARQUET
from minibert.tasks.readers.records import text_from
from minibert.tasks.readers.report import skipped
from minibert.tasks.registry import CHOICE, REGRESSION, SENTENCE, SPAN, TOKENS, OwnColumns, TaskInfo, task_info
from minibert.tasks.sotu import NO_MARK, words_and_marks
from minibert.tasks.task import Task, check_complete, predictions_of
from minibert.text import Tokenizer

STANDARD_INPUT = "-"
PLAIN = (".txt", "")  # extensions of files with one text per line
PUNCTUATION = "sotu-punctuation"
ENDS = ".?!"  # the word after one of these marks is capitalised
log = logging.getLogger("minibert")


@dataclass(frozen=True)
class PredictConfig:
    """Make predictions with a model from `minibert finetune`, or with a BERT or DistilBERT classifier of transformers.

    Input: one text per line (pairs: two texts separated by a tab; questions: question, tab, text; words: separated by
    spaces), or a file in the task's own format.  For example: echo "so good" | minibert predict runs/sst2/001
    """

    folder: Annotated[str, Argument(metavar="FOLDER", positional=True)]
    """Folder of the fine-tuned model, or the name of a published classifier."""
    file: Annotated[str, Argument(metavar="FILE", positional=True)] = STANDARD_INPUT
    """.txt with one text per line, or the task's format (.tsv, .csv, .jsonl, .json, .conll, .parquet), whose labels are
    not read; - for standard input."""
    text_column: Annotated[str | None, Argument(default="(default: as in training)")] = None
    """Column with the text, as for `minibert finetune`."""
    pair_column: Annotated[str | None, Argument(default="(default: as in training)")] = None
    """Column with the second text of a pair, the question or the endings."""
    json: bool = False
    """Print a JSON object for each example, including alternative answers."""
    n_best: Annotated[int | None, Argument(metavar="INT", default="(default: 1; all with --json)")] = None
    """Number of answers to print for each example."""
    backend: Literal["reference", "cpu", "gpu", "mine"] = "cpu"
    """Backend to compute with: cpu (Numba), reference (NumPy), gpu (CuPy) or mine (your answers in the lessons)."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU (slow; requires a C++ compiler)."""
    threads: Annotated[int | None, Argument(default="(default: one per available core)")] = None
    """Number of CPU threads."""

    def __post_init__(self) -> None:
        if any(value is not None and value < 1 for value in (self.n_best, self.threads)):
            raise ValueError("--n-best and --threads must be at least 1")


def predict(config: PredictConfig) -> None:
    """Run `minibert predict`.  Raises ValueError or OSError with a one-line message."""
    use_threads(config.threads)
    folder = find_model(config.folder)
    task = Task.load(folder)
    if config.n_best is not None and task.kind in (TOKENS, REGRESSION):
        raise ValueError(f"--n-best cannot act: --task {task.name} has one answer for each example; omit it")
    passed_over: Counter = Counter()
    examples = read_input(task, config.file, OwnColumns(config.text_column, config.pair_column), passed_over)
    if passed_over:
        log.warning(f"skipped {skipped(passed_over)} of {config.file}")
    tokenizer = Tokenizer.load(folder)
    backend = load_backend(config.backend, emulate=config.emulate)
    model = task.model_class.from_pretrained(folder, backend, report=log.info)
    check_complete(model, folder)
    codec = task.codec(tokenizer)
    features = codec.encode(examples)
    if note := truncated(task.max_length, given=features):
        log.warning(f"{config.file}: {note}")
    predictions = predictions_of(model, codec, examples, features)
    for example, prediction in zip(examples, predictions, strict=True):
        if config.json:
            lines = as_json(example, prediction, config.n_best)
        else:
            lines = as_lines(task, example, prediction, config.n_best or 1)
        for line in lines:
            print(line)


def read_input(task: Task, file: str, own: OwnColumns = TASK_COLUMNS, passed_over: Counter | None = None) -> list:
    """Read the examples in a file or on standard input, which is read as a .txt file is.

    own: the names of columns that differ from those in training; passed_over: counts the rows that are passed over.
    Raises FileNotFoundError if there is no such file, and ValueError for empty or malformed input; for a malformed
    line, the message names the line.
    """
    info = task_info(task.name)
    source = open_standard_input() if file == STANDARD_INPUT else open_file(file)
    given = OwnColumns(*task.columns)
    columns = replace(given, text=own.text or given.text, pair=own.pair or given.pair)
    if info.kind == TOKENS and own.pair:
        raise ValueError(f"--pair-column cannot act: --task {task.name} has no second text; omit it")
    if own.pair and info.kind in (SENTENCE, REGRESSION) and not task.pairs:
        raise ValueError("--pair-column cannot act: the model was fine-tuned on single texts; omit it")
    if source.suffix in PLAIN and not source.data.startswith(PARQUET) and info.kind != CHOICE:
        lines = lines_of(source)
        if looks_like_jsonl(lines):
            source = replace(source, suffix=".jsonl")
        elif not is_table(task, info, lines, columns):
            if own.text or own.pair:
                raise ValueError(
                    f"--text-column and --pair-column cannot act: {source.path} is read as plain text; omit them, or "
                    "give a .tsv, .csv, .jsonl or .parquet file"
                )
            found = [
                plain_example(task, info.kind, line, f"{source.path}, line {number}")
                for number, line in enumerate(lines, 1)
                if line.strip()
            ]
            if not found:
                raise ValueError(f"{source.path} is empty; expected at least one example")
            return found
    elif file == STANDARD_INPUT:
        source = replace(source, suffix=".jsonl")
    return parse_examples(info, source, columns, labelled=False, passed_over=passed_over)


def is_table(task: Task, info: TaskInfo, lines: Lines, columns: OwnColumns) -> bool:
    """Whether a .txt file is in the task's own format: its first line has the names of the task's columns, or, for
    words, begins a document of CoNLL-2003."""
    first = next((line for line in lines if line.strip()), "")
    if info.kind == TOKENS:
        return first.startswith(DOCUMENT)
    names = {name.strip() for name in first.split("\t")}
    wanted = columns_of(info, columns)
    needed = (wanted.text, wanted.pair) if task.pairs else (wanted.text,)
    return info.kind in (SENTENCE, REGRESSION) and len(names) > 1 and all(names & set(some) for some in needed)


def plain_example(task: Task, kind: str, line: str, where: str) -> Any:
    """The example parsed from a line of plain text; where: the location of the line, for error messages."""
    parts = line.split("\t")
    wanted = 2 if kind == SPAN or (task.pairs and kind in (SENTENCE, REGRESSION)) else 1
    if kind == TOKENS:
        words = words_and_marks(line)[0] if task.name == PUNCTUATION else line.split()
        if not words:
            raise ValueError(f"{where}: no words; expected at least one")
        return WordsExample(tuple(words))
    either = task.pairs is None and wanted == 1 and len(parts) == 2 and kind in (SENTENCE, REGRESSION)
    if len(parts) != wanted and not either:
        expected = {
            1: "one text",
            2: "a question, a tab and a text" if kind == SPAN else "two texts separated by a tab",
        }[wanted]
        raise ValueError(f"{where}: {len(parts)} columns; expected {expected}")
    texts = [text_from(part, where).strip() for part in parts]
    return SpanExample(where, question=texts[0], context=texts[1]) if kind == SPAN else SentenceExample(*texts)


def as_lines(task: Task, example: Any, prediction: Prediction, n_best: int) -> Iterator[str]:
    """Yield the lines of text that show a prediction; n_best: the number of answers to show."""
    kind = task.kind
    if kind == TOKENS:
        if task.name == PUNCTUATION:
            yield punctuated(example.words, prediction.answer)
            return
        yield from (f"{word}\t{label}" for word, label in zip(example.words, prediction.answer, strict=True))
        yield ""
        return
    shown = [(prediction.answer, prediction.probability), *prediction.others][:n_best]
    for answer, probability in shown:
        if kind == REGRESSION:
            yield f"{answer:.3f}\t{example.text}"
        elif kind == SPAN:
            yield f"{answer or '(no answer)'}\t{probability:.1%}\t{example.question}"
        elif kind == CHOICE:
            yield f"{answer}\t{probability:.1%}\t{example.text} {example.endings[answer]}"
        else:
            second = "" if example.pair is None else f"\t{example.pair}"
            yield f"{answer}\t{probability:.1%}\t{example.text}{second}"


def punctuated(words: Sequence[str], marks: Sequence[str]) -> str:
    """The text formed from words and the marks that follow them, with the first word of each sentence capitalised."""
    text, begins = [], True
    for word, mark in zip(words, marks, strict=True):
        word = word[:1].upper() + word[1:] if begins else word
        text.append(word + ("" if mark == NO_MARK else mark))
        begins = mark != NO_MARK and mark in ENDS
    return " ".join(text)


def as_json(example: Any, prediction: Prediction, n_best: int | None = None) -> Iterator[str]:
    """Yield the line of JSON that represents an example and its prediction; n_best: how many answers, None for all."""
    given = {name: value for name, value in vars(example).items() if value not in (None, ())}
    got = {"answer": prediction.answer, "probability": prediction.probability}
    others = prediction.others if n_best is None else prediction.others[: n_best - 1]
    if others:
        got["others"] = [{"answer": answer, "probability": share} for answer, share in others]
    yield json.dumps(
        {**{name: value for name, value in given.items() if "label" not in name}, **got}, ensure_ascii=False
    )
