"""BERT as it is pre-trained: fill the masked tokens, and tell whether the second segment follows the first."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minibert.models.bert import BertBody, Model, check_ids
from minibert.models.config import ACTIVATIONS
from minibert.models.heads import MaskedLMHead, NextSentenceHead
from minibert.models.inputs import BodyInputs, body_arrays, body_inputs
from minibert.nn import Parameters


class PretrainingInputs(NamedTuple):
    """A batch on the device: what BertForPreTraining.prepare makes of it.  Arrays of the backend, int32."""

    body: BodyInputs
    """its rows [R] are the tokens that a loss reads: masked ones and, with pairs, each sequence's [CLS]"""
    masked_rows: Any
    """[M], which of those R rows are masked"""
    masked_labels: Any
    """[M], the original ids of the masked tokens"""
    first_rows: Any
    """[B], which of the R rows are [CLS]; None without pairs"""
    nsp_labels: Any
    """[B], 0: B follows A, 1: B is random; None without pairs"""
    mlm_count: int
    """masked tokens of the global batch"""
    nsp_count: int
    """pairs of the global batch"""
    release: Callable[[], None]
    """to be called after the backward pass: the memory of these arrays then serves another batch"""


class Losses(NamedTuple):
    """What one batch, or its part of the global batch, contributes.  Arrays of the backend, 0-d.

    total           mlm + nsp, what training minimises
    mlm, nsp        cross-entropies in nats, each divided by its count in the global batch; nsp 0 without pairs
    mlm_correct     masked tokens whose most probable piece is the right one
    nsp_correct     pairs told right
    """

    total: Any
    mlm: Any
    nsp: Any
    mlm_correct: Any
    nsp_correct: Any


class BertForPreTraining(Model):
    """BERT with both heads; parameters are named as in `transformers.BertForPreTraining`."""

    def build(self, parameters: Parameters) -> None:
        config = self.config
        self.bert = BertBody(parameters, config, "bert.", self.position_start)
        self.mlm_head = MaskedLMHead(
            parameters,
            "cls.predictions",
            self.bert.embeddings.token,
            width=config.hidden_size,
            activation=ACTIVATIONS[config.hidden_act],
            eps=config.layer_norm_eps,
            std=config.initializer_range,
        )
        self.nsp_head = NextSentenceHead(
            parameters, "cls.seq_relationship", width=config.hidden_size, std=config.initializer_range
        )

    def prepare(self, batch) -> PretrainingInputs:
        """A minibert.data.Batch on the device.  Raises ValueError when an id or a label is outside its table."""
        self.bert.check(batch)
        check_ids("masked label", batch.masked_labels, self.config.vocab_size)
        masked, pairs = np.asarray(batch.masked_positions), batch.nsp_labels is not None
        if pairs:
            check_ids("next-sentence label", batch.nsp_labels, 2)
        first = batch.cu_seqlens[:-1] if pairs else np.empty(0, dtype=np.int32)
        rows = np.union1d(masked, first)  # [R], what the losses read of the last layer, in the batch's order
        heads = [np.searchsorted(rows, masked).astype(np.int32), batch.masked_labels]
        if pairs:
            heads += [np.searchsorted(rows, first).astype(np.int32), batch.nsp_labels]
        upload = self.backend.upload(heads + body_arrays(batch, rows))
        heads, body = upload.arrays[: len(heads)], upload.arrays[len(heads) :]
        heads += [] if pairs else [None, None]
        counts = max(batch.mlm_count, 1), max(batch.nsp_count, 1)
        return PretrainingInputs(body_inputs(body), *heads, *counts, upload.release)

    def forward(self, batch, dropout_key=None, keep_cache=True):
        """Logits of both heads, computed only where a loss reads them.

        batch: a minibert.data.Batch, or what `prepare` made of it; dropout_key: None in evaluation, (seed, step) in
        training; keep_cache: False where no backward pass follows.
        Returns mlm_logits [M, V] of the masked positions, nsp_logits [B, 2] (None for a batch without pairs), cache.
        Raises ValueError when an id or a label is outside its table.
        """
        ops = self.backend
        inputs = batch if isinstance(batch, PretrainingInputs) else self.prepare(batch)
        hidden, bert_cache = self.bert.forward(inputs.body, None, dropout_key, keep_cache)  # [R, H]

        masked_hidden, gather_cache = ops.gather_rows_forward(hidden, inputs.masked_rows)  # [M, H]
        mlm_logits, mlm_cache = self.mlm_head.forward(masked_hidden)  # [M, V]
        nsp_logits, nsp_caches = None, None
        if inputs.first_rows is not None:
            first_hidden, first_cache = ops.gather_rows_forward(hidden, inputs.first_rows)  # [B, H]
            pooled, pool_cache = self.bert.pool(first_hidden)  # [B, H]
            nsp_logits, nsp_cache = self.nsp_head.forward(pooled)  # [B, 2]
            nsp_caches = first_cache, pool_cache, nsp_cache
        return mlm_logits, nsp_logits, (bert_cache, gather_cache, mlm_cache, nsp_caches)

    def backward(self, d_mlm_logits, d_nsp_logits, cache) -> None:
        """d_mlm_logits [M, V], d_nsp_logits [B, 2] or None; adds to the gradients of all parameters."""
        bert_cache, gather_cache, mlm_cache, nsp_caches = cache
        ops = self.backend
        d_hidden = ops.gather_rows_backward(self.mlm_head.backward(d_mlm_logits, mlm_cache), gather_cache)  # [R, H]
        if nsp_caches is not None:
            first_cache, pool_cache, nsp_cache = nsp_caches
            d_pooled = self.nsp_head.backward(d_nsp_logits, nsp_cache)
            d_first = self.bert.pool_backward(d_pooled, pool_cache)
            d_hidden = ops.gather_rows_backward(d_first, first_cache, d_hidden)
        self.bert.backward(d_hidden, bert_cache)

    def losses(self, batch, dropout_key=None, keep_cache=True):
        """Both losses of a batch (paper, appendix A.2: the sum of the two means).  Returns Losses and the cache.

        Arguments as of `forward`.  Raises ValueError when an id or a label is outside its table.
        """
        ops = self.backend
        inputs = batch if isinstance(batch, PretrainingInputs) else self.prepare(batch)
        mlm_logits, nsp_logits, cache = self.forward(inputs, dropout_key, keep_cache)
        mlm, mlm_cache = ops.cross_entropy_forward(mlm_logits, inputs.masked_labels, inputs.mlm_count)
        mlm_correct = ops.count_correct(mlm_logits, inputs.masked_labels)
        nsp = nsp_correct = ops.xp.zeros((), dtype=mlm.dtype)
        nsp_cache = None
        if nsp_logits is not None:
            nsp, nsp_cache = ops.cross_entropy_forward(nsp_logits, inputs.nsp_labels, inputs.nsp_count)
            nsp_correct = ops.count_correct(nsp_logits, inputs.nsp_labels)
        return Losses(mlm + nsp, mlm, nsp, mlm_correct, nsp_correct), (mlm_cache, nsp_cache, cache)

    def losses_backward(self, cache, scale=1.0) -> None:
        """Add the gradients of `scale * losses.total` to those of all parameters.  scale: a float, or 0-d array."""
        mlm_cache, nsp_cache, cache = cache
        d_mlm_logits = self.backend.cross_entropy_backward(scale, mlm_cache)
        d_nsp_logits = None if nsp_cache is None else self.backend.cross_entropy_backward(scale, nsp_cache)
        self.backward(d_mlm_logits, d_nsp_logits, cache)
