"""Published weights: what minibert computes with them is what transformers computes.

Fetched by scripts/fetch_test_weights.py, in .ci/run and by whoever wants these tests; skipped where they are absent.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minibert.data import from_padded, masked_from_padded
from minibert.data.task_batch import TaskBatch
from minibert.models import Bert, BertForPreTraining, BertForSequenceClassification
from minibert.text import Tokenizer
from tests.objectives import run_backward, run_forward, run_losses

FOLDER = Path(os.environ.get("MINIBERT_TEST_WEIGHTS") or Path(__file__).parents[2] / ".ci" / "weights")
SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
SIMILARITIES = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}  # Sentence Transformers' usage page, for this model
TEXTS = [
    "The state of the union is strong.",
    "Unaffable naïve words, in 1901: numbers & marks!",
    "Short",
    "BERT reads in both directions; its encoder is a stack of layers that all see the whole of a sentence at once.",
]


def weights(name):
    folder = FOLDER / name
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"published weights are not in {folder.name}: python scripts/fetch_test_weights.py .ci/weights")
    return folder


def peers():
    torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
    return torch, pytest.importorskip("transformers", reason="parity needs the extra `peers`")


@cache
def padded(folder):
    """The texts as a padded batch: token ids and mask."""
    encoded = [Tokenizer.load(folder).encode(text).ids for text in TEXTS]
    ids = np.zeros((len(encoded), max(map(len, encoded))), np.int64)
    for row, sequence in zip(ids, encoded, strict=True):
        row[: len(sequence)] = sequence
    return ids, (np.arange(ids.shape[1]) < np.array([[len(sequence)] for sequence in encoded])).astype(np.int64)


def test_token_ids_are_those_of_transformers():
    folder = weights("minilm")
    _, transformers = peers()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert Tokenizer.load(folder).encode(text).ids == tokenizer(text)["input_ids"]


@pytest.mark.slow
def test_hidden_states_of_all_layers_and_pooled_output(backend):
    if backend.name == "gpu":
        pytest.skip("too long on the emulator; its layers are compared with the reference elsewhere")
    folder = weights("minilm")
    torch, transformers = peers()
    ids, mask = padded(folder)
    with torch.no_grad():
        expected = transformers.AutoModel.from_pretrained(folder)(
            torch.tensor(ids), torch.tensor(mask), output_hidden_states=True
        )
    model = Bert.from_pretrained(folder, backend)
    batch = from_padded(ids, mask)
    states = model.hidden_states(batch)
    assert len(states) == 7
    for ours, theirs in zip(states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(backend.numpy(ours), theirs.numpy()[mask.astype(bool)], rtol=0, atol=1e-4)
    pooled, _ = model.pool(states[-1][batch.cls_positions])
    np.testing.assert_allclose(backend.numpy(pooled), expected.pooler_output.numpy(), rtol=0, atol=1e-4)


def test_logits_of_masked_tokens(backend):
    if backend.name == "gpu":
        pytest.skip("too long on the emulator; its layers are compared with the reference elsewhere")
    folder = weights("mlm")
    torch, transformers = peers()
    ids, mask = padded(folder)
    labels = np.where((np.arange(ids.shape[1]) % 3 == 1) & (mask == 1), ids, -100)
    hidden = np.where(labels == -100, ids, Tokenizer.load(folder).mask_id)
    with torch.no_grad():
        expected = transformers.AutoModelForMaskedLM.from_pretrained(folder)(torch.tensor(hidden), torch.tensor(mask))
    model = BertForPreTraining.from_pretrained(folder, backend, report=lambda line: None)
    logits, _, _ = run_forward(model, masked_from_padded(hidden, mask, labels=labels))
    np.testing.assert_allclose(backend.numpy(logits), expected.logits.numpy()[labels != -100], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_gradients_of_a_loss_equal_autograds():
    folder = weights("minilm")
    torch, transformers = peers()
    ids, mask = padded(folder)
    labels = np.array([1, 0, 1, 1], np.int32)
    model = BertForSequenceClassification.from_pretrained(
        folder, "cpu", dtype="float64", labels=("no", "yes"), report=lambda line: None
    )
    peer = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, dtype=torch.float64)
    ours = model.parameters.tensors(model.parameters.values)
    with torch.no_grad():
        for name in ("classifier.weight", "classifier.bias"):  # fresh on both sides
            dict(peer.named_parameters())[name].copy_(torch.tensor(ours[name]))
    output = peer.eval()(torch.tensor(ids), torch.tensor(mask), labels=torch.tensor(labels.astype(np.int64)))
    output.loss.backward()
    tokens = from_padded(ids, mask)
    loss, cache = run_losses(model, TaskBatch(tokens, tokens.cls_positions, labels, len(labels)))
    run_backward(model, cache)
    assert float(loss.total) == pytest.approx(output.loss.item(), rel=1e-9)
    gradients = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    for name, gradient in model.parameters.tensors(model.parameters.gradients).items():
        expected = gradients[name]
        bound = 1e-8 * max(np.abs(expected).max(), 1e-3 * largest)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=bound, err_msg=name)


def test_similarities_are_the_published_ones():
    folder = weights("minilm")
    model, tokenizer = Bert.from_pretrained(folder), Tokenizer.load(folder)
    vectors = []
    for sentence in SENTENCES:
        hidden, _ = model.forward(from_padded([tokenizer.encode(sentence).ids]), keep_cache=False)
        mean = hidden.mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
    for (one, other), published in SIMILARITIES.items():
        assert round(float(vectors[one] @ vectors[other]), 4) == pytest.approx(published, abs=1e-4)
