"""BERT for pre-training: predict the masked tokens, and whether the second segment follows the first."""

from typing import Any, NamedTuple

import numpy as np

from minibert.base.arrays import Array, Cache, DropoutKey
from minibert.data.batch import Batch
from minibert.models.bert import BertBody, Model
from minibert.models.heads import MaskedLMHead, NextSentenceHead
from minibert.models.inputs import BodyInputs, Prepared, body_arrays, body_inputs, upload
from minibert.nn import Parameters


class PretrainingInputs(NamedTuple):
    """The inputs of BertForPreTraining.forward, as int32 arrays of the backend."""

    body: BodyInputs
    """the body's inputs, whose rows [R] are the tokens that a loss reads: masked ones and, with pairs, each [CLS]"""
    masked_rows: Any
    """[M], which of the R rows are masked"""
    first_rows: Any
    """[B], which of the R rows are [CLS]; None without pairs"""


class BertForPreTraining(Model):
    """BERT with both pre-training heads."""

    huggingface_class = "BertForPreTraining"

    def build(self, parameters: Parameters) -> None:
        config = self.config
        self.bert = BertBody(parameters, config, "bert.", self.position_init)
        self.mlm_head = MaskedLMHead(parameters, "cls.predictions", config, self.bert.embeddings.token)
        self.nsp_head = NextSentenceHead(parameters, "cls.seq_relationship", config)

    def prepare(
        self,
        tokens: Batch,
        masked_positions: np.ndarray,
        *,
        pairs: bool = False,
        targets: dict[str, np.ndarray] | None = None,
    ) -> Prepared:
        """Copy a batch to the device.

        masked_positions: [M] ascending indices of the tokens to predict; pairs: True to use the next-sentence head too;
        targets: name -> int32 array, uploaded with the rest.  Raises ValueError when an id is outside its table.
        """
        self.bert.check(tokens)
        masked = np.asarray(masked_positions)
        first = tokens.cls_positions if pairs else np.empty(0, dtype=np.int32)
        rows = np.union1d(masked, first)  # [R], the rows of the last layer that the losses read, in the batch's order
        arrays = dict(targets or {})
        arrays["masked_rows"] = np.searchsorted(rows, masked).astype(np.int32)
        if pairs:
            arrays["first_rows"] = np.searchsorted(rows, first).astype(np.int32)
        arrays, release = upload(self.backend, arrays | body_arrays(tokens, rows))
        inputs = PretrainingInputs(body_inputs(arrays), arrays["masked_rows"], arrays.get("first_rows"))
        return Prepared(inputs, {name: arrays[name] for name in targets or ()}, release)

    def forward(
        self, inputs: PretrainingInputs, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Array, Array | None, Cache]:
        """Logits of both heads, computed only where a loss reads them.

        inputs: the result of `prepare`; dropout_key: None in evaluation, (seed, step) in training; keep_cache: False if
        no backward pass follows.
        Returns mlm_logits [M, V] of the masked positions, nsp_logits [B, 2] (None for a batch without pairs), cache.
        """
        ops = self.backend
        hidden, bert_cache = self.bert.forward(inputs.body, dropout_key, keep_cache)  # [R, H]

        masked_hidden, gather_cache = ops.gather_rows_forward(hidden, inputs.masked_rows)  # [M, H]
        mlm_logits, mlm_cache = self.mlm_head.forward(masked_hidden)  # [M, V]
        nsp_logits, nsp_caches = None, None
        if inputs.first_rows is not None:
            first_hidden, first_cache = ops.gather_rows_forward(hidden, inputs.first_rows)  # [B, H]
            pooled, pool_cache = self.bert.pool(first_hidden)  # [B, H]
            nsp_logits, nsp_cache = self.nsp_head.forward(pooled)  # [B, 2]
            nsp_caches = first_cache, pool_cache, nsp_cache
        return mlm_logits, nsp_logits, (bert_cache, gather_cache, mlm_cache, nsp_caches)

    def backward(self, d_mlm_logits: Array, d_nsp_logits: Array | None, cache: Cache) -> None:
        """Add to the gradients of all parameters, given d_mlm_logits [M, V] and d_nsp_logits ([B, 2] or None)."""
        bert_cache, gather_cache, mlm_cache, nsp_caches = cache
        ops = self.backend
        d_hidden = ops.gather_rows_backward(self.mlm_head.backward(d_mlm_logits, mlm_cache), gather_cache)  # [R, H]
        if nsp_caches is not None:
            assert d_nsp_logits is not None
            first_cache, pool_cache, nsp_cache = nsp_caches
            d_pooled = self.nsp_head.backward(d_nsp_logits, nsp_cache)
            d_first = self.bert.pool_backward(d_pooled, pool_cache)
            d_hidden = ops.gather_rows_backward(d_first, first_cache, accumulate_into=d_hidden)
        self.bert.backward(d_hidden, bert_cache)
