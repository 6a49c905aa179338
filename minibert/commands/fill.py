"""`minibert fill`: fill in the blanks in a text with a trained model."""

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
    """Show the words that the model considers most likely for each [MASK] in a text, with their probabilities.

    For example: minibert fill runs/001 "the [MASK] of the union"
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a trained model (a minibert run or any BERT in safetensors), or the name of a published one."""
    text: Annotated[tuple[str, ...], TEXT]
    """Texts with at least one [MASK] each; quote them, as they contain spaces and brackets."""
    top: int = 5
    """Number of words to show for each blank."""
    backend: Literal["reference", "cpu", "gpu", "mine"] = "cpu"
    """Backend to compute with: cpu (Numba), reference (NumPy), gpu (CuPy) or mine (your answers in the lessons)."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU (slow; requires a C++ compiler)."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"--top is {self.top}; expected at least 1")
        if not self.text:
            raise ValueError('no TEXT was given; give one with a blank, such as "the [MASK] of the union"')


def fill(config: FillConfig) -> None:
    """Print the most likely words for each blank in each text.

    Raises FileNotFoundError if the model is not found, and ValueError if the model has no trained masked-language-model
    head, or if a text has no [MASK] or has more tokens than the model has positions.
    """
    backend = load_backend(config.backend, emulate=config.emulate)
    folder = find_model(config.run, config.revision)
    model = BertForPreTraining.from_pretrained(folder, backend, report=log.info)
    if any(name.startswith("cls.predictions") for name in model.initialised_afresh):
        raise ValueError(f"{config.run} cannot fill in blanks: the model was saved without its masked-LM head")
    tokenizer = Tokenizer.load(folder)
    answers = [fill_mask(model, tokenizer, text, config.top) for text in config.text]  # printed once all succeed
    print("\n\n".join(as_text(text, blanks) for text, blanks in zip(config.text, answers, strict=True)))


def as_text(text: str, blanks: list[list[tuple[str, float]]]) -> str:
    """The text followed by the (word, probability) pairs for each blank, one pair per line."""
    lines = [text]
    for number, words in enumerate(blanks, start=1):
        if len(blanks) > 1:
            lines.append(f"  [MASK] {number} of {len(blanks)}")
        lines += [f"  {probability:6.1%}  {word or '(not in the vocabulary)'}" for word, probability in words]
    return "\n".join(lines)
