"""`minibert generate`: continue a text with a left-to-right model."""

import logging
from dataclasses import dataclass
from typing import Annotated, Literal

from minibert.base.arguments import Argument
from minibert.inference.generate import Sampling, generate
from minibert.models import GptForCausalLM
from minibert.models.hub import find_model
from minibert.ops import load_backend
from minibert.text import Tokenizer

log = logging.getLogger("minibert")


@dataclass(frozen=True)
class GenerateConfig:
    """Continue a text with a left-to-right model, one token at a time.

    For example: minibert generate runs/002 "the state of", with a model from minibert pretrain --model gpt
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a left-to-right model (from minibert pretrain --model gpt, or any BertLMHeadModel of transformers)."""
    text: Annotated[str, Argument(metavar="TEXT", positional=True)]
    """The text to continue; quote it, as it contains spaces."""
    tokens: int = 50
    """Maximum number of tokens to add."""
    temperature: float = 1.0
    """Divide the logits by this before sampling: below 1 favours likely tokens; 0 always takes the likeliest."""
    top_k: int | None = None
    """Sample only from this many of the likeliest tokens."""
    top_p: float = 1.0
    """Sample only from the likeliest tokens that together have at least this probability."""
    samples: int = 1
    """Number of continuations to print."""
    seed: int = 0
    """Seed for sampling; each further continuation uses the next seed."""
    backend: Literal["reference", "cpu", "gpu"] = "cpu"
    """Backend to compute with: cpu (Numba), reference (NumPy) or gpu (CuPy)."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU (slow; requires a C++ compiler)."""

    def __post_init__(self) -> None:
        for name in ("tokens", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}; expected at least 1")
        if self.seed < 0:
            raise ValueError(f"--seed is {self.seed}; expected 0 or more")
        self.sampling()

    def sampling(self) -> Sampling:
        try:
            return Sampling(self.temperature, self.top_k, self.top_p)
        except ValueError as error:
            raise ValueError(f"--{str(error).replace('_', '-', 1)}") from None


def generate_text(config: GenerateConfig) -> None:
    """Print the text with each of its continuations.

    Raises FileNotFoundError if the model is not found, and ValueError if it does not read from left to right, has no
    trained next-token head, or has no positions left after the text.
    """
    backend = load_backend(config.backend, emulate=config.emulate)
    folder = find_model(config.run, config.revision)
    model = GptForCausalLM.from_pretrained(folder, backend, report=log.info)
    if any(name.startswith("cls.predictions") for name in model.initialised_afresh):
        raise ValueError(f"{config.run} cannot generate text: the model was saved without its next-token head")
    tokenizer, sampling = Tokenizer.load(folder), config.sampling()
    texts = [
        generate(model, tokenizer, config.text, tokens=config.tokens, sampling=sampling, seed=config.seed + number)
        for number in range(config.samples)
    ]
    print("\n\n".join(texts))
