"""Weights that are NaN or infinite are refused where they are loaded, and results that are NaN where they are made."""

import re

import numpy as np
import pytest

from minibert import cli
from minibert.checks.short_training import small_config
from minibert.data.batch import Batch
from minibert.inference import fill_mask
from minibert.inference.attention_probabilities import attention_probabilities
from minibert.inference.encode import encode
from minibert.inference.generate import generate
from minibert.inference.next_token import most_probable_next
from minibert.models import Bert, BertForPreTraining, GptForCausalLM
from minibert.models.features import FeatureModel
from minibert.models.huggingface import read_tensors, save_tensors
from minibert.ops import load_backend
from minibert.tasks.examples import SentenceExample
from minibert.tasks.task import Task, predictions_of
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS
from minibert.training.checkpoints import load_checkpoint, save_checkpoint
from minibert.training.optimizer import AdamW, AdamWSettings, LossScale

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *(f"w{number}" for number in range(small_config().vocab_size - 5))])
NORM = "encoder.layer.0.output.LayerNorm.weight"
BAD = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf}


def damage(path, name, value):
    """Put a value into one number of the tensor whose name ends in `name`; returns the tensor's whole name."""
    tensors = {key: tensor.copy() for key, tensor in read_tensors([path]).items()}
    whole = next(key for key in tensors if key.endswith(name))
    tensors[whole].reshape(-1)[-1] = value
    save_tensors(path, tensors)
    return whole


@pytest.fixture
def folder(tmp_path):
    """A BERT with a NaN in a layer norm."""
    made = tmp_path / "model"
    BertForPreTraining(small_config(), "reference").save_pretrained(made)
    TOKENIZER.save(made)
    damage(made / "model.safetensors", NORM, np.nan)
    (tmp_path / "train.csv").write_text("text,label\n" + "w1 w2,a\nw2 w3,b\n" * 8)
    (tmp_path / "lines.txt").write_text("w1 w2 w3\n\n" * 4000)
    return made


