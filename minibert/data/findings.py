"""What was recognised in a corpus while it was read, for a command's report."""

from collections import Counter
from dataclasses import dataclass, field

DOCUMENTS = {"file": "whole files", "line": "single lines", "blank": "separated by blank lines"}
SENTENCES = {
    "marks": "end at full stops and other marks",
    "lines": "end at line ends",
    "both": "end at marks and at line ends",
}


@dataclass
class Findings:
    """The layouts and formats of a corpus's files, and what was passed over."""

    files: int = 0
    """The number of files that were read, standard input included."""
    layouts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(what a document is, what ends a sentence) -> the number of files."""
    hidden: int = 0
    """The number of hidden files in folders."""
    others: Counter[str] = field(default_factory=Counter)
    """Endings of names that are not read -> the number of files."""
    without_text: int = 0
    """The number of records without text."""

    def add(self, documents: str, sentences: str) -> None:
        """Count a file with this layout; documents may also be the name of a format, in which records are documents."""
        self.layouts[documents, sentences] += 1

    @property
    def passed_over(self) -> str:
        """The files that were passed over, in words; "" if there were none."""
        kinds = [f"{self.hidden:,} hidden"] if self.hidden else []
        kinds += [f"{count:,} with {ending}" for ending, count in self.others.most_common(5)]
        rest = sum(self.others.values()) - sum(count for _, count in self.others.most_common(5))
        kinds += [f"{rest:,} others"] if rest else []
        total = self.hidden + sum(self.others.values())
        return f"{total:,} file{'s' * (total != 1)} passed over: {', '.join(kinds)}" if total else ""

    def lines(self) -> list[str]:
        """The report: one line on what was recognised, if files were read, and one on each thing passed over."""
        several = len(self.layouts) > 1
        parts = []
        for (documents, sentences), count in self.layouts.most_common():
            number = f"{count:,} file{'s' * (count != 1)}: " if several or count > 1 else ""
            what = DOCUMENTS.get(documents, f"the records of {documents}")
            parts.append(f"{number}documents are {what}, sentences {SENTENCES[sentences]}")
        lines = ["; ".join(parts)] if parts else []
        if self.passed_over:
            lines.append(self.passed_over)
        if self.without_text:
            lines.append(f"{self.without_text:,} record{'s' * (self.without_text != 1)} without text passed over")
        return lines
