"""A document of a corpus."""

from dataclasses import dataclass, field

from minibert.text.sentences import SentenceEnds


@dataclass(frozen=True)
class Document:
    """A text of consecutive, related sentences, with its name, group and metadata."""

    name: str
    group: str
    """Documents of one group may share text, so they are held out together or not at all."""
    text: str
    metadata: dict = field(default_factory=dict)
    """Further information from the source: year, president, party, ... for the default corpus."""
    ends: SentenceEnds = "marks"
    """What ends a sentence of the text; see split_sentences."""