COMMANDS = {
    "fill": "fill {model} [MASK]",
    "encode": "encode {model} lines.txt --out vectors.npy",
    "search": "search {model} lines.txt w1",
    "attention": "attention {model} w1",
    "finetune": "finetune {model} --task sentence --train train.csv --out out",
    "frozen": "finetune {model} --task sentence --train train.csv --out out --frozen",
    "pretrain": "pretrain lines.txt --from {model} --out out --steps 2 --lengths 8:1 --batch-tokens 32",
    "distill": "distill {model} lines.txt --out out --steps 2 --lengths 8:1",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_loads_a_model_names_the_file_and_the_tensor(folder, monkeypatch, capsys, command):
    monkeypatch.chdir(folder.parent)
    assert cli.main([word.format(model=folder) for word in COMMANDS[command].split()]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{folder / 'model.safetensors'}: 1 of the " in error and f"bert.{NORM} are NaN or infinite" in error
    assert not (folder.parent / "out").exists() and not (folder.parent / "vectors.npy").exists()


def test_predict_and_generate_as_well(tmp_path, monkeypatch, capsys):
    for name, model, words in (
        ("sentence", Task("sentence", ("a", "b")).model_class, ["predict"]),
        ("gpt", GptForCausalLM, ["generate"]),
    ):
        labels = {"labels": ("a", "b")} if name == "sentence" else {"is_decoder": True}
        model(small_config(**labels), "reference").save_pretrained(tmp_path / name)
        TOKENIZER.save(tmp_path / name)
        damage(tmp_path / name / "model.safetensors", "word_embeddings.weight", np.inf)
        (tmp_path / "lines.txt").write_text("w1\n")
        monkeypatch.chdir(tmp_path)
        assert cli.main([*words, name, "lines.txt"]) == 2
        assert re.search(r"model.safetensors: 1 of the .* are NaN or infinite", capsys.readouterr().err)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", BAD)
def test_any_such_number_in_any_type_of_file(tmp_path, kind, value):
    values = np.ones((3, 5), kind)
    save_tensors(tmp_path / "a.safetensors", {"good": values})
    assert np.array_equal(read_tensors([tmp_path / "a.safetensors"])["good"], values)
    values = values.copy()
    values[2, 1] = BAD[value]
    save_tensors(tmp_path / "a.safetensors", {"good": np.ones(3, kind), "bad": values})
    with pytest.raises(ValueError, match=r"a\.safetensors: 1 of the 15 values of bad are NaN or infinite"):
        read_tensors([tmp_path / "a.safetensors"])


def test_what_is_finite_only_in_the_file(tmp_path):
    """In float64 beyond float32, and in float32 beyond the float16 in which the model computes."""
    save_tensors(tmp_path / "a.safetensors", {"bad": np.array([1.0, 1e39])})
    with pytest.raises(ValueError, match="1 of the 2 values of bad are NaN or infinite; expected finite numbers of 32"):
        read_tensors([tmp_path / "a.safetensors"])
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    save_tensors(tmp_path / "a.safetensors", {"bad": np.array([1.0, np.nan]).astype(bfloat16)})
    with pytest.raises(ValueError, match="1 of the 2 values of bad"):
        read_tensors([tmp_path / "a.safetensors"])


def test_float16_holds_no_large_weight(tmp_path, gpu):
    Bert(small_config(), "reference").save_pretrained(tmp_path)
    damage(tmp_path / "model.safetensors", NORM, 65504)
    Bert.from_pretrained(tmp_path, gpu, dtype="float16")
    damage(tmp_path / "model.safetensors", NORM, 7e4)
    with pytest.raises(ValueError, match=rf"{NORM} has values beyond 65,504, the largest number of float16"):
        Bert.from_pretrained(tmp_path, gpu, dtype="float16")
    Bert.from_pretrained(tmp_path, gpu, dtype="bfloat16")


class TestCheckpoints:
    @pytest.mark.parametrize("name", ["model", "optimizer"])
    def test_weights_and_moments(self, tmp_path, monkeypatch, name):
        model = BertForPreTraining(small_config(), "reference")
        optimizer = AdamW(model.parameters, AdamWSettings())
        (model.parameters.masters if name == "model" else optimizer.second_moment)[3] = np.nan
        folder = save_checkpoint(tmp_path, 1, model, optimizer, keep=1)
        with pytest.raises(ValueError, match=f"{name}.safetensors: 1 of .* NaN or infinite; .*; delete this folder to"):
            load_checkpoint(folder, model, optimizer)

    @pytest.mark.parametrize(
        "state", [{"value": np.nan}, {"value": np.inf}, {"value": 0}, {"good_steps": -1}, {"value": "x"}]
    )
    def test_the_scale_of_the_loss(self, state):
        with pytest.raises(ValueError):
            LossScale(load_backend("reference")).restore(state)


def test_a_head_of_features_fits_its_description(tmp_path):
    """Neither more nor fewer tensors, nor another shape."""
    model = FeatureModel(Bert(small_config(), "reference"), ("a", "b"), kind="sentences", layers="-1", head="linear")
    model.save_pretrained(tmp_path)
    path = tmp_path / "head.safetensors"
    tensors = read_tensors([path])
    name = next(iter(tensors))
    for changed in (
        {key: tensor for key, tensor in tensors.items() if key != name},
        {**tensors, name: tensors[name][..., :1].copy()},
        {**tensors, "more": np.ones(2, np.float32)},
    ):
        save_tensors(path, changed)
        with pytest.raises(ValueError, match="head.safetensors: .* has the shape .*; train the model again"):
            FeatureModel.from_pretrained(tmp_path, "reference")
    save_tensors(path, tensors)
    damage(path, name, np.nan)
    with pytest.raises(ValueError, match=f"head.safetensors: 1 of the .* values of {name} are NaN"):
        FeatureModel.from_pretrained(tmp_path, "reference")


def test_finite_weights_may_still_overflow():
    """No nan% and no vector of NaNs: one line says what happened."""
    bert = BertForPreTraining(small_config(), "reference")
    gpt = GptForCausalLM(small_config(is_decoder=True), "reference")
    task = Task("sentence", ("a", "b"))
    classifier = task.model_class(small_config(labels=("a", "b")), "reference")
    for model in (bert, gpt, classifier):
        model.parameters.values[...] = 3e38
    body = Bert(small_config(), "reference")
    body.parameters.values[...] = 3e38
    examples = [SentenceExample("w1")]
    with np.errstate(all="ignore"):
        for act in (
            lambda: fill_mask(bert, TOKENIZER, "[MASK]"),
            lambda: generate(gpt, TOKENIZER, "w1"),
            lambda: most_probable_next(gpt, TOKENIZER, "w1"),
            lambda: encode(body, TOKENIZER, ["w1"]),
            lambda: attention_probabilities(body, body_batch()),
            lambda: predictions_of(classifier, task.codec(TOKENIZER), examples),
        ):
            with pytest.raises(FloatingPointError, match="are NaN or infinite: the model's weights are too large"):
                act()


def body_batch():
    return Batch.of_sequences([np.array([2, 7, 3], np.int32)])
