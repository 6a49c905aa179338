"""The model card of a fine-tuned model: the task, the data, the training, and the scores on the dev set."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.base.markup import code_block, in_markdown
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
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
OWN_DATA = (
    "minibert does not know the licence of these examples. State it here, together with their source, before you "
    "publish the model."
)


def fine_tuning_card(
    name: str,
    config: FinetuneConfig,
    labels: Sequence[str],
    examples: tuple[int, int],
    scores: Mapping[str, float],
    how_to_use: str,
    loads_elsewhere: bool = True,
) -> str:
    """The text of the model card for a fine-tuned model.

    name: the name of the model's folder; labels: the task's classes; examples: the numbers of training and dev
    examples; scores: metric name -> score on the dev set; how_to_use: an example command; loads_elsewhere: whether
    transformers computes the same from the folder.
    """
    info = task_info(config.task)
    offline = config.task.startswith("sotu-")
    data = {"name": config.task, "type": config.task} | ({"language": "en"} if offline else {})
    listed = [Score(key.replace(" ", "_"), value, key) for key, value in scores.items()]
    published = bool(HUB_NAME.fullmatch(config.run)) and not Path(config.run).exists()
    base = config.run if published else Path(config.run).resolve().name
    pipeline = PIPELINES[info.kind]
    others = {"base_model": base} if published else {}
    metadata = metadata_of(name, pipeline, data, {"type": pipeline, "name": info.title}, listed, **others)
    if not loads_elsewhere:  # transformers would load only a part of the model, or compute something else
        del metadata["library_name"], metadata["pipeline_tag"]
    files = (
        ", ".join(in_markdown(Path(file).name) for file in (config.train, config.dev) if file) or "the default corpus"
    )
    defaults = FinetuneConfig(run=config.run, task=config.task, train=config.train)
    names: dict[str, Any] = {
        option: Path(path).name for option in ("train", "dev", "teacher") if (path := getattr(config, option))
    }
    shown = dataclasses.replace(config, run=base, out=None, threads=None, **names)
    command = command_line("finetune", shown, defaults, ("run",), always=("task", "train"))
    trained = "a new output layer on frozen vectors" if config.frozen else "all weights"
    sections = {
        "Model": f"{in_markdown(base)}, fine-tuned on: {info.title}. Trained: {trained}."
        + (f" Labels: {', '.join(map(in_markdown, labels))}." if labels else ""),
        "Data": f"{examples[0]:,} examples for training, {examples[1]:,} for evaluation ({files}).\n\n"
        f"Licence of the data: {SOTU_LICENCE if offline else OWN_DATA}",
        "Recipe": code_block(command),
        "Scores": f"On the dev set, which was also used to choose the best checkpoint.\n\n{score_table(listed)}",
        "Use": code_block(how_to_use),
        "Licence": ASK_FOR_LICENCE,
    }
    return card(f"{name}: {info.title}, fine-tuned with minibert", metadata, sections)
