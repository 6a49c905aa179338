"""`minibert pretrain --backend gpu --emulate`: the whole command on the GPU's kernels and launch code."""

import gc
import json

import numpy as np
import pytest

from minibert.models import PRESETS
from minibert.models.huggingface import read_tensors
from minibert.training import pretrain
from minibert.training.config import PretrainConfig
from minibert.training.metrics import read_metrics
from tests.training.test_pretrain import stop_at
from tests.training.tiny import PRESET, tiny_config

PRECISIONS = "float32", "tf32", "bfloat16", "float16"


@pytest.fixture(autouse=True)
def somewhere_to_run(gpu):
    """Skipped where there is no C++ compiler."""


@pytest.fixture(scope="module")
def on_the_cpu(tmp_path_factory, corpus):
    """The losses of the same run on the CPU backend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        run = tmp_path_factory.mktemp("cpu") / "run"
        pretrain(tiny_config(corpus, run))
    return losses_of(run)


def losses_of(run):
    return np.array([record["mlm_loss"] for record in read_metrics(run) if record["kind"] == "train"])


def emulated(corpus, run, **changes):
    return tiny_config(corpus, run, backend="gpu", emulate=True, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_learns_what_the_cpu_learns(tmp_path, corpus, on_the_cpu, precision):
    assert pretrain(emulated(corpus, tmp_path / "run", precision=precision)) == 0
    losses = losses_of(tmp_path / "run")
    assert losses.shape == on_the_cpu.shape
    assert np.abs(losses - on_the_cpu).max() < (1e-5 if precision == "float32" else 0.02)
    (weights,) = {t.dtype.name for t in read_tensors([tmp_path / "run" / "model.safetensors"]).values()}
    assert weights == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(tmp_path, corpus, monkeypatch, precision):
    """Bit for bit; in float16 the loss scale, and how long it has been good, come back too."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    pretrain(emulated(corpus, whole, precision=precision))

    class Killed(Exception):
        pass

    def kill():
        raise Killed

    with monkeypatch.context() as patch:
        stop_at(patch, 7, kill)
        with pytest.raises(Killed):
            pretrain(emulated(corpus, run, precision=precision))
    assert pretrain(emulated(corpus, run, precision=precision, resume=True)) == 0
    expected, tensors = (read_tensors([folder / "model.safetensors"]) for folder in (whole, run))
    assert all(np.array_equal(expected[name], tensors[name]) for name in expected)
    states = [json.loads((f / "checkpoints" / "step-00000012" / "state.json").read_text()) for f in (whole, run)]
    assert states[0].get("loss_scale") == states[1].get("loss_scale")
    assert ("loss_scale" in states[0]) == (precision == "float16")


@pytest.mark.slow
def test_micro_batches_give_the_same(tmp_path, corpus):
    pretrain(emulated(corpus, tmp_path / "one"))
    pretrain(emulated(corpus, tmp_path / "two", accumulate=2))
    assert np.abs(losses_of(tmp_path / "one") - losses_of(tmp_path / "two")).max() < 1e-5


def test_out_of_memory_says_what_was_tried_and_what_to_lower(tmp_path, corpus, gpu):
    pool = gpu.xp.get_default_memory_pool()
    gc.collect()
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + 200_000)  # enough for the model, and not for a step
    try:
        with pytest.raises(MemoryError) as caught:
            pretrain(emulated(corpus, tmp_path / "run"))
    finally:
        pool.set_limit(size=0)
    message = str(caught.value)
    assert "sequences of" in message and "--accumulate 2" in message and "--batch-tokens" in message
    assert "\n" not in message


def test_precision_without_a_gpu_is_refused():
    with pytest.raises(ValueError, match="--precision bfloat16 requires a GPU"):
        PretrainConfig(precision="bfloat16")
    with pytest.raises(ValueError, match="use --backend gpu --emulate"):
        PretrainConfig(emulate=True)
