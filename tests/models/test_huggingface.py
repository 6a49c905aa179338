"""Model folders: what others wrote loads here, what is broken is refused, and nothing is half-written."""

import json

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.models import Bert, BertConfig, BertForPreTraining
from minibert.models.huggingface import read_tensors, save_tensors
from minibert.text import Tokenizer
from tests.objectives import run_forward

from .parity import peer_inputs, shaken


def encoded(model, batch):
    """What the encoder of a model with heads makes of a batch, and the cache."""
    return model.bert.forward(model.bert.prepare(batch.tokens))


@pytest.fixture
def folder(tmp_path):
    """A folder with a model whose every number is different."""
    model = shaken(BertForPreTraining(small_config()))
    model.save_pretrained(tmp_path)
    return tmp_path


def tensors_of(folder):
    return read_tensors([folder / "model.safetensors"])


def rewrite(folder, change):
    """Replace the folder's tensors by change(tensors)."""
    save_tensors(
        folder / "model.safetensors", change({name: value.copy() for name, value in tensors_of(folder).items()})
    )


def same_logits(folder, model_class=BertForPreTraining):
    batch = random_batch(small_config())
    model = shaken(BertForPreTraining(small_config()))
    loaded = model_class.from_pretrained(folder, report=lambda line: pytest.fail(line))
    return np.array_equal(run_forward(model, batch)[0], run_forward(loaded, batch)[0])


def test_what_was_saved_comes_back_bit_for_bit(folder):
    assert same_logits(folder)


def test_the_older_names_of_layer_norms_load(folder):
    def older(name):
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    rewrite(folder, lambda tensors: {older(name): value for name, value in tensors.items()})
    assert "bert.embeddings.LayerNorm.gamma" in tensors_of(folder)
    assert same_logits(folder)


def test_a_tensor_under_its_old_and_its_new_name_is_refused(folder):
    new, old = "bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.gamma"
    rewrite(folder, lambda tensors: tensors | {old: tensors[new]})
    with pytest.raises(ValueError, match=f"{folder.name}: two tensors are both {new}, under an old name"):
        BertForPreTraining.from_pretrained(folder)


def test_a_body_alone_loads_without_and_with_its_prefix(folder):
    batch = random_batch(small_config())
    expected, _ = encoded(BertForPreTraining.from_pretrained(folder), batch)
    lines = []
    assert np.array_equal(Bert.from_pretrained(folder, report=lines.append).forward(batch.tokens)[0], expected)
    assert len(lines) == 1 and "ignored" in lines[0] and "cls.seq_relationship.weight" in lines[0]

    rewrite(folder, lambda t: {name.removeprefix("bert."): v for name, v in t.items() if not name.startswith("cls.")})
    assert np.array_equal(Bert.from_pretrained(folder, report=pytest.fail).forward(batch.tokens)[0], expected)
    lines = []
    model = BertForPreTraining.from_pretrained(folder, report=lines.append)
    assert np.array_equal(encoded(model, batch)[0], expected)
    assert len(lines) == 1 and "afresh" in lines[0] and "cls.predictions.bias" in lines[0]


def test_a_folder_without_pooler_loads_and_says_so(folder):
    rewrite(folder, lambda tensors: {name: value for name, value in tensors.items() if "pooler" not in name})
    lines = []
    BertForPreTraining.from_pretrained(folder, report=lines.append)
    assert len(lines) == 1 and "bert.pooler.dense.weight" in lines[0]


def test_without_a_report_the_lines_are_logged(folder, caplog):
    """What is left unused is a matter of course for a model without that head; what is missing is a warning."""
    caplog.set_level("INFO", logger="minibert")
    Bert.from_pretrained(folder)
    rewrite(folder, lambda tensors: {name: value for name, value in tensors.items() if "cls." not in name})
    BertForPreTraining.from_pretrained(folder)
    levels = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, text in levels if "ignored" in text] == ["INFO"]
    assert [level for level, text in levels if "initialised afresh" in text] == ["WARNING"]


@pytest.mark.parametrize("bits", ["float16", "bfloat16"])
def test_half_precision_files_load(folder, bits):
    kind = np.float16 if bits == "float16" else pytest.importorskip("ml_dtypes").bfloat16
    before = tensors_of(folder)
    rewrite(folder, lambda tensors: {name: value.astype(kind) for name, value in tensors.items()})
    model = BertForPreTraining.from_pretrained(folder)
    for name, value in before.items():
        assert np.array_equal(model.parameters[name].value, value.astype(kind).astype(np.float32)), name


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 440449768\n"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt", "tokenizer.json"])
def test_pointers_of_git_lfs_are_named(folder, name):
    """A clone without git-lfs has them in place of large files."""
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    (folder / name).write_text(POINTER)
    with pytest.raises(
        ValueError, match=f"{name} is a Git LFS pointer instead of the file itself; fetch the file with"
    ):
        BertForPreTraining.from_pretrained(folder)
        Tokenizer.load(folder)


