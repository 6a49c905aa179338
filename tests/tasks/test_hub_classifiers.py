"""Classifiers that transformers wrote, without minibert's task.json: the same logits, and their labels."""

import io
import json

import numpy as np
import pytest

from minibert import cli
from minibert.models import BertConfig, BertForMultipleChoice, BertForSequenceClassification
from minibert.tasks.features import task_batch
from minibert.tasks.predict import read_input
from minibert.tasks.task import Task
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCABULARY = [*SPECIAL_TOKENS, "the", "sun", "shines", "on", "a", "cat", "sleeps", "where", "?", "##s", "no", "one"]
SHAPE = dict(vocab_size=len(VOCABULARY) + 3)
BERT = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
DISTILBERT = dict(dim=16, n_layers=2, n_heads=2, hidden_dim=32)
KINDS = {
    "ForSequenceClassification": "the sun shines on a cat",
    "ForTokenClassification": "the sun shines on cats",
    "ForQuestionAnswering": "where sleeps the cat?\tthe sun shines on a cat, no one sleeps",
    "ForMultipleChoice": json.dumps(
        {"text": "the sun", "endings": ["shines on a cat", "sleeps", "no one"], "label": 0}
    ),
}
FAMILIES = {"Bert": BERT, "DistilBert": DISTILBERT}


def write(folder, family, kind, **config):
    """A small classifier with noise on every weight."""
    shape = getattr(transformers, f"{family}Config")(**SHAPE, **FAMILIES[family], max_position_embeddings=32, **config)
    torch.manual_seed(3)
    model = getattr(transformers, family + kind)(shape).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    Tokenizer(VOCABULARY).save(folder)
    return model.double()


def predict(folder, text, monkeypatch, capsys, *options):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((text + "\n").encode())))
    assert cli.main(["predict", str(folder), "--backend", "reference", *options]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_logits_are_those_of_transformers(family, kind, tmp_path, monkeypatch, capsys):
    peer = write(tmp_path, family, kind)
    task = Task.load(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((KINDS[kind] + "\n").encode())))
    (feature,) = task.codec(Tokenizer.load(tmp_path)).encode(read_input(task, "-"))
    model = task.model_class.from_pretrained(tmp_path, "reference", dtype="float64")
    ours = model.forward(model.prepare(task_batch([feature])).inputs)[0]
    rows = []
    for ids, segments in feature.sequences:
        given = {"input_ids": torch.tensor(ids[None]).long()}
        if family == "Bert":
            given["token_type_ids"] = torch.tensor(segments[None]).long()
        if kind == "ForMultipleChoice":
            given = {name: tensor[None] for name, tensor in given.items()}
        with torch.no_grad():
            output = peer(**given)
        logits = torch.stack([output.start_logits, output.end_logits], -1) if "Question" in kind else output.logits
        rows.append(logits.reshape(-1, logits.shape[-1]).numpy())
    theirs = np.concatenate(rows, axis=1 if kind == "ForMultipleChoice" else 0)
    if kind == "ForTokenClassification":
        theirs = theirs[feature.rows]
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
    assert predict(tmp_path, KINDS[kind], monkeypatch, capsys).strip()


def test_labels_are_the_folders_own_or_numbered(tmp_path, monkeypatch, capsys):
    write(tmp_path / "two", "Bert", "ForSequenceClassification")
    assert "id2label" not in json.loads((tmp_path / "two" / "config.json").read_text())
    assert set(Task.load(tmp_path / "two").labels) == {"LABEL_0", "LABEL_1"}
    peer = write(tmp_path / "named", "DistilBert", "ForSequenceClassification", id2label={0: "bad", 1: "so", 2: "good"})
    answer = json.loads(predict(tmp_path / "named", "the cat\tno one", monkeypatch, capsys, "--json"))
    assert answer["text"] == "the cat" and answer["pair"] == "no one"  # a tab makes a pair
    ids = Tokenizer.load(tmp_path / "named").encode("the cat", "no one").ids
    shares = torch.softmax(peer(input_ids=torch.tensor([ids])).logits, -1)[0]
    best = int(shares.argmax())
    assert answer["answer"] == ["bad", "so", "good"][best]
    assert answer["probability"] == pytest.approx(float(shares[best]), abs=1e-5)
    write(tmp_path / "number", "Bert", "ForSequenceClassification", num_labels=1)
    assert Task.load(tmp_path / "number").kind == "regression"


