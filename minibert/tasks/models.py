"""The model that fine-tuning trains: a pre-trained one with a new output layer, or a small one on frozen vectors."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from minibert.models import BertConfig, Elmo, ElmoConfig, TaskModel
from minibert.models.features import LAST_FOUR, SENTENCES, SPANS, WEIGHTED, WORDS, FeatureModel, load_encoder
from minibert.models.hub import find_model
from minibert.nn.config import BILSTM, LINEAR, model_type_of
from minibert.objectives import TaskDistillation, TaskObjective
from minibert.ops.backend import Backend
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.registry import SENTENCE, SPAN, TOKENS
from minibert.tasks.task import Task
from minibert.text import Tokenizer
from minibert.training.preparation import dtype_of

KIND_OF_FEATURES = {SENTENCE: SENTENCES, TOKENS: WORDS, SPAN: SPANS}  # the kinds of task that --frozen supports
log = logging.getLogger("minibert")


def shape_of(folder: Path) -> Any:
    """The BertConfig or ElmoConfig of a model's folder.  Raises FileNotFoundError or ValueError for other folders."""
    return (ElmoConfig if model_type_of(folder) == Elmo.model_type else BertConfig).load(folder)


def with_defaults(config: FinetuneConfig, shape: Any, kind: str) -> FinetuneConfig:
    """The options with the defaults that depend on the pre-trained model and on the kind of task.

    An ELMo is always frozen, as in its paper, since its two directions meet only in the task's model.
    Raises ValueError for options that the model or the kind of task does not support.
    """
    elmo = isinstance(shape, ElmoConfig)
    frozen = config.frozen or elmo
    if frozen and kind not in KIND_OF_FEATURES:
        why = "an ELMo is always frozen" if elmo else "omit --frozen"
        raise ValueError(f"--task {config.task} needs a model whose weights are all trained; {why}")
    if config.teacher is not None and (frozen or config.head == BILSTM):
        raise ValueError("--teacher requires a student whose weights are all trained, with a linear output layer")
    layers = config.layers or (LAST_FOUR if shape.num_hidden_layers >= 4 and not elmo else WEIGHTED)
    head: Any = config.head or (BILSTM if frozen else LINEAR)
    return replace(config, frozen=frozen, layers=layers, head=head)


def model_maker(
    config: FinetuneConfig, task: Task, source: Path, backend: Backend
) -> Callable[[int], TaskModel | FeatureModel]:
    """A function that makes the model to train; its argument, a seed, determines the initial values that are new.

    config: the options from `with_defaults`; source: the folder of the pre-trained model.
    """
    loading: dict[str, Any] = {"dtype": dtype_of(config.precision), "report": log.info}
    if config.frozen:
        encoder, kind = load_encoder(source, backend, **loading), KIND_OF_FEATURES[task.kind]

        def small(seed: int) -> FeatureModel:
            parts: dict[str, Any] = {"layers": config.layers or WEIGHTED, "head": config.head or BILSTM}
            return FeatureModel(encoder, task.labels, kind=kind, seed=seed, output_init=config.output_init, **parts)

        return small
    changes: dict[str, Any] = {"labels": task.labels} if task.labels else {}
    changes |= {"head": config.head or LINEAR, "output_init": config.output_init}
    return lambda seed: task.model_class.from_pretrained(source, backend, **loading, seed=seed, **changes)


def objective_maker(
    config: FinetuneConfig, task: Task, tokenizer: Tokenizer, backend: Backend
) -> Callable[[Any], TaskObjective]:
    """A function that makes the objective of a model, with a fine-tuned teacher if --teacher names one.

    Raises FileNotFoundError or ValueError for a teacher that was fine-tuned on another task or has another vocabulary.
    """
    if config.teacher is None:
        return TaskObjective
    folder = find_model(config.teacher)
    of_teacher = Task.load(folder)
    if (of_teacher.kind, of_teacher.labels, of_teacher.frozen) != (task.kind, task.labels, False):
        raise ValueError(f"--teacher {config.teacher} was fine-tuned on another task, {of_teacher.name}, or was frozen")
    if Tokenizer.load(folder).vocabulary != tokenizer.vocabulary:
        raise ValueError(f"--teacher {config.teacher} has another vocabulary than the model to train")
    teacher = task.model_class.from_pretrained(folder, backend, dtype=dtype_of(config.precision), report=log.info)
    weights = config.soft_weight, 1 - config.soft_weight
    return lambda model: TaskDistillation(model, teacher, config.temperature, weights)
