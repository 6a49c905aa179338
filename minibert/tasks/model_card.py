"""The model card of a fine-tuned model: its task, its data, how it was trained, and its dev scores."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.data.corpus import SOTU_LICENCE
from minibert.models.model_card import ASK_FOR_LICENCE, Score, card, command_line, metadata_of, score_table
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.registry import CHOICE, REGRESSION, SENTENCE, SPAN, TOKENS, task_info

PIPELINES = {
    SENTENCE: "text-classification",
    REGRESSION: "text-classification",
    TOKENS: "token-classification",
    SPAN: "question-answering",
    CHOICE: "multiple-choice",
}
OWN_DATA = (
    "minibert does not know the licence of these examples. State it here, with where they come from, before you "
    "publish the model."
)


def fine_tuning_card(
    name: str,
    config: FinetuneConfig,
    labels: Sequence[str],
    examples: tuple[int, int],
    scores: Mapping[str, float],
    how_to_use: str,
) -> str:
    """The card of a fine-tuned model.

    name: of its folder; examples: how many it learnt from and was measured on; scores: on the dev set, by the metrics'
    names; how_to_use: a command.
    """
    info = task_info(config.task)
    offline = config.task.startswith("sotu-")
    data = {"name": config.task, "type": config.task} | ({"language": "en"} if offline else {})
    listed = [Score(key.replace(" ", "_"), value, key) for key, value in scores.items()]
    base = Path(config.run).name or config.run
    pipeline = PIPELINES[info.kind]
    metadata = metadata_of(name, pipeline, data, {"type": pipeline, "name": info.title}, listed, base_model=base)
    files = ", ".join(Path(file).name for file in (config.train, config.dev) if file) or "the default corpus"
    defaults = FinetuneConfig(run=config.run, task=config.task, train=config.train)
    names: dict[str, Any] = {
        option: Path(path).name for option in ("train", "dev") if (path := getattr(config, option))
    }
    shown = dataclasses.replace(config, run=base, out=None, threads=None, **names)
    command = command_line("finetune", shown, defaults, ("run",), ("task", "train")) + f" --task {config.task}"
    command += f" --train {shown.train}" if shown.train else ""
    trained = "a new output layer on its frozen vectors" if config.frozen else "all weights"
    sections = {
        "Model": f"{base}, fine-tuned on: {info.title}. Trained: {trained}."
        + (f" Labels: {', '.join(labels)}." if labels else ""),
        "Data": f"{examples[0]:,} examples for training, {examples[1]:,} for evaluation ({files}).\n\n"
        f"Licence of the data: {SOTU_LICENCE if offline else OWN_DATA}",
        "Recipe": f"```\n{command}\n```",
        "Scores": f"On the dev set, by which the best evaluation was chosen.\n\n{score_table(listed)}",
        "Use": f"```\n{how_to_use}\n```",
        "Licence": ASK_FOR_LICENCE,
    }
    return card(f"{name}: {info.title}, fine-tuned with minibert", metadata, sections)