def test_what_is_not_supported_is_refused_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the cat\n")))
    write(tmp_path / "many", "Bert", "ForSequenceClassification", problem_type="multi_label_classification")
    write(tmp_path / "odd", "Bert", "ForSequenceClassification")
    path = tmp_path / "odd" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"problem_type": "multi_label"}))
    with pytest.raises(ValueError, match="problem_type is 'multi_label'; expected regression, single_label_class"):
        Task.load(tmp_path / "odd")
    write(tmp_path / "body", "Bert", "Model")
    config = json.loads((tmp_path / "body" / "config.json").read_text())
    assert cli.main(["predict", str(tmp_path / "body")]) == 2
    assert "contains no fine-tuned model" in capsys.readouterr().err
    config["architectures"] = ["BertForSequenceClassification"]
    (tmp_path / "body" / "config.json").write_text(json.dumps(config))
    for name, words in (("many", "problem_type is 'multi_label_classification'"), ("body", "lacks the weights class")):
        assert cli.main(["predict", str(tmp_path / name), "--backend", "reference"]) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1


def test_a_distilbert_classifier_is_a_start_for_fine_tuning_but_not_written(tmp_path):
    write(tmp_path, "DistilBert", "ForMultipleChoice")
    model = BertForMultipleChoice.from_pretrained(tmp_path, "reference")
    with pytest.raises(ValueError, match="which minibert reads but does not write"):
        model.save_pretrained(tmp_path / "again")
    fresh = BertForSequenceClassification.from_pretrained(tmp_path, "reference", labels=("no", "yes"))
    assert fresh.config.pooler_act == "tanh" and "bert.pooler.dense.weight" in fresh.initialised_afresh


def test_longer_texts_are_counted(tmp_path, caplog):
    write(tmp_path, "Bert", "ForSequenceClassification")
    longest = BertConfig.load(tmp_path).max_position_embeddings
    (tmp_path / "a.txt").write_text("the " * (longest - 2) + "\n" + "the " * longest + "\n")
    assert cli.main(["predict", str(tmp_path), str(tmp_path / "a.txt"), "--backend", "reference"]) == 0
    assert f"a.txt: 1 given example is longer than {longest} tokens, and cut off" in caplog.text


@pytest.mark.parametrize("prefix", ["module.", "0.auto_model."])
def test_prefixes_of_wrappers(prefix, tmp_path):
    from safetensors.numpy import load_file, save_file

    write(tmp_path, "Bert", "ForSequenceClassification")
    before = BertForSequenceClassification.from_pretrained(tmp_path, "reference").parameters.values
    path = tmp_path / "model.safetensors"
    save_file({prefix + name: tensor for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    again = BertForSequenceClassification.from_pretrained(tmp_path, "reference")
    assert np.array_equal(again.parameters.values, before) and not again.initialised_afresh


def test_the_backward_pass_through_a_relu(tmp_path):
    write(tmp_path, "DistilBert", "ForSequenceClassification")
    model = BertForSequenceClassification.from_pretrained(tmp_path, "reference", dtype="float64")
    random = np.random.default_rng(0)
    first, upstream = random.standard_normal((2, 3, 16))
    _, cache = model.bert.pool(first)
    d_first = model.bert.pool_backward(upstream, cache)
    for row, column in np.ndindex(first.shape):
        moved = first.copy()
        moved[row, column] += 1e-6
        higher = (model.bert.pool(moved)[0] * upstream).sum()
        moved[row, column] -= 2e-6
        assert (higher - (model.bert.pool(moved)[0] * upstream).sum()) / 2e-6 == pytest.approx(
            d_first[row, column], abs=1e-7
        )
