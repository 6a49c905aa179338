"""`minibert finetune` and `minibert predict`: every kind of task is learnt, kept, loaded again; bad input is told."""

import io
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minibert import cli
from minibert.models import BertConfig, BertForPreTraining, Elmo, ElmoConfig, GptForCausalLM
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.finetune import FineTuning, finetune_task, read_data
from minibert.tasks.readers import read_examples
from minibert.tasks.registry import task_info
from minibert.tasks.task import Task, predictions_of
from minibert.text import Tokenizer
from minibert.training.finetuning import order_of

SUBJECTS = ["the cat", "a dog", "her bird", "my horse", "the old man", "a small child", "our friend", "the queen"]
VERBS = ["sees", "likes", "hates", "finds"]
OBJECTS = ["the house", "a tree", "red apples", "the sea", "a book", "cold water"]
WORDS = sorted({word for part in (SUBJECTS, VERBS, OBJECTS) for phrase in part for word in phrase.split()})
EXTRA = ["who", "what", "?", ".", ",", "good", "bad", "very", "it", "is", "##s", "un", "##seen"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *EXTRA]
COUNT = 32


def sentences():
    """32 sentences: subject, verb, object."""
    return [(SUBJECTS[i % 8], VERBS[i // 8], OBJECTS[(i * 5) % 6]) for i in range(COUNT)]


def write_task(folder, kind) -> tuple[str, Path]:
    """A file of 32 examples of that kind of task, and the task's name."""
    lines = []
    for number, (subject, verb, thing) in enumerate(sentences()):
        text = f"{subject} {verb} {thing}"
        if kind == "sentence":
            lines.append({"text": text, "label": ["good", "bad"][verb in ("hates", "finds")]})
        elif kind == "pair":
            second = f"it is {'very ' * (number % 2)}{'good' if verb == 'likes' else 'bad'}"
            lines.append({"text": text, "pair": second, "label": f"class {number % 2}"})
        elif kind == "regression":
            lines.append({"text": text, "label": float(VERBS.index(verb))})
        elif kind == "tokens":
            words = text.split()
            labels = ["B-who" if i == 0 else "I-who" for i in range(len(subject.split()))] + ["O"]
            labels += ["B-what" if i == 0 else "I-what" for i in range(len(thing.split()))]
            lines.append({"words": words, "labels": labels})
        elif kind == "span":
            who = number % 2
            answer = {"text": subject, "start": 0} if who else {"text": thing, "start": text.index(thing)}
            lines.append({"question": "who ?" if who else "what ?", "context": text, "answers": [answer]})
        elif kind == "choice":
            right = number % 2
            endings = ["it is good", "it is very bad"]
            lines.append({"text": f"{text} {['good', 'bad'][right]}", "endings": endings, "label": right})
    path = folder / f"{kind}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"pair": "sentence"}.get(kind, kind), path


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A small model that knows nothing yet."""
    folder = tmp_path_factory.mktemp("pretrained")
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.08,
    )
    BertForPreTraining(config, "reference", seed=1).save_pretrained(folder)
    Tokenizer(VOCABULARY).save(folder)
    return folder


def config_of(pretrained, folder, kind, out, **changes):
    task, path = write_task(folder, kind)
    if kind == "pair":
        changes["pair_column"] = "pair"
    values = dict(
        run=str(pretrained),
        task=task,
        train=str(path),
        dev=str(path),  # to be learnt by heart
        out=str(out),
        epochs=40,
        batch_size=8,
        learning_rate=2e-3,
        warmup=0.05,
        evaluations=1,
        patience=None,
        max_length=24,
    )
    return FinetuneConfig(**{**values, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentence", "pair", "regression", "tokens", "span", "choice"])
def test_thirty_two_examples_are_learnt_by_heart(pretrained, tmp_path, capsys, kind):
    result = finetune_task(config_of(pretrained, tmp_path, kind, tmp_path / "out"))
    assert next(iter(result.scores.values())) > (0.99 if kind == "regression" else 0.9999)
    for name in (
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "task.json",
        "metrics.jsonl",
        "curves.png",
        "README.md",
    ):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert (tmp_path / "out" / "confusion.png").exists() == (kind in ("sentence", "pair", "tokens"))
    lines = (tmp_path / "out" / "dev_predictions.jsonl").read_text().splitlines()
    assert len(lines) == COUNT
    if kind in ("sentence", "pair", "tokens"):
        examples = [json.loads(line) for line in (tmp_path / f"{kind}.jsonl").read_text().splitlines()]
        labels = [x for example in examples for x in (example["labels"] if kind == "tokens" else [example["label"]])]
        assert result.baseline == max(map(labels.count, labels)) / len(labels)
        assert f"accuracy {result.baseline:.1%} when always predicting" in capsys.readouterr().out
    else:
        assert result.baseline is None
    if kind != "regression":
        first = json.loads(lines[0])
        assert first["answer"] in first["truth"] if kind == "span" else first["answer"] == first["truth"]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Models that know nothing yet: a GPT and an ELMo."""
    parent = tmp_path_factory.mktemp("others")
    shape = BertConfig(
        len(VOCABULARY), 48, 2, 4, 96, is_decoder=True, max_position_embeddings=32, initializer_range=0.08
    )
    GptForCausalLM(replace(shape, hidden_dropout_prob=0.0), "reference", seed=1).save_pretrained(parent / "gpt")
    shape = ElmoConfig(len(VOCABULARY), 24, 2, initializer_range=0.5, max_position_embeddings=32)
    Elmo(shape, "reference", seed=1).save_pretrained(parent / "elmo")
    for folder in parent.iterdir():
        Tokenizer(VOCABULARY).save(folder)
    return parent


def predicted(folder, examples_file):
    """The answers of a fine-tuned model that is loaded from its folder, and those that were saved with it."""
    task = Task.load(folder)
    model, tokenizer = task.model_class.from_pretrained(folder), Tokenizer.load(folder)
    examples = read_examples(task_info(task.name), examples_file)
    answers = [prediction.answer for prediction in predictions_of(model, task.codec(tokenizer), examples)]
    saved = [json.loads(line)["answer"] for line in (folder / "dev_predictions.jsonl").read_text().splitlines()]
    return json.loads(json.dumps(answers)), saved


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "kind", "changes"),
    [
        ("gpt", "sentence", {}),
        ("gpt", "tokens", {"head": "bilstm"}),
        ("gpt", "choice", {}),
        ("gpt", "tokens", {"frozen": True}),
        ("elmo", "sentence", {}),
        ("elmo", "tokens", {}),
        ("elmo", "span", {}),
    ],
)
def test_every_system_is_fine_tuned_and_loaded(others, tmp_path, capsys, model, kind, changes):
    rate = 2e-2 if model == "elmo" or "frozen" in changes else 2e-3
    config = config_of(others / model, tmp_path, kind, tmp_path / "out", learning_rate=rate, **changes)
    result = finetune_task(config)
    assert next(iter(result.scores.values())) > 0.9
    answers, saved = predicted(tmp_path / "out", tmp_path / f"{kind}.jsonl")
    assert answers == saved
    printed = capsys.readouterr().out
    assert ("frozen; bilstm head on layers weighted" in printed) == (model == "elmo" or "frozen" in changes)
    assert (", with a BiLSTM" in printed) == ("head" in changes)


@pytest.mark.parametrize("changes", [{}, {"head": "bilstm"}, {"frozen": True, "layers": "-1", "head": "linear"}])
def test_the_scale_at_which_the_output_layer_starts(pretrained, tmp_path, changes):
    def weights(**options):
        config = config_of(pretrained, tmp_path, "tokens", tmp_path / "out", **changes, **options)
        model = FineTuning(config).model_of(0)
        return (model.output if "frozen" in changes else model.head).weight.value

    assert weights().std() == pytest.approx(0.88 / 48**0.5, rel=0.1)
    assert np.allclose(weights(output_init=0.02) * 50, weights() * 48**0.5)


@pytest.mark.slow
def test_a_student_is_fine_tuned_with_a_teacher(pretrained, tmp_path, capsys):
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    finetune_task(config_of(pretrained, tmp_path, "sentence", teacher, epochs=10))
    with_teacher = dict(teacher=str(teacher), soft_weight=1.0, epochs=10)
    result = finetune_task(config_of(pretrained, tmp_path, "sentence", student, **with_teacher))
    assert result.scores["accuracy"] > 0.9
    one, other = (json.loads((folder / "metrics.jsonl").read_text().splitlines()[0]) for folder in (teacher, student))
    assert one["loss"] != other["loss"]
    for kind, changes, message in (
        ("tokens", {}, "was fine-tuned on another task, sentence"),
        ("sentence", {"frozen": True}, "requires a student whose weights are all trained"),
    ):
        with pytest.raises(ValueError, match=message):
            finetune_task(config_of(pretrained, tmp_path, kind, tmp_path / "no", teacher=str(teacher), **changes))
        assert not (tmp_path / "no").exists()


def test_tuning_looks_at_no_example_of_the_dev_set(pretrained, tmp_path):
    config = config_of(pretrained, tmp_path, "sentence", tmp_path / "out", dev_examples=5)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "dev.jsonl"
    other.write_text('{"text": "the queen sees cold water", "label": "good"}\n')
    assert [example.text for example in read_data(replace(config, dev=str(other)))[1]] == ["the queen sees cold water"]
    train, dev = read_data(replace(config, dev=str(other), tune=True))
    texts = {example.text for example in (*train, *dev)}
    assert (len(train), len(dev)) == (COUNT - 5, 5) and texts == {" ".join(words) for words in sentences()}


def test_rows_that_are_passed_over_are_reported(pretrained, tmp_path, capsys):
    rows = [("the cat sees a tree", "it is good", label) for label in ("neutral", "-", "entailment", "neutral")] * 8
    table = "".join("\t".join(row) + "\n" for row in [("sentence1", "sentence2", "gold_label"), *rows])
    (tmp_path / "train.tsv").write_text(table)
    FineTuning(FinetuneConfig(str(pretrained), "mnli", train=str(tmp_path / "train.tsv")))
    assert "skipped    8 rows (without a label (-): 8)\n" in capsys.readouterr().out
    (tmp_path / "train.jsonl").write_text('{"tokens": ["the", "cat"], "ner_tags": [0, 1]}\n' * 8)
    FineTuning(FinetuneConfig(str(pretrained), "tokens", train=str(tmp_path / "train.jsonl")))
    assert "token F1 counts all of them; --label-names names numbered labels" in capsys.readouterr().out


def test_texts_that_are_cut_off_are_counted(pretrained, tmp_path, capsys):
    rows = ["text,label", *(f"{'the cat sees ' * (number % 2 * 4 + 1)},{number % 3}" for number in range(12))]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    config = FinetuneConfig(str(pretrained), "sentence", train=str(tmp_path / "train.csv"), max_length=16)
    FineTuning(replace(config, dev=config.train))
    printed = capsys.readouterr().out
    assert "truncated  6 training and 6 dev examples are longer than 16 tokens, and cut off; --max-length" in printed
    FineTuning(replace(config, max_length=17))
    assert "truncated" not in capsys.readouterr().out


@pytest.mark.parametrize(("stride", "lost"), [(128, 2), (10, 1)])
def test_answers_that_no_window_holds_are_counted(pretrained, tmp_path, capsys, stride, lost):
    """Windows of 19 tokens: one answer across an edge, one longer than a window, one inside, and none."""
    words = ["the", "cat", "sees", "a", "tree"] * 10
    lines = []
    for first, last in ((18, 20), (0, 25), (3, 5), (0, 0)):
        start = len(" ".join([*words[:first], ""]))
        answers = [{"text": " ".join(words[first:last]), "answer_start": start}] * (last > 0)
        lines.append(json.dumps({"question": "who ?", "context": " ".join(words), "answers": answers}) + "\n")
    (tmp_path / "long.jsonl").write_text("".join(lines))
    path = str(tmp_path / "long.jsonl")
    FineTuning(config_of(pretrained, tmp_path, "span", tmp_path / "out", stride=stride, train=path, dev=path))
    assert f"{lost} of the training questions have an answer that no window holds as a whole" in capsys.readouterr().out


def test_an_elmo_does_not_predict_numbers(others, tmp_path):
    with pytest.raises(ValueError, match="whose weights are all trained; an ELMo is always frozen"):
        finetune_task(config_of(others / "elmo", tmp_path, "regression", tmp_path / "out"))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "head"), [("tokens", "bilstm"), ("sentence", "linear"), ("span", "linear")])
