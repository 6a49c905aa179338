"""Models by name, and files in other naming: DistilBERT's above all."""

import sys
import types

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.data.masked_batch import masked_to_padded
from minibert.models import Bert, BertForPreTraining
from minibert.models.hub import find_model
from tests.objectives import run_forward


@pytest.fixture
def distilbert(tmp_path):
    """A small DistilBERT with its head for masked tokens, as transformers writes it; and its folder."""
    torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
    transformers = pytest.importorskip("transformers", reason="parity needs the extra `peers`")
    torch.manual_seed(3)
    config = transformers.DistilBertConfig(
        vocab_size=103, dim=24, n_layers=2, n_heads=3, hidden_dim=56, max_position_embeddings=33, initializer_range=0.2
    )
    peer = transformers.DistilBertForMaskedLM(config).eval()
    peer.save_pretrained(tmp_path)
    return torch, peer, tmp_path


def test_a_distilbert_has_the_same_hidden_states_and_logits_here(distilbert):
    torch, peer, folder = distilbert
    batch = random_batch(small_config(), pairs=False)
    padded = masked_to_padded(batch)
    with torch.no_grad():
        expected = peer(
            torch.tensor(padded["input_ids"]), torch.tensor(padded["attention_mask"]), output_hidden_states=True
        )
    kept = torch.tensor(padded["attention_mask"]).bool()
    model = Bert.from_pretrained(folder, "reference", report=lambda line: None)
    for ours, theirs in zip(model.hidden_states(batch.tokens), expected.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs[kept].numpy(), atol=2e-5)
    reports = []
    whole = BertForPreTraining.from_pretrained(folder, "reference", report=reports.append)
    logits, _, _ = run_forward(whole, batch)
    np.testing.assert_allclose(logits, expected.logits[kept].numpy()[batch.masked_positions], atol=5e-5)
    assert len(reports) == 1 and "cls.predictions" not in reports[0]  # what it lacks: pooler and next sentences


class FakeHub(types.ModuleType):
    """A huggingface_hub that has one model, and notes what it was asked for."""

    def __init__(self, folder=None, error=None):
        super().__init__("huggingface_hub")
        self.folder, self.error, self.asked = folder, error, []

    def snapshot_download(self, name, revision, allow_patterns):
        self.asked.append((name, revision, tuple(allow_patterns)))
        if self.error:
            raise self.error
        return str(self.folder)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    def install(**kind):
        fake = FakeHub(tmp_path / "snapshot", **kind)
        monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
        monkeypatch.chdir(tmp_path)
        return fake

    return install


def test_a_published_model_comes_by_name_and_revision(hub, tmp_path):
    fake = hub()
    BertForPreTraining(small_config(), "reference", seed=5).save_pretrained(tmp_path / "snapshot")
    model = Bert.from_pretrained("google-bert/bert-small", "reference", revision="main", report=lambda line: None)
    assert model.config == small_config()
    ((name, revision, patterns),) = fake.asked
    assert (name, revision) == ("google-bert/bert-small", "main")
    assert not any(pattern.endswith((".bin", ".pt", ".h5", ".py")) or pattern == "*" for pattern in patterns)


def test_a_model_of_pickles_is_refused_with_the_command_that_converts_it(hub, tmp_path):
    hub()
    (tmp_path / "snapshot").mkdir()
    with pytest.raises(ValueError, match=r"old/bert has no safetensors.*from_pretrained\('old/bert'\)"):
        find_model("old/bert")


def test_a_folder_is_taken_first_and_has_no_revisions(hub, tmp_path):
    fake = hub()
    (tmp_path / "bert").mkdir()
    assert find_model("bert") == find_model(tmp_path / "bert").relative_to(tmp_path)
    assert not fake.asked
    with pytest.raises(ValueError, match="--revision main applies only to published models"):
        find_model("bert", "main")


def test_what_cannot_be_had_is_told(hub, monkeypatch, tmp_path):
    hub(error=RuntimeError("404 Client Error. Repository Not Found\nfor url"))
    with pytest.raises(OSError, match="no published model of that name could be downloaded: 404 Client Error"):
        find_model("nobody/nothing")
    with pytest.raises(FileNotFoundError, match="is not a folder; expected a model folder"):
        find_model(tmp_path / "nothing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install -e "\.\[hub\]"'):
        find_model("nobody/nothing")
