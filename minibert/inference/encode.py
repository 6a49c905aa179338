"""Encode texts as vectors: one vector per token, or one for each whole text."""

from collections.abc import Sequence

import numpy as np

from minibert.data.batch import Batch
from minibert.models.bert import Bert
from minibert.text import Tokenizer

MEAN, CLS, TOKENS = "mean", "cls", "tokens"
TOKENS_AT_A_TIME = 4096


def encode(
    model: Bert,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    pooling: str = MEAN,
    layer: int = -1,
    normalise: bool = False,
    max_length: int | None = None,
) -> list[np.ndarray] | np.ndarray:
    """The vectors that represent the given texts, in the same order.

    pooling: "mean" for the mean over all tokens (Reimers and Gurevych 2019, section 3), "cls" for the first token's
    vector, or "tokens" for the vectors of all tokens; layer: the layer whose output is used, -1 for the last and 0 for
    the embeddings; normalise: whether to scale vectors to length 1; max_length: the number of tokens to which longer
    texts are truncated, by default the model's number of positions.
    Returns float32 [texts, H] or, for "tokens", a list of float32 [tokens of the text, H], including [CLS] and [SEP].
    Texts of similar length are batched together.  Raises ValueError for any other pooling, an invalid layer, and "cls"
    with a left-to-right model, whose first token has seen nothing of the text.
    """
    layers = model.config.num_hidden_layers
    if pooling not in (MEAN, CLS, TOKENS):
        raise ValueError(f"pooling is {pooling!r}; expected {MEAN}, {CLS} or {TOKENS}")
    if pooling == CLS and model.config.is_decoder:
        raise ValueError(f"the first token of a left-to-right model has seen nothing of the text; use {MEAN}")
    if not -layers - 1 <= layer <= layers:
        raise ValueError(f"layer is {layer}; expected 0 (the embeddings) to {layers}, or -1 for the last layer")
    longest = min(max_length or model.config.max_position_embeddings, model.config.max_position_embeddings)
    ids = [np.asarray(tokenizer.encode(text, max_length=longest).ids, np.int32) for text in texts]
    vectors = [np.empty(0)] * len(ids)  # in the order of the texts
    for numbers in alike(ids):
        batch = Batch.of_sequences([ids[number] for number in numbers])
        for number, vector in zip(numbers, pooled(model, batch, pooling, layer % (layers + 1)), strict=True):
            vectors[number] = normalised(vector) if normalise else vector
    if pooling == TOKENS:
        return vectors
    return np.stack(vectors) if vectors else np.empty((0, model.config.hidden_size), np.float32)


def alike(ids: Sequence[np.ndarray]) -> list[list[int]]:
    """Groups of the indices of texts of similar length, longest texts first; each group forms a batch."""
    groups, budget = [], 0
    for number in sorted(range(len(ids)), key=lambda number: -len(ids[number])):
        if len(ids[number]) > budget:
            groups.append([])
            budget = TOKENS_AT_A_TIME
        groups[-1].append(number)
        budget -= len(ids[number])
    return groups


def pooled(model: Bert, batch: Batch, pooling: str, layer: int) -> list[np.ndarray] | np.ndarray:
    """The vectors of the texts in a batch: float32 [B, H] or, for pooling "tokens", a list of float32 [tokens, H]."""
    ops, last = model.backend, layer == model.config.num_hidden_layers
    if pooling == CLS and last:
        hidden, _ = model.forward(batch, rows=batch.cls_positions, keep_cache=False)  # [B, H]
        return ops.numpy(hidden).astype(np.float32)
    hidden = model.forward(batch, keep_cache=False)[0] if last else model.hidden_states(batch)[layer]  # [N, H]
    if pooling == MEAN:
        mean, _ = ops.mean_pool_forward(hidden, ops.array(batch.cu_seqlens))  # [B, H]
        return ops.numpy(mean).astype(np.float32)
    hidden = ops.numpy(hidden).astype(np.float32)
    return hidden[batch.cls_positions] if pooling == CLS else np.split(hidden, batch.cu_seqlens[1:-1])


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors [..., H] to length 1, keeping their directions."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