def test_a_frozen_model_gives_features(pretrained, tmp_path, kind, head):
    """The encoder stays bit for bit as it was, and predictions come back from the folder."""
    out = tmp_path / "out"
    result = finetune_task(
        config_of(pretrained, tmp_path, kind, out, frozen=True, layers="weighted", head=head, learning_rate=2e-2)
    )
    assert next(iter(result.scores.values())) > (0.5 if kind == "span" else 0.9)
    from safetensors.numpy import load_file

    before, after = load_file(pretrained / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(np.array_equal(before[f"bert.{name}"], tensor) for name, tensor in after.items())
    answers, saved = predicted(out, tmp_path / f"{kind}.jsonl")
    assert answers == saved


def test_several_seeds_have_a_mean_and_a_deviation(pretrained, tmp_path, capsys):
    changes = dict(seeds=3, epochs=2, learning_rate=1e-3, dev=None, dev_examples=8)
    result = finetune_task(config_of(pretrained, tmp_path, "sentence", tmp_path / "out", **changes))
    printed = capsys.readouterr().out
    accuracies = [scores["accuracy"] for scores in result.all_scores]
    assert f"accuracy {np.mean(accuracies):.1%} ± {np.std(accuracies, ddof=1):.1%}" in printed
    assert result.scores["accuracy"] == max(accuracies)
    assert "24 for training, 8 for evaluation" in printed
    seeds = [json.loads(line)["seed"] for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert sorted(set(seeds)) == [0, 1, 2]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_however_a_batch_is_cut(pretrained, tmp_path):
    weights = []
    for name, accumulate in (("one", 1), ("two", 4)):
        finetune_task(
            config_of(
                pretrained, tmp_path, "tokens", tmp_path / name, epochs=2, accumulate=accumulate, backend="reference"
            )
        )
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    one, two = (np.frombuffer(data[-4000:], np.float32) for data in weights)
    np.testing.assert_allclose(one, two, atol=1e-4)
    assert not np.array_equal(order_of(32, 0, 0), order_of(32, 0, 1))


def test_it_stops_early_and_keeps_the_best(pretrained, tmp_path, capsys):
    """A rate that destroys the model: the best evaluation is an early one, and its weights are those that are kept."""
    config = config_of(pretrained, tmp_path, "sentence", tmp_path / "out", epochs=30, patience=2, learning_rate=0.5)
    finetune_task(config)
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    scores = [line["accuracy"] for line in lines if line["kind"] == "evaluation"]
    assert len(scores) == int(np.argmax(scores)) + 3 < 30
    answers = [json.loads(line) for line in (tmp_path / "out" / "dev_predictions.jsonl").read_text().splitlines()]
    assert np.mean([line["answer"] == line["truth"] for line in answers]) == max(scores)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "bits"), [pytest.param("float16", 11, marks=pytest.mark.thorough), ("bfloat16", 8)]
)
@pytest.mark.parametrize(("kind", "frozen"), [("sentence", False), ("tokens", False), ("tokens", True)])
def test_sixteen_bits_on_the_emulated_gpu_learn_what_thirty_two_do(
    pretrained, tmp_path, gpu, kind, frozen, precision, bits
):
    """The losses differ by a rounding; predictions from the folder, computed in 32 bits, are about those of the GPU."""
    losses, out = [], tmp_path / "gpu"
    of_gpu = dict(backend="gpu", emulate=True, precision=precision)
    for folder, changes in ((tmp_path / "cpu", {}), (out, of_gpu)):
        finetune_task(
            config_of(pretrained, tmp_path, kind, folder, epochs=1, frozen=frozen, layers="weighted", **changes)
        )
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses.append(np.array([line["loss"] for line in lines if line["kind"] == "train"]))
    exact, found = losses
    assert len(exact) == len(found) == 4 and exact.min() < exact[0]
    assert np.abs(found - exact).max() < 2.0**-bits * exact.max()
    answers, saved = predicted(out, tmp_path / f"{kind}.jsonl")
    pairs = list(
        zip(
            *([label for one in side for label in one] if kind == "tokens" else side for side in (answers, saved)),
            strict=True,
        )
    )
    assert sum(a == b for a, b in pairs) >= 0.9 * len(pairs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentence", "tokens", "span", "choice"])
def test_transformers_loads_the_folder_and_gives_the_same_scores(pretrained, tmp_path, kind):
    torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
    transformers = pytest.importorskip("transformers", reason="parity needs the extra `peers`")
    out = tmp_path / "out"
    finetune_task(config_of(pretrained, tmp_path, kind, out, epochs=1))
    task, tokenizer = Task.load(out), Tokenizer.load(out)
    model = task.model_class.from_pretrained(out)
    architecture = json.loads((out / "config.json").read_text())["architectures"][0]
    peer = getattr(transformers, architecture).from_pretrained(out).eval()
    from minibert.tasks.features import task_batch
    from minibert.tasks.readers import read_examples
    from minibert.tasks.registry import task_info

    feature = task.codec(tokenizer).encode(read_examples(task_info(task.name), tmp_path / f"{kind}.jsonl")[:1])[0]
    logits, _ = model.forward(model.prepare(task_batch([feature])).inputs)
    longest = max(len(ids) for ids, _ in feature.sequences)
    padded = np.zeros((3, len(feature.sequences), longest), np.int64)  # ids, segments, mask
    for row, (ids, segments) in enumerate(feature.sequences):
        padded[0, row, : len(ids)], padded[1, row, : len(ids)], padded[2, row, : len(ids)] = ids, segments, 1
    ids, segments, mask = (torch.tensor(array if kind != "choice" else array[None]) for array in padded)
    with torch.no_grad():
        output = peer(input_ids=ids, token_type_ids=segments, attention_mask=mask)
    if kind == "span":
        expected = torch.stack([output.start_logits[0], output.end_logits[0]], dim=1)
    else:
        expected = output.logits[0][feature.rows] if kind == "tokens" else output.logits
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
    if kind in ("sentence", "tokens"):
        assert tuple(peer.config.id2label.values()) == task.labels


@pytest.fixture(scope="module")
def folders(pretrained, tmp_path_factory):
    """A fine-tuned model of each kind."""
    made = {}
    for kind in ("sentence", "pair", "regression", "tokens", "span", "choice"):
        folder = tmp_path_factory.mktemp(kind)
        finetune_task(config_of(pretrained, folder, kind, folder / "out", epochs=4))
        made[kind] = folder / "out"
    return made


class TestPredict:
    """Answers to new text."""

    def ask(self, monkeypatch, capsys, folder, text, *options):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "ascii"))
        assert cli.main(["predict", str(folder), *options]) == 0
        return capsys.readouterr().out

    def test_lines_of_text(self, folders, monkeypatch, capsys):
        got = self.ask(monkeypatch, capsys, folders["sentence"], "the cat hates a tree\n\na dog likes the sea\n")
        lines = [line.split("\t") for line in got.splitlines()]
        assert [line[2] for line in lines] == ["the cat hates a tree", "a dog likes the sea"]
        assert all(line[0] in ("good", "bad") and line[1].endswith("%") for line in lines)
        got = self.ask(monkeypatch, capsys, folders["sentence"], "the cat hates a tree\n", "--n-best", "2")
        assert len(got.splitlines()) == 2

    def test_pairs_have_a_tab(self, folders, monkeypatch, capsys):
        got = self.ask(monkeypatch, capsys, folders["pair"], "the cat hates a tree\tit is bad\n")
        assert got.startswith("class ") and got.endswith("\tthe cat hates a tree\tit is bad\n")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the cat hates a tree\n")))
        assert cli.main(["predict", str(folders["pair"])]) == 2
        assert "standard input, line 1: 1 columns; expected two texts separated by a tab" in capsys.readouterr().err

    def test_numbers(self, folders, monkeypatch, capsys):
        float(self.ask(monkeypatch, capsys, folders["regression"], "the cat hates a tree\n").split("\t")[0])

    def test_words_keep_their_positions(self, folders, monkeypatch, capsys):
        """Also those that have several pieces, none of the vocabulary, or no piece at all."""
        text = "the unseen cats\x00 sees zzz"
        got = self.ask(monkeypatch, capsys, folders["tokens"], text + "\n").splitlines()
        assert [line.split("\t")[0] for line in got] == [*text.split(), ""]
        assert all(line.split("\t")[1] in ("O", "B-who", "I-who", "B-what", "I-what") for line in got[:-1])

    def test_long_sentences_are_read_in_parts(self, folders, monkeypatch, capsys):
        text = " ".join(["the cat sees a tree"] * 30)
        got = self.ask(monkeypatch, capsys, folders["tokens"], text + "\n").splitlines()
        assert [line.split("\t")[0] for line in got[:-1]] == text.split()

    def test_answers_are_cut_from_the_text_as_it_is(self, folders, monkeypatch, capsys):
        """With its own capitals and blanks, also from a text that is longer than a window."""
        context = "The  CAT sees  the House " * 12
        got = self.ask(monkeypatch, capsys, folders["span"], f"who ?\t{context}\n", "--json")
        answer = json.loads(got)
        assert answer["answer"] and answer["answer"] in context
        assert len(answer["others"]) > 3 and all(other["answer"] in context for other in answer["others"])
        shares = [answer["probability"], *(other["probability"] for other in answer["others"])]
        assert sum(shares) == pytest.approx(1) and shares == sorted(shares, reverse=True)

    def test_choices_from_a_file(self, folders, tmp_path, capsys):
        path = tmp_path / "questions.jsonl"
        path.write_text('{"text": "the cat sees a tree good", "endings": ["it is good", "it is very bad"]}\n')
        assert cli.main(["predict", str(folders["choice"]), str(path)]) == 0
        assert capsys.readouterr().out.split("\t")[0] in ("0", "1")

    @pytest.mark.parametrize(("text", "words"), [("", "standard input is empty"), ("\n \n", "standard input is empty")])
    def test_nothing_to_answer(self, folders, monkeypatch, capsys, text, words):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "ascii"))
        assert cli.main(["predict", str(folders["sentence"])]) == 2
        assert words in capsys.readouterr().err

    def test_a_folder_that_was_not_fine_tuned(self, pretrained, capsys):
        assert cli.main(["predict", str(pretrained)]) == 2
        assert "contains no fine-tuned model" in capsys.readouterr().err


