"""Generate a continuation of a text with a left-to-right model, token by token.

Sources: Radford et al. 2018 (the model); Fan et al. 2018, section 5 (top-k sampling); Holtzman et al. 2020, section 3
(top-p, or nucleus, sampling).
"""

from dataclasses import dataclass

import numpy as np

from minibert.base.numbers import require_finite, softmax
from minibert.models.gpt import GptForCausalLM
from minibert.text import Tokenizer


@dataclass(frozen=True)
class Sampling:
    """Settings for choosing the next token.  Raises ValueError for values out of range.

    temperature    the divisor of the logits: values below 1 favour likely tokens; 0 always chooses the likeliest
    top_k          sample only from this many of the likeliest tokens; None for no limit
    top_p          sample only from the smallest set of likeliest tokens whose probabilities sum to at least this
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < np.inf:
            raise ValueError(f"temperature is {self.temperature}; expected 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}; expected at least 1")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; expected above 0, at most 1")

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """The probability [V] with which each token is sampled, given the logits [V]."""
        logits = logits.astype(np.float64)
        if self.temperature == 0:
            return np.eye(1, len(logits), int(np.argmax(logits)))[0]
        order = np.argsort(-logits, kind="stable")  # the likeliest first
        shares = softmax(logits / self.temperature)
        before = np.cumsum(shares[order]) - shares[order]  # the total probability of the likelier tokens
        kept = order[: self.top_k][before[: self.top_k] < self.top_p]
        result = np.zeros_like(shares)
        result[kept] = shares[kept] / shares[kept].sum()
        return result

    def choose(self, logits: np.ndarray, random: np.random.Generator) -> int:
        """Sample the id of the next token, given the logits [V]."""
        chances = np.cumsum(self.probabilities(logits))
        return int(np.searchsorted(chances, random.random() * chances[-1], side="right"))


def generate(
    model: GptForCausalLM,
    tokenizer: Tokenizer,
    text: str,
    *,
    tokens: int = 50,
    sampling: Sampling | None = None,
    seed: int = 0,
) -> str:
    """The text followed by a generated continuation of at most `tokens` tokens; [SEP] ends it early.

    The keys and values of earlier tokens are cached, so that the model computes only the new token at each step.  The
    continuation also ends when the model has no positions left.  (A model of `minibert pretrain --model gpt` has not
    learnt to predict [SEP], since its training text is not cut at ends.)
    Raises ValueError if the model is not left-to-right, or if the text leaves no position for a new token.
    """
    if not isinstance(model, GptForCausalLM):
        raise ValueError(
            f"{type(model).__name__} reads in both directions; generating text requires a left-to-right model"
        )
    sampling, random = sampling or Sampling(), np.random.default_rng(seed)
    ids = tokenizer.encode(text).ids[:-1]  # without [SEP]
    positions = model.config.max_position_embeddings
    if len(ids) >= positions:
        raise ValueError(f"the text has {len(ids)} tokens, and the model has {positions} positions; shorten it")
    caches = model.new_caches()
    hidden = [number for number in tokenizer.special_ids if number != tokenizer.sep_id]
    begun, given = len(ids), ids
    while len(ids) < min(begun + tokens, positions):
        logits = model.backend.numpy(model.extend(np.array(given, np.int32), caches)).astype(np.float64)
        require_finite(logits, "the model's logits")
        logits[hidden] = -np.inf  # special tokens are not text,
        logits[len(tokenizer) :] = -np.inf  # nor are ids that the vocabulary lacks
        given = [sampling.choose(logits, random)]
        if given[0] == tokenizer.sep_id:
            break
        ids += given
    return tokenizer.decode(ids[1:])
