"""BERT with one additional output layer, for each kind of task on which the paper fine-tunes it (section 4, figure 4).

Everything except the output layer is pre-trained.  The output layer is one matrix; its input depends on the task:

    sentences and pairs   the pooled [CLS]                    -> a score for each class, or the number itself
    tokens                each word's first piece             -> a score for each class
    span                  every token                         -> two scores: the answer begins here, or ends here
    choice                the pooled [CLS] of each candidate  -> one score; the candidates of a question compete

A left-to-right body has no pooler.  Its [CLS] has seen nothing, so the last token, [SEP], stands for a sequence
(Radford et al. 2018, section 3.2).  With `head="bilstm"` in the configuration, a new two-layer BiLSTM reads the body's
output first, and the mean of its output stands for a sequence (the BERT paper's row "+ BiLSTM", section 5.1).

Classes and parameters are named as in `transformers`, so that each library can load the other's models; it has no
counterpart of the BiLSTM, and reads the [CLS] of a left-to-right body.
"""

from typing import Any, NamedTuple

import numpy as np

from minibert.base.arrays import Array, Cache, DropoutKey
from minibert.data.task_batch import TaskBatch
from minibert.models.bert import BertBody, Model, check_ids
from minibert.models.inputs import BodyInputs, Prepared, body_arrays, body_inputs, upload
from minibert.models.spans import check_spans, pack, pack_backward, packed_rows
from minibert.nn import Dropouts, Parameters, output_layer
from minibert.nn.config import BILSTM
from minibert.nn.lstm import LSTM_LAYERS, BiLstm
from minibert.ops.dropout import TASK_HEAD


class TaskInputs(NamedTuple):
    """The inputs of TaskModel.forward, as arrays of the backend."""

    body: BodyInputs
    """the body's inputs, whose rows are those that the output layer reads"""
    choices: int
    """number of candidates for each question in a multiple-choice task"""
    rows: Any
    """[R], the indices of the tokens that the output layer reads; None for all"""
    chosen: Any
    """the layout of these rows; None for all tokens"""
    cu_seqlens: np.ndarray
    """[B + 1] on the host, where a BiLSTM reads the lengths"""
    packed_rows: Any
    """in span tasks int32 [2 B T], the index of each score in the flat scores, 2 N for padding; otherwise None"""


