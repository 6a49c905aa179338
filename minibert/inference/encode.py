"""Encode texts as vectors: one vector per token, or one for each whole text."""

import logging
from collections.abc import Sequence

import numpy as np

from minibert.base.numbers import require_finite
from minibert.data.batch import Batch
from minibert.inference.sentence_folder import (
    CLS,
    LAST,
    MAX,
    MEAN,
    MEAN_SQRT,
    TOKENS,
    WEIGHTED,
    Recipe,
    normalised,
    pool,
)
from minibert.models.bert import Bert
from minibert.text import Tokenizer

POOLINGS = MEAN, CLS, MAX, MEAN_SQRT, WEIGHTED, LAST, TOKENS
TOKENS_AT_A_TIME = 4096
log = logging.getLogger("minibert")


def encode(
    model: Bert,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    pooling: str | None = None,
    layer: int = -1,
    normalise: bool = False,
    max_length: int | None = None,
    recipe: Recipe | None = None,
    prompt: str = "",
) -> list[np.ndarray] | np.ndarray:
    """The vectors that represent the given texts, in the same order.

    pooling: "mean" for the mean over all tokens (Reimers and Gurevych 2019, section 3), "cls" or "last" for the vector
    of the first or the last token, "max" for the maximum of each feature, "mean-sqrt-len" for the sum divided by the
    square root of the number of tokens, "weighted-mean" for a mean with weights 1, 2, 3, …, or "tokens" for the vectors
    of all tokens; None for that of the recipe, or the mean.  layer: the layer whose output is used, -1 for the last and
    0 for the embeddings; normalise: whether to scale vectors to length 1; max_length: the number of tokens to which
    longer texts are truncated, with a warning that counts them, by default the recipe's, or the model's number of
    positions; recipe: what a folder of sentence-transformers adds; prompt: a text to put before each text.
    Returns float32 [texts, H] (another width with several poolings or a dense layer) or, for "tokens", a list of
    float32 [tokens of the text, H], including [CLS] and [SEP].
    Texts of similar length are batched together.  Raises ValueError for any other pooling, an invalid layer, and "cls"
    with a left-to-right model, whose first token has seen nothing of the text.
    """
    layers = model.config.num_hidden_layers
    chosen = (pooling,) if pooling is not None else recipe.pooling if recipe is not None else (MEAN,)
    if unknown := [name for name in chosen if name not in POOLINGS]:
        raise ValueError(f"pooling is {unknown[0]!r}; expected one of {', '.join(POOLINGS)}")
    if CLS in chosen and model.config.is_decoder:
        raise ValueError(f"the first token of a left-to-right model has seen nothing of the text; use {MEAN}")
    if not -layers - 1 <= layer <= layers:
        raise ValueError(f"layer is {layer}; expected 0 (the embeddings) to {layers}, or -1 for the last layer")
    longest = longest_of(model, tokenizer, max_length, recipe)
    ids = [np.asarray(tokenizer.encode(prompt + text, max_length=longest).ids, np.int32) for text in texts]
    full = [number for number, found in enumerate(ids) if len(found) == longest]
    if cut := sum(len(tokenizer.encode(prompt + texts[number]).ids) > longest for number in full):
        are = "text is" if len(texts) == 1 else "texts are"
        log.warning(f"{cut:,} of {len(texts):,} {are} longer than {longest} tokens, and cut off")
    skip = 0
    if prompt and recipe is not None and not recipe.include_prompt:
        skip = 1 + len(tokenizer.tokenize_ids(prompt))  # with [CLS]
    vectors = [np.empty(0)] * len(ids)  # in the order of the texts
    for numbers in alike(ids):
        batch = Batch.of_sequences([ids[number] for number in numbers])
        for number, vector in zip(numbers, pooled(model, batch, chosen, layer % (layers + 1), skip), strict=True):
            vectors[number] = require_finite(vector, "the vectors")
    if TOKENS in chosen:
        return [normalised(vector) if normalise else vector for vector in vectors]
    made = np.stack(vectors) if vectors else np.empty((0, model.config.hidden_size * len(chosen)), np.float32)
    for step in recipe.steps if recipe is not None else ():
        made = step(made)
    return normalised(made) if normalise else made


def longest_of(model: Bert, tokenizer: Tokenizer, max_length: int | None, recipe: Recipe | None) -> int:
    """The number of tokens to which texts are truncated."""
    positions = model.config.max_position_embeddings
    if max_length is None and recipe is not None:
        max_length = recipe.max_length or tokenizer.model_max_length
    return min(max_length or positions, positions)


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


def pooled(
    model: Bert, batch: Batch, pooling: Sequence[str], layer: int, skip: int = 0
) -> list[np.ndarray] | np.ndarray:
    """The vectors of the texts in a batch: float32 [B, H] or, for pooling "tokens", a list of float32 [tokens, H].

    pooling: the vectors of several poolings are concatenated; skip: how many tokens of each text take no part.
    """
    ops, last = model.backend, layer == model.config.num_hidden_layers
    alone = pooling[0] if len(pooling) == 1 and not skip else None
    if alone == CLS and last:
        hidden, _ = model.forward(batch, rows=batch.cls_positions, keep_cache=False)  # [B, H]
        return ops.numpy(hidden).astype(np.float32)
    hidden = model.forward(batch, keep_cache=False)[0] if last else model.hidden_states(batch)[layer]  # [N, H]
    if alone == MEAN:
        mean, _ = ops.mean_pool_forward(hidden, ops.array(batch.cu_seqlens))  # [B, H]
        return ops.numpy(mean).astype(np.float32)
    texts = np.split(ops.numpy(hidden).astype(np.float32), batch.cu_seqlens[1:-1])  # B arrays [tokens, H]
    if TOKENS in pooling:
        return texts
    return [np.concatenate([pool(text, mode, skip) for mode in pooling]) for text in texts]
