"""The model card of a pre-training run: its data, its recipe, and its scores on held-out text."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.base.markup import code_block, in_markdown
from minibert.data.corpus import DEFAULT_CORPUS, SOTU_LICENCE
from minibert.data.documents import DocumentSet
from minibert.models.bert import Model
from minibert.models.model_card import (
    ASK_FOR_LICENCE,
    Score,
    card,
    command_line,
    metadata_of,
    score_table,
)
from minibert.text import Tokenizer
from minibert.training.config import HOW_IT_WAS_CALLED, OPTIONS, PretrainConfig
from minibert.training.muon import OPTIMIZERS
from minibert.training.systems import SYSTEMS, System, name_of

ADDRESSES = {"name": "State of the Union addresses", "type": "sotu", "language": "en"}
UNKNOWN_LICENCE = (
    "minibert does not know the licence of these texts. State it here, together with their source, before you publish "
    "the model."
)
HOW_TO_USE = """{command}

In Python: `minibert.{name}.from_pretrained(FOLDER)`"""
LIMITS = """The model reflects what its text says and omits, and the views and errors of its authors and times.
It was evaluated only on held-out text from the same source. Do not use it to make decisions about people."""


def pretraining_card(
    name: str,
    config: PretrainConfig,
    model: Model,
    tokenizer: Tokenizer,
    documents: tuple[DocumentSet, DocumentSet],
    step: int,
    evaluation: Mapping[str, Any] | None,
    baselines: Mapping[str, float],
) -> str:
    """The model card of a run after step `step`.

    name: the name of the run; documents: the training documents and the held-out documents; evaluation: the figures and
    the `step` of the latest evaluation, or None before the first evaluation; baselines: accuracies of the count-based
    baselines on the same masked tokens, by name.
    """
    system = SYSTEMS[config.model]
    data = ADDRESSES if is_default_corpus(config) else {"name": "your own text", "type": "text"}
    scores = scores_of(system, evaluation)
    title = f"{name}: {name_of(config)}, pre-trained with minibert"
    task = {"type": system.pipeline, "name": system.targets[0].name}
    metadata = metadata_of(name, system.pipeline, data, task, scores)
    use = HOW_TO_USE.format(command=code_block(system.command_to_try("FOLDER")), name=type(model).__name__)
    if model.huggingface_class:
        use += f", or `transformers.{model.huggingface_class}.from_pretrained(FOLDER)`"
    else:
        del metadata["library_name"], metadata["pipeline_tag"]
    sections = {
        "Model": describe_model(system, model, tokenizer),
        "Data": describe_data(config, *documents),
        "Recipe": describe_recipe(config, step),
        "Scores": describe_scores(system, evaluation, scores, baselines),
        "Use": f"{use}.",
        "Limits": LIMITS,
        "Licence": ASK_FOR_LICENCE,
    }
    return card(title, metadata, sections)


def scores_of(system: System, evaluation: Mapping[str, Any] | None) -> list[Score]:
    names = {}
    for target in system.targets:
        what = " predicted" if target.tokens else f": {target.unit} classified"
        names[f"{target.key}_accuracy"] = "accuracy", f"{target.name}{what} correctly"
        names[f"{target.key}_loss"] = "cross_entropy", target.figures[f"{target.key}_loss"]
    names["bits_per_byte"] = "bits_per_byte", "bits per byte of text"
    known = evaluation or {}
    return [Score(metric, known[key], name) for key, (metric, name) in names.items() if known.get(key) is not None]


def describe_model(system: System, model: Model, tokenizer: Tokenizer) -> str:
    shape = model.config
    return (
        f"{system.title}, {shape.summary}, {model.parameters.count:,} parameters, up to "
        f"{shape.max_position_embeddings} positions; {'an uncased' if tokenizer.lowercase else 'a cased'} WordPiece "
        f"vocabulary of {len(tokenizer):,} pieces."
    )


def describe_data(config: PretrainConfig, learnt_from: DocumentSet, held_out: DocumentSet) -> str:
    """Describe the data: sources, sizes, what is held out, and the licence if it is known."""
    names = names_of(config.corpus) or (DEFAULT_CORPUS,)
    groups: Sequence[str] = held_out.groups
    listed = ", ".join(map(in_markdown, names))
    some = ", ".join(map(in_markdown, groups[:16])) + (", …" if len(groups) > 16 else "")
    licence = SOTU_LICENCE if is_default_corpus(config) else UNKNOWN_LICENCE
    return (
        f"Source: {listed}. Learnt from {learnt_from.tokens:,} tokens in {len(learnt_from):,} documents; "
        f"held out: {held_out.tokens:,} tokens in {len(held_out):,} documents ({some}).\n\n"
        f"Licence of the data: {licence}"
    )


def is_default_corpus(config: PretrainConfig) -> bool:
    return set(config.corpus or (DEFAULT_CORPUS,)) == {DEFAULT_CORPUS}


def names_of(sources: Sequence[str]) -> tuple[str, ...]:
    """The names of files and folders, without their paths on this machine."""
    return tuple(Path(source).name or source for source in sources)


def describe_recipe(config: PretrainConfig, step: int) -> str:
    """Describe the recipe: the command, and the numbers that a reader looks for first."""
    vocabulary = config.vocab and Path(config.vocab).name
    teacher = config.teacher and Path(config.teacher).resolve().name
    source = config.from_ and (Path(config.from_).name or config.from_)
    shown = dataclasses.replace(config, corpus=names_of(config.corpus), vocab=vocabulary, teacher=teacher, from_=source)
    command = command_line("pretrain", shown, config.left_out(), ("corpus",), HOW_IT_WAS_CALLED)
    weights = ", ".join(f"{weight:g}" for weight in config.loss_weights)
    progress = "" if step == config.steps else f" So far, {step:,} of these steps have been taken."
    return (
        f"{SYSTEMS[config.model].recipe.format(**vars(config), weights=weights)} "
        f"{config.steps:,} steps of {config.batch_tokens:,} tokens, phases {' '.join(config.lengths)} "
        f"(length:share:mask rate); {OPTIMIZERS[config.optimizer].name}, peak rate {config.learning_rate:g}, "
        f"betas {config.beta1:g} and {config.beta2:g}, decay {config.weight_decay:g}, "
        f"gradients clipped to {config.clip:g}, dropout {config.dropout:g}, seed "
        f"{config.seed}, {config.precision}.{progress}\n\n{code_block(command)}\n\nAll options: `{OPTIONS}`."
    )


def describe_scores(
    system: System, evaluation: Mapping[str, Any] | None, scores: Sequence[Score], baselines: Mapping[str, float]
) -> str:
    """Describe the held-out scores, and the scores of the count-based baselines on the same tokens."""
    if not scores or evaluation is None:
        return score_table(())
    unit = system.targets[0].unit
    counted = [Score("accuracy", value, f"{unit} predicted by counting: {name}") for name, value in baselines.items()]
    return f"On held-out text after step {evaluation['step']:,}.\n\n{score_table([*scores, *counted])}"