def test_byte_order_marks_are_named(folder):
    (folder / "vocab.txt").write_text("\ufeff[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match="vocab.txt, line 1: a byte order mark, which would be part of the first token"
    ):
        Tokenizer.load(folder)
    (folder / "config.json").write_text("\ufeff" + (folder / "config.json").read_text(), encoding="utf-8")
    with pytest.raises(ValueError, match="config.json, line 1: a byte order mark"):
        BertForPreTraining.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tf_model.h5", "has weights only as tf_model.h5, the format of TensorFlow; expected model.safetensors"),
        ("flax_model.msgpack", "has weights only as flax_model.msgpack, the format of Flax"),
        ("pytorch_model.bin.index.json", "has weights only as pytorch_model.bin.index.json, .* run arbitrary code"),
        ("bert_config.json", "config.json does not exist; this is a checkpoint of google-research/bert"),
        ("adapter_config.json", "config.json does not exist; this is an adapter of PEFT; merge it into its model"),
    ],
)
def test_weights_of_other_programs_are_named(folder, name, words):
    (folder / "model.safetensors").unlink()
    if name.endswith("config.json"):
        (folder / "config.json").unlink()
    (folder / name).write_text("{}")
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        BertForPreTraining.from_pretrained(folder)


def test_quantised_weights_are_refused_by_name(folder):
    """Left out, they would be missing, or all of them zero parameters."""
    bits = pytest.importorskip("ml_dtypes")
    name, before = "bert.encoder.layer.0.output.dense.weight", tensors_of(folder)
    for kind, called in ((bits.float8_e4m3fn, "F8_E4M3"), (np.int8, "I8")):
        save_tensors(folder / "model.safetensors", {**before, name: before[name].astype(kind)})
        with pytest.raises(ValueError, match=f"{name} is stored as {called}, a quantised model's type; expected F32"):
            BertForPreTraining.from_pretrained(folder)


def test_a_head_whose_bias_is_named_after_the_decoder_alone_loads(folder):
    """Versions of transformers differ in which of the two names of the one bias they write."""

    def only_the_decoders(tensors):
        bias = tensors.pop("cls.predictions.bias")
        return {**tensors, "cls.predictions.decoder.bias": bias}

    rewrite(folder, only_the_decoders)
    assert same_logits(folder)


def test_a_tied_decoder_that_was_saved_too_is_no_surplus_and_an_untied_one_is_refused(folder):
    def with_decoder(tensors, factor):
        decoder = tensors["bert.embeddings.word_embeddings.weight"] * np.float32(factor)
        return {**tensors, "cls.predictions.decoder.weight": decoder}

    rewrite(folder, lambda tensors: with_decoder(tensors, 1))
    assert same_logits(folder)
    rewrite(folder, lambda tensors: with_decoder(tensors, 2))
    with pytest.raises(ValueError, match="ties"):
        BertForPreTraining.from_pretrained(folder)
    batch = random_batch(small_config())
    expected, _ = encoded(shaken(BertForPreTraining(small_config())), batch)
    assert np.array_equal(Bert.from_pretrained(folder, report=lambda line: None).forward(batch.tokens)[0], expected)


def in_shards(folder) -> dict:
    """Cut the folder's file in two, as transformers does with large models; returns what its index says."""
    tensors = tensors_of(folder)
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, own in shards.items():
        save_tensors(folder / shard, {name: tensors[name] for name in own})
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {name: shard for shard, own in shards.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return index


def test_a_model_in_shards_loads(folder):
    in_shards(folder)
    assert same_logits(folder)


class TestRefusals:
    def refused(self, folder, error, *words):
        with pytest.raises(error) as caught:
            BertForPreTraining.from_pretrained(folder)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)

    def test_no_folder(self, tmp_path):
        self.refused(tmp_path / "nothing", FileNotFoundError, "nothing")

    def test_no_config(self, folder):
        (folder / "config.json").unlink()
        self.refused(folder, FileNotFoundError, "config.json")

    def test_no_weights(self, folder):
        (folder / "model.safetensors").unlink()
        self.refused(folder, FileNotFoundError, "model.safetensors")

    def test_pickles(self, folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        self.refused(folder, ValueError, "pytorch_model.bin", "run arbitrary code", "save_pretrained")

    def test_half_a_file(self, folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        self.refused(folder, ValueError, "model.safetensors", "damaged")

    @pytest.mark.parametrize(
        "index", ["", "{", "[]", "null", "{}", '{"weight_map": 3}', '{"weight_map": ["a"]}', '{"weight_map": {"a": 1}}']
    )
    def test_a_damaged_index(self, folder, index):
        in_shards(folder)
        (folder / "model.safetensors.index.json").write_text(index)
        self.refused(folder, ValueError, "model.safetensors.index.json", "damaged")

    def test_an_index_that_names_a_missing_file(self, folder):
        in_shards(folder)
        (folder / "model-00002-of-00002.safetensors").unlink()
        self.refused(folder, FileNotFoundError, "model-00002-of-00002.safetensors", "listed in the index")

    def test_another_shape(self, folder):
        rewrite(folder, lambda tensors: {**tensors, "bert.pooler.dense.bias": np.zeros(3, np.float32)})
        self.refused(folder, ValueError, "bert.pooler.dense.bias", "[3]", "[24]")

    def test_a_missing_layer(self, folder):
        rewrite(folder, lambda tensors: {name: value for name, value in tensors.items() if "layer.1." not in name})
        self.refused(folder, ValueError, "encoder.layer.1.")

    @pytest.mark.parametrize(
        "change, word",
        [
            (dict(model_type="gpt2"), "gpt2"),
            (dict(hidden_size=25), "multiple"),
            (dict(hidden_act="relu"), "relu"),
            (dict(position_embedding_type="relative_key"), "absolute"),
            (dict(num_hidden_layers=0), "num_hidden_layers"),
            (dict(is_decoder=True), "is_decoder"),
            (dict(add_cross_attention=True), "add_cross_attention"),
            (dict(hidden_dropout_prob="0.1"), "hidden_dropout_prob is '0.1'"),
            (dict(attention_probs_dropout_prob=True), "attention_probs_dropout_prob"),
            (dict(hidden_size="24"), "hidden_size"),
        ],
    )
    def test_another_architecture(self, folder, change, word):
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**values, **change}))
        self.refused(folder, ValueError, word, str(folder / "config.json"))

    def test_a_config_that_is_no_json(self, folder):
        (folder / "config.json").write_text("{")
        self.refused(folder, ValueError, "config.json")


