"""The memory of a training step, computed beforehand, beside what the GPU backend (emulated) really takes."""

import gc

import pytest

from minibert.bench.ours import training_step
from minibert.bench.throughput import dtype_of, random_batch
from minibert.models import BertConfig, BertForPreTraining
from minibert.training.config import PRESETS, PretrainConfig
from minibert.training.footprint import footprint

GIB = 2**30
SHAPES = {  # layers, width, heads, inner, vocabulary; sequences, length
    "activations count": (3, 128, 2, 512, 300, 16, 64),
    "many layers": (6, 64, 2, 256, 500, 8, 64),
    "parameters count": (6, 96, 3, 384, 2000, 4, 32),
}


def config_of(shape) -> BertConfig:
    layers, width, heads, inner, vocabulary, _, length = shape
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=length,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_is_what_a_step_takes(gpu, monkeypatch, shape, precision):
    config, (*_, sequences, length) = config_of(shape), shape
    pool, honest, most = gpu.xp.get_default_memory_pool(), gpu.xp.empty, [0]
    gc.collect()
    before = pool.used_bytes()

    def empty(*arguments, **named):
        array = honest(*arguments, **named)
        most[0] = max(most[0], pool.used_bytes() - before)
        return array

    monkeypatch.setattr(gpu.xp, "empty", empty)
    step = training_step(config, gpu, dtype_of(precision))
    for seed in range(2):
        step(random_batch(config, sequences, length, seed))
    parameters = BertForPreTraining(config, "reference").parameters.count
    computed = footprint(config, parameters, sequences, length, precision).total
    assert most[0] == pytest.approx(computed, rel=0.05)


@pytest.mark.parametrize("name, memory", [("gpu-8", 8 * GIB), ("gpu-16", 16 * GIB), ("gpu-24", 24 * GIB)])
def test_presets_leave_a_quarter_of_the_memory_free(name, memory):
    """For the context, cuBLAS and what the pool cannot use again."""
    preset = PretrainConfig.defaults(["--preset", name])
    config = BertConfig.preset(preset.size, preset.vocab_size)
    parameters = BertForPreTraining(config, "reference", seed=None).parameters.count
    for length in (128, 512):
        sequences = preset.batch_tokens // length // preset.accumulate
        assert footprint(config, parameters, sequences, length, preset.precision).total <= 0.75 * memory


def test_presets_for_gpus_learn_the_same():
    """They differ in how much of a batch is on the device at a time, and in nothing else."""
    presets = [dict(PRESETS[name]) for name in ("gpu-8", "gpu-16", "gpu-24")]
    parts = [preset.pop("accumulate") for preset in presets]
    assert presets[0] == presets[1] == presets[2] and parts == sorted(parts, reverse=True)


def test_an_option_is_stronger_than_its_preset(tmp_path):
    from minibert.commands.options import read_options

    words = ["--preset=gpu-16", "--size", "small", "--out", str(tmp_path)]
    options = read_options(PretrainConfig, words, "minibert pretrain")
    assert (options.size, options.accumulate, options.backend, options.precision) == ("small", 3, "gpu", "bfloat16")
