"""Gradient-check cases for every layer, the encoder and the complete losses of whole models."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minibert.base.arrays import Array, DropoutKey
from minibert.checks.cases import cases
from minibert.checks.gradients import Case
from minibert.data.batch import Batch, running_sum
from minibert.data.masked_batch import MaskedBatch
from minibert.data.next_token import NextTokenBatch
from minibert.models import BertConfig, BertForPreTraining, DistilBertForMaskedLM, Elmo, ElmoConfig, GptForCausalLM
from minibert.nn import Dropouts, Sequences
from minibert.objectives import (
    BothDirections,
    Distillation,
    DistillationBatch,
    MaskedLmAndNextSentence,
    NextToken,
    losses_of,
)
from minibert.objectives.objective import Objective
from minibert.ops.backend import Backend
from minibert.ops.dropout import EMBEDDINGS
from minibert.ops.examples import KEY, normal

LENGTHS, NUMBERS = (1, 7, 2), (4, 5, 6)  # the lengths and the sequence numbers of the three sequences in all cases
TOKENS = sum(LENGTHS)
ROWS = np.array([0, 2, 7, 8])  # indices of the tokens whose outputs are computed, in cases where only some are computed


def model_case(
    name: str,
    shape: str,
    model: Any,
    run: Callable,
    run_backward: Callable,
    own: str | tuple[str, ...] = "",
    **arrays: Any,
) -> Case:
    """A case whose inputs are a model's parameters, together with the input arrays of one of its layers.

    run(**arrays) returns (tuple of outputs, cache), and run_backward(tuple of upstream gradients, cache) returns
    {name of an array: its gradient}; both use the model's current parameters.
    own: the name prefix, or prefixes, of the parameters to check; by default, all parameters are checked.
    """
    backend, parameters = model.backend, model.parameters
    checked = [parameter for parameter in parameters.all.values() if parameter.name.startswith(own)]
    inputs = {parameter.name: backend.numpy(parameter.value).copy() for parameter in checked}
    moved = set(inputs)  # the parameters whose values in the model may be others than in `inputs`

    def forward(values):
        for parameter in checked:
            name, is_moved = parameter.name, values[parameter.name] is not inputs[parameter.name]
            if is_moved or name in moved:
                parameter.value[...] = backend.array(values[name])
                (moved.add if is_moved else moved.discard)(name)
        outputs, cache = run(**{name: backend.array(values[name]) for name in arrays})
        return tuple(backend.numpy(y) for y in outputs), cache

    def backward(upstream, cache):
        parameters.zero_gradients()
        others = run_backward(tuple(backend.array(u) for u in upstream), cache)
        gradients = {parameter.name: backend.numpy(parameter.gradient).copy() for parameter in checked}
        return gradients | {name: backend.numpy(gradient) for name, gradient in others.items()}

    return Case(name, shape, {**inputs, **arrays}, forward, backward)


def layer_case(
    name: str,
    shape: str,
    model: BertForPreTraining,
    forward: Callable,
    backward: Callable,
    own: str | tuple[str, ...],
    x: Array,
) -> Case:
    """The case of a layer with one input x and one output y.

    forward(x) returns (y, cache), and backward(d_y, cache) returns d_x; own: as in `model_case`.
    """

    def run(x):
        y, cache = forward(x)
        return (y,), cache

    def run_backward(upstream, cache):
        return {"x": backward(upstream[0], cache)}

    return model_case(name, shape, model, run, run_backward, own, x=x)


def loss_case(name: str, shape: str, objective: Objective, batch: Any, key: DropoutKey | None) -> Case:
    """The case of a whole model and its loss, covering all parameters; key: the dropout key, or None for no dropout."""

    def run():
        losses, cache = losses_of(objective, batch, key)
        return (losses.total,), cache

    def run_backward(upstream, cache):
        objective.losses_backward(cache, float(upstream[0]))
        return {}

    return model_case(name, shape, objective.model, run, run_backward)


def small_model(
    backend: Backend, random: np.random.Generator, dropout: float = 0.0, **changes: Any
) -> BertForPreTraining:
    """A BERT of about a thousand parameters, perturbed so that none of them is exactly zero or one."""
    config = BertConfig(
        vocab_size=11,
        hidden_size=6,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=9,
        max_position_embeddings=8,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **changes,
    )
    model = BertForPreTraining(config, backend, dtype="float64")
    model.parameters.values[...] += backend.array(0.3 * normal(random, model.parameters.values.size))
    return model


def small_gpt(backend: Backend, random: np.random.Generator, dropout: float = 0.0) -> GptForCausalLM:
    """A left-to-right model of the same shape as the model from small_model."""
    config = replace(small_model(backend, random, dropout).config, is_decoder=True)
    model = GptForCausalLM(config, backend, dtype="float64")
    model.parameters.values[...] += backend.array(0.3 * normal(random, model.parameters.values.size))
    return model


def small_student(
    backend: Backend, random: np.random.Generator, dropout: float = 0.0
) -> tuple[DistilBertForMaskedLM, BertForPreTraining]:
    """A student of 250 parameters, and its teacher; dropout: the rate of both, which a teacher must ignore."""
    config = BertConfig(
        vocab_size=11,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=3,
        max_position_embeddings=8,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    student = DistilBertForMaskedLM(config, backend, dtype="float64")
    teacher = BertForPreTraining(config, backend, dtype="float64")
    for model in (student, teacher):
        model.parameters.values[...] += backend.array(0.3 * normal(random, model.parameters.values.size))
    return student, teacher


def small_batch(random: np.random.Generator) -> Batch:
    """A batch of three sequences, of 1, 7 and 2 tokens, with random ids."""
    return Batch(
        token_ids=random.integers(0, 11, TOKENS).astype(np.int32),
        segment_ids=random.integers(0, 2, TOKENS).astype(np.int32),
        position_ids=np.concatenate([np.arange(length) for length in LENGTHS]).astype(np.int32),
        cu_seqlens=running_sum(LENGTHS),
        sequence_numbers=np.array(NUMBERS),
    )


def small_masked_batch(random: np.random.Generator, pairs: bool, masked: Sequence[int]) -> MaskedBatch:
    """A small_batch with the tokens at the indices `masked` masked and, if `pairs`, NSP labels of both classes."""
    return MaskedBatch(
        small_batch(random),
        masked_positions=np.array(masked, np.int32),
        masked_labels=random.integers(0, 11, len(masked)).astype(np.int32),
        nsp_labels=np.array([0, 1, 1], np.int32) if pairs else None,
        mlm_count=6,
        nsp_count=5 if pairs else 0,
    )


def layouts(backend: Backend) -> tuple[Sequences, Sequences]:
    """The Sequences of all tokens, and the Sequences of the tokens in ROWS only."""
    cu_seqlens = running_sum(LENGTHS)
    return Sequences.of_batch(backend, cu_seqlens, NUMBERS), Sequences.of_rows(backend, ROWS, cu_seqlens, NUMBERS)


def dropouts_of(rate: float) -> Dropouts:
    return Dropouts(rate, rate, KEY)


@cases("embeddings")
def embeddings(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of the embedding layer, with ids that are looked up many times, once and never."""
    tokens, _ = layouts(backend)
    token_ids = backend.array(np.array([3, 7, 3, 0, 10, 3, 7, 7, 1, 3], np.int32))
    segment_ids = backend.array(np.array([0, 0, 0, 0, 1, 1, 1, 0, 0, 1], np.int32))
    for label, rate in (("ids repeated", 0), ("ids repeated, dropout", 0.3)):
        model = small_model(backend, random)
        dropout = dropouts_of(rate).at(2, EMBEDDINGS, tokens)

        def run(layer=model.bert.embeddings, dropout=dropout):
            y, cache = layer.forward(token_ids, tokens.positions, segment_ids, dropout)
            return (y,), cache

        def run_backward(upstream, cache, layer=model.bert.embeddings):
            layer.backward(upstream[0], cache)
            return {}

        yield model_case("embeddings", label, model, run, run_backward, "bert.embeddings")


