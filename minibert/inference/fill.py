"""Fill in the blanks in a text with a pre-trained model."""

import numpy as np

from minibert.base.numbers import require_finite, softmax
from minibert.data.batch import from_padded
from minibert.models.pretraining import BertForPreTraining
from minibert.text import Tokenizer


def fill_mask(
    model: BertForPreTraining, tokenizer: Tokenizer, text: str, top: int = 5
) -> list[list[tuple[str, float]]]:
    """The most probable pieces for each [MASK] in a text.

    model: a BertForPreTraining; tokenizer: its Tokenizer; top: how many pieces to return for each blank.
    Returns, for each blank in text order, `top` pairs (piece, probability), the most probable first; the piece is ""
    for an id that the model has and the vocabulary lacks, as in `transformers`.
    Raises ValueError if the text has no [MASK] or has more tokens than the model has positions; FloatingPointError if
    logits are NaN or infinite.
    """
    encoding = tokenizer.encode(text)
    ids = np.array([encoding.ids])  # [1, N]
    blanks = ids == tokenizer.mask_id
    if not blanks.any():
        raise ValueError(
            f'no [MASK] in {text!r}; put one where a word is to be filled in, as in "the [MASK] of the union"'
        )
    longest = model.config.max_position_embeddings
    if ids.size > longest:
        raise ValueError(f"the text has {ids.size} tokens, but the model reads at most {longest}; shorten it")
    tokens = from_padded(ids, token_type_ids=np.array([encoding.segment_ids]))
    inputs = model.prepare(tokens, np.flatnonzero(blanks)).inputs
    logits = model.backend.numpy(model.forward(inputs, keep_cache=False)[0])  # [M, V]
    probabilities = softmax(require_finite(logits, "the model's logits"))  # [M, V]
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]  # [M, top]
    return [
        [(tokenizer.token_of(int(piece)), float(row[piece])) for piece in pieces]
        for row, pieces in zip(probabilities, best, strict=True)
    ]
