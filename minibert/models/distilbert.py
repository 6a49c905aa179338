"""DistilBERT: a BERT with half of the layers, without segment embeddings and pooler, which learns from a teacher.

Source: Sanh et al. 2019, "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter", section 3.
The loss is in minibert.objectives.distillation.  Dropout is BERT's: unlike the code of `transformers`, it is also
applied to the output of attention.
"""

import re
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minibert.base.arrays import Array, Cache, DropoutKey
from minibert.data.batch import Batch
from minibert.models.bert import BertBody, Model
from minibert.models.heads import MaskedLMHead
from minibert.models.inputs import BodyInputs, Prepared, body_arrays, body_inputs, upload
from minibert.models.pretraining import BertForPreTraining
from minibert.nn import BertConfig, Parameters

LAYER_NORM_EPS = 1e-12  # in every DistilBERT; its configuration has no such field
LAYER = re.compile(r"\.layer\.(\d+)\.")  # in a parameter's name
SHARED_FIELDS = (  # what a student has in common with its teacher, since it starts with the teacher's weights
    "vocab_size",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
)


class DistilBertInputs(NamedTuple):
    """The inputs of DistilBertForMaskedLM.forward, as int32 arrays of the backend."""

    body: BodyInputs
    """the body's inputs, whose rows [R] are the tokens whose last hidden states are read"""
    predicted: Any
    """[M], which of the R rows are predicted; None if all of them are"""
    hidden: bool
    """whether `forward` returns the last hidden states"""


class DistilBertForMaskedLM(Model):
    """DistilBERT with the masked-token head."""

    huggingface_class = "DistilBertForMaskedLM"
    model_type = "distilbert"

    def build(self, parameters: Parameters) -> None:
        """Register the parameters.  Raises ValueError for a layer norm that DistilBERT does not have."""
        config = self.config
        if config.layer_norm_eps != LAYER_NORM_EPS:
            raise ValueError(f"layer_norm_eps is {config.layer_norm_eps}; expected {LAYER_NORM_EPS}, as in DistilBERT")
        self.bert = BertBody(parameters, config, "bert.", self.position_init, pooler=False, segments=False)
        self.mlm_head = MaskedLMHead(parameters, "cls.predictions", config, self.bert.embeddings.token)

    def prepare(
        self,
        tokens: Batch,
        masked_positions: np.ndarray,
        *,
        pairs: bool = False,
        hidden: bool = False,
        targets: dict[str, np.ndarray] | None = None,
    ) -> Prepared:
        """Copy a batch to the device.

        masked_positions: [M] ascending indices of the tokens to predict, which need not be masked; pairs: as in
        BertForPreTraining, but only False, since there is no next-sentence head; hidden: True to let `forward` also
        return the last hidden states of all tokens; targets: name -> int32 array, uploaded with the rest.
        Raises ValueError for pairs, and when an id is outside its table.
        """
        if pairs:
            raise ValueError("the batch has sentence pairs, but DistilBERT has no next-sentence head; use single texts")
        self.bert.check(tokens)
        predicted, arrays = np.asarray(masked_positions, dtype=np.int32), dict(targets or {})
        everything = len(predicted) == len(tokens.token_ids)
        if hidden and not everything:
            arrays["predicted"] = predicted
        arrays |= body_arrays(tokens, None if hidden or everything else predicted)
        arrays, release = upload(self.backend, arrays)
        inputs = DistilBertInputs(body_inputs(arrays), arrays.get("predicted"), hidden)
        return Prepared(inputs, {name: arrays[name] for name in targets or ()}, release)

    def forward(
        self, inputs: DistilBertInputs, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Array, Array | None, Cache]:
        """Logits of the tokens to predict and, if asked for, the hidden states of all tokens.

        inputs: the result of `prepare`; dropout_key: None in evaluation, (seed, step) in training; keep_cache: False if
        no backward pass follows.
        Returns mlm_logits [M, V]; hidden [N, H], or None where BertForPreTraining has no next-sentence logits; cache.
        """
        hidden, bert_cache = self.bert.forward(inputs.body, dropout_key, keep_cache)  # [R, H]
        predicted, gather_cache = hidden, None
        if inputs.predicted is not None:
            predicted, gather_cache = self.backend.gather_rows_forward(hidden, inputs.predicted)  # [M, H]
        mlm_logits, mlm_cache = self.mlm_head.forward(predicted)  # [M, V]
        return mlm_logits, hidden if inputs.hidden else None, (bert_cache, gather_cache, mlm_cache)

    def backward(self, d_mlm_logits: Array | None, d_hidden: Array | None, cache: Cache) -> None:
        """Add to the gradients of all parameters.

        d_mlm_logits [M, V]; d_hidden [N, H], to which the gradient that comes from the logits is added in place; either
        may be None, if no loss reads the logits or the hidden states.
        """
        bert_cache, gather_cache, mlm_cache = cache
        if d_mlm_logits is not None:
            d_predicted = self.mlm_head.backward(d_mlm_logits, mlm_cache)  # [M, H]
            # hidden reaches the losses by both paths
            if gather_cache is not None:
                d_hidden = self.backend.gather_rows_backward(d_predicted, gather_cache, accumulate_into=d_hidden)
            else:
                d_hidden = d_predicted if d_hidden is None else d_hidden + d_predicted  # [R, H]
        assert d_hidden is not None, "no loss reads the model's output"
        self.bert.backward(d_hidden, bert_cache)