@cases("self_attention")
def self_attention(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of self-attention, with queries from all tokens or from only a few.

    If all tokens are queries, x is also the input of the queries, and its gradient is the sum of two gradients.
    Otherwise, the queries have a separate input, x_q.
    """
    tokens, few = layouts(backend)
    own = "bert.encoder.layer.1.attention"
    for label, queries, causal, rate in (
        ("all rows", tokens, False, 0),
        ("all rows, causal, dropout", tokens, True, 0.3),
        ("few rows ask, dropout", few, False, 0.3),
    ):
        model = small_model(backend, random)
        x = dict(x=normal(random, TOKENS, 6))
        if queries is few:
            x["x_q"] = normal(random, len(ROWS), 6)

        def run(x, x_q=None, layer=model.bert.encoder.layers[1].attention, queries=queries, causal=causal, rate=rate):
            y, cache = layer.forward(x, x if x_q is None else x_q, tokens, queries, causal, dropouts_of(rate))
            return (y,), cache

        def run_backward(upstream, cache, layer=model.bert.encoder.layers[1].attention, queries=queries):
            d_x, d_x_q = layer.backward(upstream[0], cache)
            return {"x": d_x + d_x_q} if queries is tokens else {"x": d_x, "x_q": d_x_q}

        yield model_case("self_attention", label, model, run, run_backward, own, **x)


@cases("feed_forward")
def feed_forward(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    tokens, few = layouts(backend)
    prefix = "bert.encoder.layer.0"
    for label, hidden_act, rows, rate in (
        ("gelu, dropout", "gelu", tokens, 0.3),
        ("gelu_new, few rows", "gelu_new", few, 0),
    ):
        model = small_model(backend, random, hidden_act=hidden_act)
        layer = model.bert.encoder.layers[0].feed_forward

        def forward(x, layer=layer, rows=rows, rate=rate):
            return layer.forward(x, rows, dropouts_of(rate))

        own = f"{prefix}.intermediate", f"{prefix}.output"
        x = normal(random, len(rows.positions), 6)
        yield layer_case("feed_forward", label, model, forward, layer.backward, own, x)


@cases("pooler")
def pooler(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    model = small_model(backend, random)
    body = model.bert
    yield layer_case("pooler", "B=3", model, body.pool, body.pool_backward, "bert.pooler", normal(random, 3, 6))


@cases("mlm_head")
def mlm_head(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of the MLM head, with both forms of GELU, including the gradient of the tied embedding table."""
    own = "cls.predictions", "bert.embeddings.word_embeddings"
    for hidden_act in ("gelu", "gelu_new"):
        model = small_model(backend, random, hidden_act=hidden_act)
        head = model.mlm_head
        x = normal(random, 4, 6)
        yield layer_case("mlm_head", f"M=4, {hidden_act}", model, head.forward, head.backward, own, x)


@cases("nsp_head")
def nsp_head(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    model = small_model(backend, random)
    head = model.nsp_head
    x = normal(random, 3, 6)
    yield layer_case("nsp_head", "B=3", model, head.forward, head.backward, "cls.seq_relationship", x)


@cases("encoder")
def encoder(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of the stack of layers: bidirectional or causal, with all rows of the last layer or only some."""
    model = small_model(backend, random)
    stack = model.bert.encoder
    tokens, few = layouts(backend)
    some = backend.array(ROWS, np.int32), few
    for label, chosen, causal, rate in (
        ("all rows", None, False, 0),
        ("causal, dropout", None, True, 0.3),
        ("rows cut in the last layer, dropout", some, False, 0.3),
    ):
        dropouts = dropouts_of(rate)

        def forward(x, chosen=chosen, causal=causal, dropouts=dropouts):
            return stack.forward(x, tokens, chosen, causal, dropouts)

        x = normal(random, TOKENS, 6)
        yield layer_case("encoder", label, model, forward, stack.backward, "bert.encoder", x)


@cases("pretraining")
def pretraining(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of the pre-training loss of a whole model: the sum of the MLM and NSP losses, or MLM alone."""
    for label, pairs, rate in (("MLM and NSP", True, 0), ("MLM and NSP, dropout", True, 0.2), ("MLM alone", False, 0)):
        model = small_model(backend, random, rate)
        batch = small_masked_batch(random, pairs, masked=(0, 3, 4, 9) if pairs else (3, 4, 9))
        key = KEY if rate else None

        yield loss_case("pretraining", label, MaskedLmAndNextSentence(model), batch, key)


@cases("language_model")
def language_model(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of next-token prediction: a whole batch, which includes a one-token sequence, and a part of a batch."""
    for label, count, rate in (("all of a batch", 7, 0), ("part of a batch, dropout", 9, 0.2)):
        model = small_gpt(backend, random, rate)
        batch = NextTokenBatch(small_batch(random), count)
        yield loss_case("language_model", label, NextToken(model), batch, KEY if rate else None)


@cases("both_directions")
def both_directions(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of the two language models of an ELMo, on windows of 4, 3 and 5 tokens, and on a part of a batch."""
    for label, count, rate in (("all of a batch", 6, 0), ("part of a batch, dropout", 9, 0.2)):
        model = Elmo(ElmoConfig(11, 5, hidden_dropout_prob=rate), backend, dtype="float64")
        model.parameters.values[...] += backend.array(0.3 * normal(random, model.parameters.values.size))
        tokens = Batch.of_sequences([random.integers(0, 11, length).astype(np.int32) for length in (4, 3, 5)])
        batch = NextTokenBatch(tokens, count, windows=True)
        yield loss_case("both_directions", label, BothDirections(model), batch, KEY if rate else None)


@cases("distillation")
def distillation(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of DistilBERT's three losses, on a part of a batch: soft targets on all tokens or the masked ones."""
    for label, soft_targets_on, rate in (("all tokens, dropout", "all", 0.2), ("masked tokens", "masked", 0)):
        student, teacher = small_student(backend, random, rate)
        masked = small_masked_batch(random, pairs=False, masked=(3, 4, 9))
        batch = DistillationBatch(**vars(masked), token_count=13)
        objective = Distillation(student, teacher, soft_targets_on=soft_targets_on)
        yield loss_case("distillation", label, objective, batch, KEY if rate else None)
