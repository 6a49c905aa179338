"""`minibert attention`: write a web page that shows a model's attention."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from minibert.base.arguments import Argument
from minibert.base.files import write_text
from minibert.commands.options import check_writable
from minibert.models import Bert
from minibert.models.hub import find_model
from minibert.pictures.attention_page import attention_page, look
from minibert.text import Tokenizer


@dataclass(frozen=True)
class AttentionConfig:
    """Write an HTML page that shows how much each token of a text attends to every other token.

    For example: minibert attention runs/001 "the state of the union is strong"
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a trained model (a minibert run or any BERT in safetensors), or the name of a published one."""
    text: Annotated[str, Argument(metavar="TEXT", positional=True)]
    """Text for the model to read, in quotes."""
    out: Annotated[Path, Argument(aliases=("-o",))] = Path("attention.html")
    """HTML file to write."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("TEXT is empty; give a sentence")


def attention(config: AttentionConfig) -> None:
    """Write the page.  Raises FileNotFoundError if the model is not found, and ValueError if the text is too long."""
    check_writable("--out", config.out)
    folder = find_model(config.run, config.revision)
    tokens, probabilities = look(Bert.from_pretrained(folder), Tokenizer.load(folder), config.text)
    write_text(config.out, attention_page(tokens, probabilities, f"Attention in {Path(config.run).name}"))
    print(f"{config.out}: {len(tokens)} tokens, {probabilities.shape[0]} layers of {probabilities.shape[1]} heads")
