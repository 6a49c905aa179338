"""Words with labels in columns: CoNLL-2003 and WNUT, and with comments and more columns GermEval and CoNLL-U."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minibert.tasks.examples import WordsExample
from minibert.tasks.readers.files import Lines
from minibert.tasks.readers.labels import Labels
from minibert.tasks.readers.records import listed
from minibert.tasks.registry import OwnColumns

CONLL_U = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
NAMED_COLUMNS = "# global.columns ="  # CoNLL-U Plus
DOCUMENT = "-DOCSTART-"
SPACES = re.compile(" +")
COUNTER = re.compile(r"\d+")
NO_WORD = re.compile(r"\d+[-.]\d+")  # 3-4: the written form of the words 3 and 4; 5.1: a word that was left out


@dataclass(frozen=True)
class Row:
    number: int
    """the line, counted from 1"""
    parts: list[str]


def read_conll(
    lines: Lines, path: Path, own: OwnColumns, labels: Labels | None, passed_over: Counter
) -> Iterator[WordsExample]:
    """Yield the sentences of a file with a word on each line; labels: None to read none.

    Columns are separated by tabs or spaces; empty lines end sentences.  The word is in the first column and its label
    in the last, unless own.text or own.label is the number of another column, counted from 1, or in CoNLL-U its name.
    Comments, before a sentence, begin with # and have another number of columns than the words.
    Raises ValueError with the file and line for a malformed line.
    """
    sentences, width, names = split_sentences(lines, path, passed_over)
    if not sentences:
        return
    first = sentences[0][0]
    where = f"{path}, line {first.number}"
    if labels is not None and width == 1:
        raise ValueError(f"{where}: the word {first.parts[0]!r} has no tag; expected a word and a tag")
    word = column_of(own.text, "--text-column", "FORM" if names else "1", names, width, where)
    tag = column_of(own.label, "--label-column", "" if names else str(width), names, width, where) if labels else None
    if tag == word:
        raise ValueError(
            f"{where}: the words and the labels are both in column {word + 1} of {width}; choose two columns with "
            "--text-column and --label-column"
        )
    if word == 0 and own.text is None and is_numbered(sentences, width):
        raise ValueError(
            f"{where}: the first column numbers the words; choose the column of the words, such as --text-column 2, "
            f"and that of the labels, --label-column 2 to {width}"
        )
    if (names[0] if names else "") == "ID" or word > 0 and is_numbered(sentences, width):
        sentences = without_numbers_of_no_word(sentences, passed_over)
    for rows in sentences:
        words, tags = [], []
        for row in rows:
            where = f"{path}, line {row.number}"
            if not row.parts[word]:
                raise ValueError(f"{where}: the word is empty; expected a word in column {word + 1} of {width}")
            words.append(row.parts[word])
            if labels is not None and tag is not None:
                if not row.parts[tag]:
                    raise ValueError(f"{where}: the label is missing in column {tag + 1} of {width}")
                tags.append(str(labels.label(row.parts[tag], where)))
        yield WordsExample(
            tuple(words), None if labels is None else tuple(tags), f"{path}, sentence from line {rows[0].number}"
        )


def split_sentences(lines: Lines, path: Path, passed_over: Counter) -> tuple[list[list[Row]], int, tuple[str, ...]]:
    """The rows of each sentence, the number of columns, and their names, () if they have none."""
    tabs = any("\t" in line for line in lines if line.strip() and not line.startswith("#"))
    names: tuple[str, ...] = CONLL_U if path.name.removesuffix(".gz").lower().endswith(".conllu") else ()
    width = len(names) or next(
        (len(columns_in(line, tabs)) for line in lines if line.strip() and not line.startswith(("#", DOCUMENT))), 0
    )
    if not width:  # all words begin with #
        width = next((len(columns_in(line, tabs)) for line in lines if line.strip() and DOCUMENT not in line), 0)
    sentences: list[list[Row]] = [[]]
    for number, line in enumerate(lines, 1):
        parts = columns_in(line, tabs)
        if line.startswith(NAMED_COLUMNS):
            names = tuple(line.removeprefix(NAMED_COLUMNS).split())
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{path}, line {number}: {len(twice)} columns {twice[0]!r}; expected one")
            width = len(names)
        if not line.strip():
            sentences.append([])
        elif line.startswith("#") and not sentences[-1] and (len(parts) != width or width == len(CONLL_U)):
            passed_over["comments"] += 1
        elif parts[0] == DOCUMENT:
            sentences.append([])
        elif len(parts) != width:
            raise ValueError(f"{path}, line {number}: {len(parts)} columns; expected {width}, as in the first line")
        else:
            sentences[-1].append(Row(number, parts))
    return [rows for rows in sentences if rows], width, names


def columns_in(line: str, tabs: bool) -> list[str]:
    """The columns of a line; tabs: whether a line that begins with # is separated by tabs, as other lines are."""
    by_tabs = "\t" in line or (tabs and line.startswith("#"))
    # other white space, such as U+00A0 in "10 000", is part of a word
    parts = line.split("\t") if by_tabs else SPACES.split(line.strip(" "))
    return [part.strip() for part in parts]


def column_of(wanted: str | None, option: str, default: str, names: tuple[str, ...], width: int, where: str) -> int:
    """The index of a column that is given by its number, from 1, or by its name."""
    chosen = wanted or default
    if chosen in names:
        return names.index(chosen)
    if chosen.isascii() and chosen.isdigit() and len(chosen) < 10 and 1 <= int(chosen) <= width:
        return int(chosen) - 1
    known = f"; the columns are {listed(names)}" if names else ""
    what = f"{option} is {wanted}" if wanted else f"{option} is missing"
    raise ValueError(
        f"{where}: {what}; expected the number of a column, 1 to {width}{', or a name' * bool(names)}{known}"
    )


def is_numbered(sentences: list[list[Row]], width: int) -> bool:
    """Whether the first of three or more columns counts the words of each sentence."""
    if width < 3:
        return False
    for rows in sentences:
        ids = [row.parts[0] for row in rows if not NO_WORD.fullmatch(row.parts[0])]
        if not all(COUNTER.fullmatch(found) for found in ids):
            return False
        if [int(found) for found in ids] != list(range(1, len(ids) + 1)):
            return False
    return True


def without_numbers_of_no_word(sentences: list[list[Row]], passed_over: Counter) -> list[list[Row]]:
    """The sentences without the rows of CoNLL-U whose number says that they are no word."""
    kept = [[row for row in rows if not NO_WORD.fullmatch(row.parts[0])] for rows in sentences]
    if count := sum(map(len, sentences)) - sum(map(len, kept)):
        passed_over["lines of CoNLL-U that are not one word (such as 3-4 or 5.1)"] += count
    return [rows for rows in kept if rows]