FROZEN = ["--task", "sentence", "--train", "{train}", "--frozen"]
BAD = [  # options, words of the message
    (["--task", "mood"], "unknown task 'mood'"),
    (["--task", "sst2"], "--task sst2 (sentiment (SST-2)) requires --train FILE"),
    (["--task", "sotu-era", "--train", "x.tsv"], "comes with its own data"),
    (["--task", "sotu-order"], "it says little about small models; use --task sotu-next instead"),
    (["--task", "sentence", "--train", "none.csv"], "no such file: none.csv"),
    (["--task", "sentence", "--train", "{train}", "--epochs", "0"], "--epochs is 0; expected at least 1"),
    (["--task", "sentence", "--train", "{train}", "--output-init", "0"], "--output-init is 0.0; expected more than 0"),
    (
        ["--task", "sentence", "--train", "{train}", "--dev", "{strange}"],
        "strange.jsonl, line 1: the label 'ugly' does not occur in the training data, which has the labels bad, good",
    ),
    (["--task", "sentence", "--train", "{same}"], "all training examples have the label 'good'"),
    (["--task", "sentence", "--train", "{train}", "--dev-examples", "40"], "too few to hold out 40"),
    (["--task", "regression", "--train", "{train}"], "expected a number"),
    (["--task", "span", "--train", "{train}"], "'context' is missing; the line has text, label"),
    (["--task", "sentence", "--train", "{train}", "--stride", "9"], "--stride cannot act on --task sentence"),
    (["--task", "sentence", "--train", "{train}", "--precision", "float16"], "--precision float16 requires a GPU"),
    (
        ["--task", "regression", "--train", "{train}", "--frozen"],
        "--task regression needs a model whose weights are all trained; omit --frozen",
    ),
    ([*FROZEN, "--layers", "9", "--head", "linear"], "--layers is 9; expected 0"),
    ([*FROZEN, "--layers", "last-four"], "--layers last-four requires at least 4 layers, but the model has 2"),
    ([*FROZEN[:-1], "--soft-weight", "2"], "--soft-weight must be between 0 and 1"),
    ([*FROZEN[:-1], "--teacher", "nowhere/at/all"], "nowhere/at/all is not a folder"),
    (
        [*FROZEN[:-1], "--teacher", ".", "--head", "bilstm"],
        "--teacher requires a student whose weights are all trained",
    ),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(pretrained, tmp_path, monkeypatch, capsys, options, words):
    files = {
        "train": [("the cat sees a tree", "good"), ("a dog hates the sea", "bad")] * 8,
        "strange": [("the cat sees a tree", "ugly")],
        "same": [("the cat sees a tree", "good")] * 4,
    }
    for name, rows in files.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    options = [option.format(**{name: f"{name}.jsonl" for name in files}) for option in options]
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["finetune", str(pretrained), *options, "--out", "out"]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_another_architecture_and_a_taken_folder(pretrained, tmp_path, monkeypatch, capsys):
    (tmp_path / "gpt").mkdir()
    (tmp_path / "gpt" / "config.json").write_text('{"model_type": "gpt2"}')
    _, train = write_task(tmp_path, "sentence")
    assert cli.main(["finetune", str(tmp_path / "gpt"), "--task", "sentence", "--train", str(train)]) == 2
    assert "a model of type 'gpt2'; expected 'bert'" in capsys.readouterr().err
    taken = str(tmp_path / "gpt")
    assert cli.main(["finetune", str(pretrained), "--task", "sentence", "--train", str(train), "--out", taken]) == 2
    assert "is not an empty folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_kill_leaves_no_folder_that_pretends_to_be_finished(pretrained, tmp_path):
    """config.json is written last: where it is, everything is."""
    _, train = write_task(tmp_path, "sentence")
    command = [
        sys.executable,
        "-m",
        "minibert",
        "finetune",
        str(pretrained),
        "--task",
        "sentence",
        "--train",
        str(train),
    ]
    command += ["--out", str(tmp_path / "out"), "--epochs", "100000", "--backend", "reference"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(200):
        time.sleep(0.1)
        if (tmp_path / "out").exists():
            break
    time.sleep(1)
    process.kill()
    process.wait()
    assert (tmp_path / "out").exists() and not (tmp_path / "out" / "config.json").exists()
    assert cli.main(["predict", str(tmp_path / "out"), str(train)]) == 2
