"""The cases of the encoder and of the whole pre-training loss: every parameter, through all layers."""

import numpy as np

from minibert.checks.cases import KEY, cases
from minibert.checks.gradients import Case
from minibert.checks.op_cases import normal
from minibert.data.batch import Batch, running_sum
from minibert.models import BertConfig, BertForPreTraining
from minibert.nn import Dropouts, Sequences


def model_case(name: str, shape: str, model, run, run_backward) -> Case:
    """A case whose inputs are all parameters of a model, and perhaps x.

    run(x) -> outputs, cache and run_backward(upstream, cache) -> d_x or None use the model's present parameters.
    """
    backend, parameters = model.backend, model.parameters

    def forward(values):
        x = backend.array(values["x"]) if "x" in values else None
        for name in values.keys() - {"x"}:
            parameters[name].value[...] = backend.array(values[name])
        outputs, cache = run(x)
        return tuple(backend.numpy(y) for y in outputs), cache

    def backward(upstream, cache):
        parameters.zero_gradients()
        d_x = run_backward(tuple(backend.array(u) for u in upstream), cache)
        gradients = {parameter.name: backend.numpy(parameter.gradient).copy() for parameter in parameters.all.values()}
        return gradients if d_x is None else {**gradients, "x": backend.numpy(d_x)}

    inputs = {parameter.name: backend.numpy(parameter.value).copy() for parameter in parameters.all.values()}
    return Case(name, shape, inputs, forward, backward)


def small_model(backend, random, dropout: float):
    """A BERT of about a thousand parameters, none of them zero or one."""
    config = BertConfig(
        vocab_size=11,
        hidden_size=6,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=9,
        max_position_embeddings=8,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    model = BertForPreTraining(config, backend, dtype="float64")
    model.parameters.values[...] += backend.array(0.3 * normal(random, model.parameters.values.size))
    return model


def small_batch(random, pairs: bool, masked) -> Batch:
    """Sequences of 1, 7 and 2 tokens, some masked, with NSP labels of both kinds."""
    lengths = (1, 7, 2)
    return Batch(
        token_ids=random.integers(0, 11, 10).astype(np.int32),
        segment_ids=random.integers(0, 2, 10).astype(np.int32),
        position_ids=np.concatenate([np.arange(length) for length in lengths]).astype(np.int32),
        cu_seqlens=running_sum(lengths),
        sequence_numbers=np.array([4, 5, 6]),
        masked_positions=np.array(masked, np.int32),
        masked_labels=random.integers(0, 11, len(masked)).astype(np.int32),
        nsp_labels=np.array([0, 1, 1], np.int32) if pairs else None,
        mlm_count=6,
        nsp_count=5 if pairs else 0,
    )


@cases("encoder")
def encoder(backend, random):
    """The stack of layers, all rows and only some rows of the last layer, both ways of looking."""
    model = small_model(backend, random, dropout=0.0)
    encoder = model.bert.encoder
    lengths, rows = (1, 7, 2), np.array([0, 2, 7, 8])
    cu_seqlens, numbers = running_sum(lengths), np.array([4, 5, 6])
    tokens = Sequences.of_batch(backend, cu_seqlens, numbers)
    some = backend.array(rows, np.int32), Sequences.of_rows(backend, rows, cu_seqlens, numbers)
    for label, chosen, causal, rate in (
        ("all rows", None, False, 0),
        ("causal, dropout", None, True, 0.3),
        ("rows cut in the last layer, dropout", some, False, 0.3),
    ):
        dropouts = Dropouts(rate, rate, KEY) if rate else None

        def run(x, chosen=chosen, causal=causal, dropouts=dropouts):
            y, cache = encoder.forward(x, tokens, chosen, causal, dropouts)
            return (y,), cache

        def run_backward(upstream, cache):
            return encoder.backward(upstream[0], cache)

        case = model_case("encoder", label, model, run, run_backward)
        case.inputs["x"] = normal(random, 10, 6)
        for name in [name for name in case.inputs if name != "x" and "encoder" not in name]:
            del case.inputs[name]  # embeddings and heads take no part
        yield case


@cases("pretraining")
def pretraining(backend, random):
    """The whole of pre-training: both losses of a batch, through heads, pooler, encoder and embeddings."""
    for label, pairs, rate in (("MLM and NSP", True, 0), ("MLM and NSP, dropout", True, 0.2), ("MLM alone", False, 0)):
        model = small_model(backend, random, rate)
        batch = small_batch(random, pairs, masked=(0, 3, 4, 9) if pairs else (3, 4, 9))
        key = KEY if rate else None

        def run(_x, model=model, batch=batch, key=key):
            losses, cache = model.losses(batch, key)
            return (losses.total,), cache

        def run_backward(upstream, cache, model=model):
            model.losses_backward(cache, float(upstream[0]))

        yield model_case("pretraining", label, model, run, run_backward)
