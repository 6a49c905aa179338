"""`minibert fill`: fill the blanks of a text with a trained model."""

import logging
from dataclasses import dataclass
from typing import Annotated, Literal

from minibert.base.arguments import Argument
from minibert.inference import fill_mask
from minibert.models import BertForPreTraining
from minibert.models.hub import find_model
from minibert.ops import load_backend
from minibert.text import Tokenizer

log = logging.getLogger("minibert")
TEXT = Argument(metavar="TEXT ...", default="(at least one required)", positional=True)


@dataclass(frozen=True)
class FillConfig:
    """Fill each [MASK] of a text with the words that the model thinks likeliest, and say how likely.

    For example: minibert fill runs/001 "the [MASK] of the union"
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a trained model: a run of minibert, or any BERT in safetensors; or the name of a published one."""
    text: Annotated[tuple[str, ...], TEXT]
    """Texts, each with at least one [MASK]; quote them, since they hold spaces and brackets."""
    top: int = 5
    """How many words to show for each blank."""
    backend: Literal["reference", "cpu", "gpu"] = "cpu"
    """Compute with cpu (Numba), reference (NumPy) or gpu (CuPy)."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    emulate: bool = False
    """Run the kernels of the gpu backend on the CPU (slow; needs a C++ compiler)."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top is {self.top}; expected at least 1")
        if not self.text:
            raise ValueError('no TEXT was given; write one with a blank, such as "the [MASK] of the union"')


def fill(config: FillConfig) -> None:
    """Print the likeliest words for each blank of each text.

    Raises FileNotFoundError if there is no model, ValueError for a model without a trained head for masked
    tokens, a text without [MASK] or longer than the model's positions.
    """
    backend = load_backend(config.backend, emulate=config.emulate)
    folder = find_model(config.run, config.revision)
    model = BertForPreTraining.from_pretrained(folder, backend, report=log.info)
    if any(name.startswith("cls.predictions") for name in model.initialised_afresh):
        raise ValueError(f"{config.run} cannot fill blanks: it was saved without its masked-LM head")
    tokenizer = Tokenizer.load(folder)
    answers = [fill_mask(model, tokenizer, text, config.top) for text in config.text]  # an error prints none
    print("\n\n".join(as_text(text, blanks) for text, blanks in zip(config.text, answers, strict=True)))


def as_text(text: str, blanks: list[list[tuple[str, float]]]) -> str:
    """A text and, for each of its blanks, the (word, probability) pairs in lines of their own."""
    lines = [text]
    for number, words in enumerate(blanks, start=1):
        if len(blanks) > 1:
            lines.append(f"  [MASK] {number} of {len(blanks)}")
        lines += [f"  {probability:6.1%}  {word}" for word, probability in words]
    return "\n".join(lines)