class TaskModel(Model):
    """The base class of the four task models: the body, dropout, and one output layer."""

    output = "classifier"  # the name of the output layer in the file
    pooled = True  # True if the output layer reads the pooled [CLS]; False if it reads the tokens themselves
    drops = True  # True if dropout is applied before the output layer in training
    labels_each = 1  # number of rows in the loss for each label of a batch

    left_to_right = None
    distilled_pooler = True

    def build(self, parameters: Parameters) -> None:
        config = self.config
        self.bert = BertBody(parameters, config, "bert.", self.position_init, pooler=not config.is_decoder)
        self.lstm = None
        if config.head == BILSTM:
            self.lstm = BiLstm(parameters, "lstm", config.hidden_size, config.hidden_size // 2, LSTM_LAYERS)
        self.head = output_layer(parameters, self.output, config.hidden_size, self.outputs, config.output_init)

    @property
    def predicts_numbers(self) -> bool:
        """Whether the model predicts numbers, with the squared error as its loss instead of the cross-entropy."""
        return False

    @property
    def outputs(self) -> int:
        """The number of scores for each row.  Raises ValueError if the configuration names no classes."""
        if not self.config.labels:
            raise ValueError(
                f"{type(self).__name__} requires the names of the classes; pass them as from_pretrained(…, labels=[…])"
            )
        return len(self.config.labels)

    def prepare(self, batch: TaskBatch, labels: np.ndarray | None = None) -> Prepared:
        """Copy a batch and any labels to the device.  Raises ValueError when an id is outside its table."""
        self.bert.check(batch.tokens)
        rows = batch.rows
        if self.pooled and self.config.is_decoder:
            rows = (batch.tokens.cu_seqlens[1:] - 1).astype(np.int32)  # the last token has seen the whole sequence
        some = None if len(rows) == len(batch.tokens.token_ids) else rows
        packed_rows = self.packed_rows(batch)
        integers = labels is not None and labels.dtype == np.int32  # floats cannot be uploaded with the integers
        heads = {"packed_rows": packed_rows, "labels": labels if integers else None}
        given = {name: array for name, array in heads.items() if array is not None}
        arrays, release = upload(self.backend, given | body_arrays(batch.tokens, some))
        targets = {}
        if labels is not None:
            numbers = None if integers else self.backend.array(labels, dtype=self.parameters.dtype)
            targets["labels"] = arrays["labels"] if integers else numbers
        body = body_inputs(arrays)
        read = body if self.lstm is None else body._replace(rows=None, chosen=None)  # a BiLSTM reads all tokens
        inputs = TaskInputs(
            read, batch.choices, body.rows, body.chosen, batch.tokens.cu_seqlens, arrays.get("packed_rows")
        )
        return Prepared(inputs, targets, release)

    def check_labels(self, batch: TaskBatch) -> np.ndarray | None:
        """The labels as a flat array.  Raises ValueError if there is not one for each row, or one is out of range."""
        labels = batch.labels
        if labels is None:
            return None
        if len(labels) * batch.choices != len(batch.rows):
            raise ValueError(
                f"{len(labels)} labels for {len(batch.rows)} rows; expected {len(batch.rows) // batch.choices}"
            )
        if labels.dtype == np.int32:
            check_ids("label", labels, self.outputs)
        return labels

    def packed_rows(self, batch: TaskBatch) -> np.ndarray | None:
        return None

    def forward(
        self, inputs: TaskInputs, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Array, Cache]:
        """The scores of a batch.

        inputs: the result of `prepare`; dropout_key: None in evaluation, (seed, step) in training; keep_cache: False if
        no backward pass follows.
        Returns logits [R, classes] (see the classes below) and the cache.
        """
        hidden, body_cache = self.bert.forward(inputs.body, dropout_key, keep_cache)  # [R, H]
        hidden, summary_cache = self.summarise(hidden, inputs)  # [R, H]
        dropout = None
        if self.drops and dropout_key is not None:
            rate, chosen = self.config.hidden_dropout_prob, inputs.chosen or inputs.body.tokens
            dropout = Dropouts(rate, 0, dropout_key).at(self.config.num_hidden_layers, TASK_HEAD, chosen)
        if dropout is not None:
            hidden, dropout = self.backend.dropout_forward(hidden, dropout)  # [R, H]
        scores, head_cache = self.head.forward(hidden)  # [R, outputs]
        return self.shape(scores, inputs), (body_cache, summary_cache, dropout, head_cache, inputs)

    def backward(self, d_logits: Array, cache: Cache) -> None:
        """Add to the gradients of all parameters; d_logits has the shape of the logits."""
        body_cache, summary_cache, dropout, head_cache, inputs = cache
        d_hidden = self.head.backward(self.unshape(d_logits, inputs), head_cache)  # [R, H]
        if dropout is not None:
            d_hidden = self.backend.dropout_backward(d_hidden, dropout)
        self.bert.backward(self.summarise_backward(d_hidden, summary_cache), body_cache)

    def summarise(self, hidden: Array, inputs: TaskInputs) -> tuple[Array, Cache]:
        """From the body's output, hidden [R, H], or [N, H] with a BiLSTM, to what the output layer reads, [R, H]."""
        if self.lstm is None:
            return self.bert.pool(hidden) if self.pooled and not self.config.is_decoder else (hidden, None)
        rows_cache = None
        hidden, lstm_cache = self.lstm.forward(hidden, inputs.cu_seqlens)  # [N, H]
        if self.pooled:
            hidden, rows_cache = self.backend.mean_pool_forward(hidden, inputs.body.tokens.cu_seqlens)  # [B, H]
        elif inputs.rows is not None:
            hidden, rows_cache = self.backend.gather_rows_forward(hidden, inputs.rows)  # [R, H]
        return hidden, (lstm_cache, rows_cache)

    def summarise_backward(self, d_summary: Array, cache: Cache) -> Array:
        """The backward pass of `summarise`: d_summary [R, H] -> the gradient of the body's output."""
        if cache is None:
            return d_summary
        if self.lstm is None:
            return self.bert.pool_backward(d_summary, cache)
        lstm_cache, rows_cache = cache
        if rows_cache is not None:
            backward = self.backend.mean_pool_backward if self.pooled else self.backend.gather_rows_backward
            d_summary = backward(d_summary, rows_cache)
        return self.lstm.backward(d_summary, lstm_cache)

    def shape(self, scores: Array, inputs: TaskInputs) -> Array:
        """Reshape the output layer's scores [R, outputs] into the task's logits."""
        return scores

    def unshape(self, d_logits: Array, inputs: TaskInputs) -> Array:
        """Reshape the gradient of the logits like the scores: the inverse of `shape`."""
        return d_logits

    def scores_for_loss(self, logits: Array, inputs: TaskInputs) -> tuple[Array, Cache]:
        """The scores from which the loss is computed, with one row for each label, and the cache."""
        return logits, None

    def scores_for_loss_backward(self, d_scores: Array, cache: Cache) -> Array:
        """The gradient of the logits, given the gradient of the scores that `scores_for_loss` returned."""
        return d_scores


class BertForSequenceClassification(TaskModel):
    """Classifies sentences and pairs: logits [B, classes].  With only one label it predicts a number: logits [B, 1]."""

    huggingface_class = "BertForSequenceClassification"

    @property
    def predicts_numbers(self) -> bool:
        return self.outputs == 1

    def check_labels(self, batch: TaskBatch) -> np.ndarray | None:
        if batch.labels is not None and (batch.labels.dtype == np.int32) == self.predicts_numbers:
            expected = "float32, the numbers to predict" if self.predicts_numbers else "int32, the classes"
            raise ValueError(f"labels are {batch.labels.dtype}; expected {expected}")
        labels = super().check_labels(batch)
        return labels.reshape(-1, 1) if self.predicts_numbers and labels is not None else labels


class BertForTokenClassification(TaskModel):
    """Classifies words: logits [R, classes] for the R rows of a batch (the first pieces)."""

    huggingface_class = "BertForTokenClassification"

    pooled = False


class BertForMultipleChoice(TaskModel):
    """Chooses the correct candidate: logits [B / choices, choices]."""

    huggingface_class = "BertForMultipleChoice"

    outputs = 1

    def check_labels(self, batch: TaskBatch) -> np.ndarray | None:
        if batch.labels is not None:
            check_ids("label", batch.labels, batch.choices)
            if len(batch.labels) * batch.choices != len(batch.rows):
                raise ValueError(
                    f"{len(batch.labels)} labels for {len(batch.rows)} candidates; expected one per {batch.choices}"
                )
        return batch.labels

    def shape(self, scores: Array, inputs: TaskInputs) -> Array:
        return scores.reshape(-1, inputs.choices)  # [B, 1] -> [B / choices, choices]

    def unshape(self, d_logits: Array, inputs: TaskInputs) -> Array:
        return d_logits.reshape(-1, 1)


class BertForQuestionAnswering(TaskModel):
    """Finds where an answer begins and ends: logits [N, 2] score each token as the first and as the last one.

    The loss is the mean of two cross-entropies, each over the tokens of a sequence (paper, section 4.2).
    """

    huggingface_class = "BertForQuestionAnswering"

    output = "qa_outputs"
    pooled = drops = False
    outputs = labels_each = 2

    def check_labels(self, batch: TaskBatch) -> np.ndarray | None:
        return check_spans(batch)

    def packed_rows(self, batch: TaskBatch) -> np.ndarray:
        return packed_rows(batch)

    def scores_for_loss(self, logits: Array, inputs: TaskInputs) -> tuple[Array, Cache]:
        return pack(self.backend, logits, inputs.packed_rows, len(inputs.cu_seqlens) - 1)  # [2 B, T]

    def scores_for_loss_backward(self, d_scores: Array, cache: Cache) -> Array:
        return pack_backward(self.backend, d_scores, cache)  # [N, 2]
