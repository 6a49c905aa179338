"""Labels: from what a file has to the names of classes, or to numbers."""

import json
import math
import re
from typing import Any

import numpy as np

from minibert.tasks.readers.records import SURROGATE
from minibert.tasks.registry import ENTITIES, REGRESSION, TaskInfo

NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
WHOLE = re.compile(r"([+-]?\d+)\.0*")
ENTITY = re.compile(r"[BIESLU]-.+", re.DOTALL)
NOT_FINITE = "nan", "inf", "infinity"
TYPES = {str: "a string", bool: "a boolean", int: "a number", float: "a number"}


class Labels:
    """Converts the labels of one file.

    info: the task; names: the user's or the file's names of labels that are numbers from 0, or (); usual: whether the
    labels are in the task's own column, so that its names of numbers hold.
    Labels of different types in one file are refused: if a file contained both "1" and 1, it would be unclear whether
    they are one class or two.  1 and 1.0 are one class.
    """

    def __init__(self, info: TaskInfo, names: tuple[str, ...] = (), usual: bool = True) -> None:
        self.info, self.names, self.usual = info, names, usual
        self.known: dict[tuple[type, Any], str | float] = {}  # what labels were converted to
        self.type: str | None = None  # of the first label
        self.missing: str | None = None  # where a label is "nan" or "inf", and which
        self.numeric = True  # whether all others are numbers

    def label(self, value: Any, where: str) -> str | float:
        """A class name or, for regression, a number.  Raises ValueError with the location for any other value."""
        known = self.known.get((type(value), value)) if type(value) in TYPES else None
        if known is not None:
            return known
        self.check_type(value, where)
        text = canonical(value)
        if self.info.kind == REGRESSION:
            return self.known.setdefault((type(value), value), number_from(text, where))
        if text.lower().lstrip("+-") in NOT_FINITE:
            self.missing = self.missing or f"{where}: the label is {text}"
        elif not NUMBER.fullmatch(text):
            self.numeric = False
        return self.known.setdefault((type(value), value), self.name_of(text, where))

    def name_of(self, text: str, where: str) -> str:
        if self.names:
            number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else len(self.names)
            if number >= len(self.names):
                raise ValueError(f"{where}: the label is {text!r}; expected a number from 0 to {len(self.names) - 1}")
            text = self.names[number]
        elif self.info.labels is not None:
            if text not in self.info.labels and text not in self.info.labels.values():
                raise ValueError(f"{where}: the label is {text!r}; expected {' or '.join(self.info.labels)}")
            text = self.info.labels.get(text, text)
        elif self.usual and self.info.numbers and NUMBER.fullmatch(text):
            whole = text.isascii() and text.isdigit() and len(text) < 10
            if not whole or int(text) >= len(self.info.numbers):
                most = len(self.info.numbers) - 1
                raise ValueError(f"{where}: the label is {text}; expected a name, or a number from 0 to {most}")
            text = self.info.numbers[int(text)]
        self.check_tag(text, where)
        return text

    def check_type(self, value: Any, where: str) -> None:
        """Raise ValueError for a label that is missing, not a string or a number, or of another type than the first."""
        if value is None or (isinstance(value, str) and not value.strip()):
            raise ValueError(f"{where}: the label is missing")
        if type(value) not in TYPES:
            as_text = json.dumps(value) if isinstance(value, list | dict) else str(value)
            raise ValueError(f"{where}: the label is {as_text}; expected a string or a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where}: the label is {value}; expected a string or a finite number")
        if isinstance(value, str) and SURROGATE.search(value):
            raise ValueError(
                f"{where}: the label contains half of a surrogate pair (\\ud800-\\udfff); expected whole characters"
            )
        kind = TYPES[type(value)]
        if self.type and kind != self.type:
            raise ValueError(
                f"{where}: the label {json.dumps(value)} is {kind}, but the label before it is {self.type}"
            )
        self.type = kind

    def check_tag(self, tag: str, where: str) -> None:
        """Raise ValueError for a tag without an entity type, and in tasks with entities for one that marks none.

        Other tags, such as parts of speech, are accepted in tasks that do not count entities.
        """
        if tag[:2] in ("B-", "I-") and len(tag) == 2:
            raise ValueError(f"{where}: the tag {tag!r} has no entity type; expected a tag like B-person")
        if self.info.metrics == ENTITIES and tag != "O" and not ENTITY.fullmatch(tag):
            raise ValueError(
                f"{where}: the tag {tag!r} is neither O nor like B-person; use --task tokens for tags of other kinds"
            )

    def finish(self) -> None:
        """Raise ValueError if all labels of the file are numbers, except one that is "nan" or "inf"."""
        if self.missing and self.numeric:
            raise ValueError(f"{self.missing}, not a number, among numbers; expected a label")


def canonical(value: Any) -> str:
    """A label as a text; whole numbers have no decimal point, so that 1.0 equals 1.

    >>> canonical(1.0), canonical("2.0"), canonical(0.5), canonical(" good ")
    ('1', '2', '0.5', 'good')
    """
    text = repr(value) if isinstance(value, float) else str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    match = WHOLE.fullmatch(text)
    text = match.group(1) if match else text
    return "0" if text in ("-0", "+0") else text


def number_from(text: str, where: str) -> float:
    """A number to predict.  Raises ValueError unless it is finite in 32 bits."""
    try:
        # Python takes 1_000 and digits of other scripts for numbers; other programs do not
        number = float(text.replace("_", "?") if text.isascii() else "?")
    except ValueError:
        raise ValueError(f"{where}: the label is {text!r}; expected a number, as in the other lines") from None
    if math.isnan(number):
        raise ValueError(f"{where}: the label is {text}, not a number; expected a number")
    if abs(number) > float(np.finfo(np.float32).max):
        raise ValueError(f"{where}: the label is {text}; expected a finite number of 32 bits")
    return number
