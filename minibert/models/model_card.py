"""Model cards: the README.md of a model's folder, as the Hugging Face hub shows it.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting"; the hub reads the block of metadata at the top,
including the scores as a `model-index`.  The card asks the author for what minibert cannot know, above all the licence.
"""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.base.arguments import flag_of
from minibert.base.files import write_text
from minibert.base.markup import in_markdown

FILE = "README.md"
GENERATED = "<!-- minibert overwrites this page whenever it saves the model; delete this line to keep your changes -->"
ASK_FOR_LICENCE = "No licence has been chosen for the weights yet: set `license` above before you publish the model."
IN_NUMBERS = ("cross_entropy", "bits_per_byte", "matthews", "pearson", "spearman")  # metrics that are not fractions


@dataclasses.dataclass(frozen=True)
class Score:
    """One score of a model: the metric (such as `accuracy`), the value, and the metric's name in words."""

    metric: str
    value: float
    name: str


def write_card(folder: Path, card: str) -> None:
    """Write a model's card, unless the folder has a card without the line GENERATED.

    The author deletes that line to keep changes to the card.  Raises OSError if the card cannot be written.
    """
    path = Path(folder) / FILE
    if path.exists() and GENERATED not in path.read_text(encoding="utf-8", errors="replace"):
        return
    write_text(path, card)


def card(title: str, metadata: Mapping[str, Any], sections: Mapping[str, str]) -> str:
    """A card in Markdown: the metadata, the title as plain text, and the sections (heading -> Markdown)."""
    parts = [f"---\n{as_yaml(metadata)}---\n\n{GENERATED}\n\n# {in_markdown(title)}\n"]
    parts += [f"\n## {heading}\n\n{text}\n" for heading, text in sections.items()]
    return "".join(parts).encode("utf-8", "replace").decode()  # a file's name may not be UTF-8


def metadata_of(
    name: str,
    pipeline_tag: str,
    data: Mapping[str, Any],
    task: Mapping[str, str],
    scores: Sequence[Score],
    **others: Any,
) -> dict[str, Any]:
    """The block of metadata at the top of a card, in the form that the hub defines.

    name: the model's name; pipeline_tag: how the hub lets people try the model; data: `name` and `type` of the data
    that the scores were measured on, and `language` if known; task: the `type` and `name` of the task;
    others: further keys.
    """
    dataset = {"name": data["name"], "type": data["type"], "split": "held out"}
    metrics = [{"type": score.metric, "value": round(score.value, 4), "name": score.name} for score in scores]
    results = [{"task": dict(task), "dataset": dataset, "metrics": metrics}] if metrics else []
    language = {"language": data["language"]} if "language" in data else {}
    return {
        **language,
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": pipeline_tag,
        "tags": ["bert", "minibert"],
        **others,
        **({"model-index": [{"name": name, "results": results}]} if results else {}),
    }


def as_yaml(value: Any, indent: int = 0) -> str:
    """Mappings, lists and scalars as YAML: one line for each scalar, with strings as in JSON, which is valid YAML."""
    margin, lines = " " * indent, ""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            nested = isinstance(inner, Mapping | list)
            lines += (
                f"{margin}{key}:\n{as_yaml(inner, indent + 2)}" if nested else f"{margin}{key}: {as_scalar(inner)}\n"
            )
        return lines
    for item in value:
        text = as_yaml(item, indent + 2) if isinstance(item, Mapping | list) else f"{margin}  {as_scalar(item)}\n"
        lines += f"{margin}- {text[indent + 2 :]}"
    return lines


def as_scalar(value: Any) -> str:
    """A scalar as in JSON, but for YAML, which reads 1e-07 as a string and rejects unprintable characters."""
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return text.replace("e", ".0e") if "." not in text else text
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)


def score_table(scores: Sequence[Score]) -> str:
    """The scores as a table, with fractions in percent and other numbers with three decimals."""
    rows = "".join(f"| {in_markdown(score.name)} | {in_words(score)} |\n" for score in scores)
    return f"| | |\n|---|---|\n{rows}".rstrip("\n") if scores else "Not measured yet."


def in_words(score: Score) -> str:
    return f"{score.value:.3f}" if score.metric in IN_NUMBERS else f"{score.value:.1%}"


def command_line(
    command: str,
    config: Any,
    defaults: Any,
    positional: Sequence[str],
    left_out: Sequence[str] = (),
    always: Sequence[str] = (),
) -> str:
    """The command line that gives the options in `config`, without the options that have their default values."""
    words = ["minibert", command]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in positional:
            words += [str(item) for item in (value if isinstance(value, tuple) else (value,))]
        elif field.name in always and value is not None:
            words += [flag_of(field.name), str(value)]
        elif field.name not in (*left_out, *always) and value != getattr(defaults, field.name):
            option = flag_of(field.name)
            if isinstance(value, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            else:
                words += [option, *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return shlex.join(words)
