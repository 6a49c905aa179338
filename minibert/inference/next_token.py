"""The most probable next tokens of a text, according to a left-to-right model."""

from typing import Any

import numpy as np

from minibert.base.numbers import require_finite, softmax
from minibert.text import Tokenizer


def most_probable_next(model: Any, tokenizer: Tokenizer, text: str, top: int = 5) -> list[tuple[str, float]]:
    """The `top` most probable pieces after a text, and their probabilities, the most probable first.

    model: a GptForCausalLM or an Elmo.  Raises ValueError if the text has more tokens than the model has positions.
    """
    ids = np.array(tokenizer.encode(text).ids[:-1], np.int32)  # without [SEP]
    logits = model.backend.numpy(model.next_logits(ids))  # [V]
    probabilities = softmax(require_finite(logits, "the model's logits").astype(np.float64))
    best = np.argsort(-probabilities, kind="stable")[:top]
    return [(tokenizer.token_of(int(piece)), float(probabilities[piece])) for piece in best]
