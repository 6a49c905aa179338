"""A run so small that a test can afford many: thirty invented documents, a model of one thin layer."""

import dataclasses
import random

from minibert.training import PretrainConfig

SUBJECTS = "river mountain harbour village garden winter captain sailor teacher farmer".split()
VERBS = "watches follows remembers forgets carries praises guards leaves".split()
ENDINGS = "at dawn,in silence,after the storm,without a word,every year,for the last time".split(",")


def write_corpus(path, documents=30, sentences=12):
    """Blank lines between documents; each document keeps to a few words of its own, so that pairs can be told."""
    generator = random.Random(0)
    texts = []
    for _ in range(documents):
        words = generator.sample(SUBJECTS, 4)
        lines = [
            f"The {generator.choice(words)} {generator.choice(VERBS)} the {generator.choice(words)} "
            f"{generator.choice(ENDINGS)}."
            for _ in range(sentences)
        ]
        texts.append("\n".join(lines))
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return path


def tiny_config(corpus, out, **changes) -> PretrainConfig:
    """Twelve steps with dropout, two lengths and pairs: everything that a resumed run has to get right."""
    values = dict(
        corpus=(str(corpus),),
        out=str(out),
        vocab_size=120,
        max_positions=40,
        steps=12,
        batch_tokens=128,
        lengths=("8:0.5", "32:0.5"),
        nsp_from=32,
        dropout=0.1,
        eval_every=6,
        eval_pairs=8,
        final_pairs=8,
        save_every=4,
        log_every=5,
    )
    return dataclasses.replace(PretrainConfig(), **{**values, **changes})


def losses_of(records):
    """What must be equal, bit for bit, in two runs that are the same: all but the time."""
    return [{key: value for key, value in record.items() if key != "tokens_per_second"} for record in records]


PRESET = (1, 16, 2)  # layers, width, heads: what the tests put in the place of "tiny"