def test_a_full_disk_leaves_the_old_file_whole(folder, full_disk):
    before = (folder / "model.safetensors").read_bytes()
    with full_disk(), pytest.raises(OSError):
        shaken(BertForPreTraining(small_config()), seed=9).save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_base_has_the_papers_number_of_parameters():
    """110 M and 340 M, "BERT base" and "BERT large" (section 3), at the released vocabulary."""
    assert BertConfig.preset("base", 30522).parameter_count() == 109_482_240
    assert round(BertConfig.preset("large", 30522).parameter_count() / 1e6) == 335
    tiny = BertForPreTraining(BertConfig.preset("tiny", 100))
    body = sum(p.size for p in tiny.parameters.all.values() if p.name.startswith("bert."))
    assert body == tiny.config.parameter_count()


def shaken_peer(peer, seed=1, std=0.1):
    """A model of transformers with noise on every parameter: with its own start, biases are zero and norms one."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter += std * torch.randn(parameter.shape, generator=generator)
    return peer


class TestTransformers:
    """Folders go both ways."""

    @pytest.fixture(autouse=True)
    def peers(self):
        pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
        self.transformers = pytest.importorskip("transformers", reason="parity needs the extra `peers`")

    def peer(self, architecture):
        config = self.transformers.BertConfig(**vars(small_config()))
        return getattr(self.transformers, architecture)(config).eval()

    @pytest.mark.slow
    @pytest.mark.parametrize("architecture", ["BertModel", "BertForMaskedLM", "BertForPreTraining"])
    def test_what_transformers_wrote_loads(self, tmp_path, architecture):
        import torch

        peer = self.peer(architecture)
        peer.save_pretrained(tmp_path)
        model = Bert.from_pretrained(tmp_path, report=lambda line: None)
        batch = random_batch(small_config(), lengths=(9,)).tokens
        body = getattr(peer, "bert", peer)
        with torch.no_grad():
            expected = body(
                torch.from_numpy(batch.token_ids[None].astype(np.int64)),
                token_type_ids=torch.from_numpy(batch.segment_ids[None].astype(np.int64)),
            )
        hidden, _ = model.forward(batch)
        assert np.abs(hidden - expected.last_hidden_state[0].numpy()).max() < 1e-5
        if body.pooler is not None:
            pooled, _ = model.pool(hidden[:1])
            assert np.abs(pooled - expected.pooler_output.numpy()).max() < 1e-5

    @pytest.mark.slow
    @pytest.mark.parametrize("bits", ["float32", "float16", "bfloat16"])
    def test_what_transformers_wrote_loads_with_both_heads(self, tmp_path, bits):
        import torch

        peer = shaken_peer(self.peer("BertForPreTraining")).to(getattr(torch, bits))
        peer.save_pretrained(tmp_path)
        # the file holds rounded weights: both sides compute with those, in float32
        peer = peer.to(torch.float32)
        model = BertForPreTraining.from_pretrained(tmp_path, report=pytest.fail)
        batch = random_batch(small_config())
        inputs = peer_inputs(batch)
        with torch.no_grad():
            expected = peer(**inputs)
        mlm_logits, nsp_logits, _ = run_forward(model, batch)
        peer_mlm_logits = expected.prediction_logits[inputs["labels"] != -100]
        assert np.abs(mlm_logits - peer_mlm_logits.numpy()).max() < 1e-5
        assert np.abs(nsp_logits - expected.seq_relationship_logits.numpy()).max() < 1e-5

    @pytest.mark.parametrize("architecture", ["AutoModel", "AutoModelForMaskedLM", "BertForPreTraining"])
    def test_transformers_loads_what_minibert_wrote(self, folder, architecture):
        _, info = getattr(self.transformers, architecture).from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["mismatched_keys"]
