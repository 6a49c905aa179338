"""A fine-tuning so small that a test can afford many: a model of one thin layer with dropout, 24 invented examples."""

import json

from minibert.models import BertConfig, BertForPreTraining
from minibert.tasks.config import FinetuneConfig
from minibert.text import Tokenizer

WORDS = "the a cat dog bird queen sees likes hates finds house tree apple sea good bad".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
EXAMPLES, EPOCHS, SEEDS, BATCH = 24, 2, 2, 8
STEPS = EPOCHS * -(-EXAMPLES // BATCH)  # of one seed


def write_model(folder, seed=1):
    shape = BertConfig(len(VOCABULARY), 16, 1, 2, 32, max_position_embeddings=16, initializer_range=0.1)
    BertForPreTraining(shape, "reference", seed=seed).save_pretrained(folder)
    Tokenizer(VOCABULARY).save(folder)
    return folder


def write_examples(path):
    lines = []
    for number in range(EXAMPLES):
        subject, verb, thing = (WORDS[2 + number % 4], WORDS[6 + number // 4 % 4], WORDS[10 + number % 3])
        label = ["good", "bad"][(number * number + number // 5) % 2]
        lines.append(json.dumps({"text": f"the {subject} {verb} a {thing}", "label": label}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def small_config(folder, out, **changes) -> FinetuneConfig:
    """Two seeds of two epochs; folder: where write_model and write_examples wrote `model` and `train.jsonl`."""
    values = dict(
        run=str(folder / "model"),
        task="sentence",
        train=str(folder / "train.jsonl"),
        dev=str(folder / "train.jsonl"),
        out=str(out),
        epochs=EPOCHS,
        batch_size=BATCH,
        seeds=SEEDS,
        learning_rate=5e-3,
        max_length=16,
        backend="reference",
    )
    return FinetuneConfig(**{**values, **changes})


def write_all(folder):
    """The model and the examples of small_config."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "model")
    write_examples(folder / "train.jsonl")
    return folder


def contents(folder):
    """The bytes of every file in a folder, by its name there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
