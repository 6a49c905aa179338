"""The speed of a student beside its teacher's: both without heads, in one process, in turns."""

import dataclasses

from minibert.experiments.speeds import VOCABULARY, Contender, Speed, by_case, measure
from minibert.models import Bert, BertConfig, DistilBertForMaskedLM, student_config
from minibert.ops import load_backend

TEACHER_LAYERS = 4
CASES = (1, 32), (1, 128), (16, 128)  # sequences, length
TEACHER, STUDENT = "teacher", "student"


def speeds(backend_name: str) -> list[Speed]:
    """The speeds of a teacher of four layers and of its student."""
    backend = load_backend(backend_name)
    config = dataclasses.replace(BertConfig.preset("tiny", VOCABULARY), num_hidden_layers=TEACHER_LAYERS)
    models = Bert(config, backend), DistilBertForMaskedLM(student_config(config), backend)
    return measure([Contender(name, model) for name, model in zip((TEACHER, STUDENT), models, strict=True)], CASES)


def markdown(speeds: list[Speed]) -> str:
    """A table: for each use and case, both speeds and how much faster the student is."""
    lines = [
        "| use | sequences | length | teacher, tokens/s | student, tokens/s | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for (use, batch, length), both in by_case(speeds).items():
        slow, fast = both[TEACHER].tokens_per_second, both[STUDENT].tokens_per_second
        lines.append(f"| {use} | {batch} | {length} | {slow:,.0f} | {fast:,.0f} | {fast / slow:.2f} |")
    return "\n".join(lines) + "\n"