def student_config(teacher: BertConfig, **changes: Any) -> BertConfig:
    """The configuration of a student with half of the teacher's layers; changes: fields to override.

    Raises ValueError if the teacher has fewer than 2 layers.
    """
    half = check_depth(teacher.num_hidden_layers) // 2
    fields = {"num_hidden_layers": half, "layer_norm_eps": LAYER_NORM_EPS, "labels": (), **changes}
    return replace(teacher, **fields)


def layers_to_copy(of_student: int, of_teacher: int) -> list[int]:
    """The teacher's layers that a student starts from: evenly spaced, with the first and the last.

    For half of the layers, that is every other one: even numbers in the lower half, odd ones in the upper half.  The
    last is among them, since the head and the cosine loss read its output; a single layer is the first.  For 6 of 12
    it is the list of the release (extract_distilbert.py of `transformers`' research project "distillation").

    >>> layers_to_copy(6, 12)
    [0, 2, 4, 7, 9, 11]
    """
    return [round(layer * (of_teacher - 1) / max(of_student - 1, 1)) for layer in range(of_student)]


def initialise_from_teacher(
    student: DistilBertForMaskedLM,
    teacher: "BertForPreTraining | DistilBertForMaskedLM",
    *,
    add_segment: bool = False,
) -> None:
    """Copy the teacher's embeddings, some of its layers (see `layers_to_copy`) and its MLM head into the student.

    add_segment: True to add the embedding of segment 0 to each position embedding.  The paper leaves segments out,
    so that the student's inputs differ from the teacher's by a constant vector before the layer norm; with it, they
    are those of the teacher, as long as every text is a single one.
    Raises ValueError if the teacher has fewer than 2 layers or than the student, or another vocabulary or width.
    Source: DistilBERT, section 3, "Student initialization".
    """
    ours, theirs = student.config, teacher.config
    check_depth(theirs.num_hidden_layers)
    if ours.num_hidden_layers > theirs.num_hidden_layers:
        raise ValueError(
            f"the student has {ours.num_hidden_layers} layers, but the teacher only {theirs.num_hidden_layers}"
        )
    for name in SHARED_FIELDS:
        if getattr(ours, name) != getattr(theirs, name):
            raise ValueError(
                f"the student's {name} is {getattr(ours, name)}, but the teacher's is {getattr(theirs, name)}; "
                "expected the same, since the student starts with the teacher's weights"
            )
    weights = teacher.parameters.tensors(teacher.parameters.masters)
    sources = layers_to_copy(ours.num_hidden_layers, theirs.num_hidden_layers)
    copied = {}
    for name in student.parameters.all:
        source = LAYER.sub(lambda match: f".layer.{sources[int(match[1])]}.", name)
        copied[name] = weights[source]
    segments = weights.get("bert.embeddings.token_type_embeddings.weight")
    if add_segment and segments is not None:
        position = "bert.embeddings.position_embeddings.weight"
        copied[position] = copied[position] + segments[0]
    student.parameters.assign(copied)


def check_depth(layers: int) -> int:
    """The number of a teacher's layers.  Raises ValueError if there are fewer than 2."""
    if layers < 2:
        raise ValueError(f"the teacher has {layers} layer; expected at least 2, of which the student has half")
    return layers
