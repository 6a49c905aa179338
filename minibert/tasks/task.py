"""The task of a fine-tuned model, as stored in task.json beside the model, and functions that apply the model."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.files import write_text
from minibert.base.folders import check_finished
from minibert.base.formats import FormatError, with_format, without_format
from minibert.base.json_text import read_json
from minibert.base.numbers import require_finite
from minibert.models import (
    BertConfig,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    TaskModel,
)
from minibert.models.features import FeatureModel
from minibert.nn.config import architecture_of, read_config
from minibert.tasks.codecs import CODECS, Codec, Prediction, SpanCodec
from minibert.tasks.features import Feature, task_batch
from minibert.tasks.metrics import is_bilou, measure
from minibert.tasks.registry import CHOICE, ENTITIES, REGRESSION, SENTENCE, SPAN, TOKENS, task_info
from minibert.text import Tokenizer

FILE = "task.json"
RENAMED: dict[str, str] = {}  # a field's old name in task.json -> its current name
MODELS = {
    SENTENCE: BertForSequenceClassification,
    REGRESSION: BertForSequenceClassification,
    TOKENS: BertForTokenClassification,
    SPAN: BertForQuestionAnswering,
    CHOICE: BertForMultipleChoice,
}
TOKENS_AT_A_TIME = 4096  # the maximum number of tokens per batch in evaluation


@dataclass(frozen=True)
class Task:
    """Everything about a fine-tuned model except its weights."""

    name: str
    labels: tuple[str, ...]
    max_length: int = 128
    pairs: bool | None = False
    """whether the examples are sentence pairs; None: either"""
    columns: tuple[str | None, str | None, str | None] = (None, None, None)
    """the names of the text, pair and label columns; None for a default name"""
    stride: int = 128
    max_answer: int = 30
    n_best: int = 20
    null_threshold: float = 0.0
    may_lack: bool = False
    """whether a text may have no answer"""
    frozen: bool = False
    """whether the model is a FeatureModel: a small model trained on the vectors of a frozen encoder"""

    @property
    def kind(self) -> str:
        return task_info(self.name).kind

    @property
    def model_class(self) -> Any:
        """The class of the task's model: a subclass of TaskModel, or FeatureModel, which has the same interface."""
        return FeatureModel if self.frozen else MODELS[self.kind]

    def codec(self, tokenizer: Tokenizer) -> Codec:
        if self.kind == SPAN:
            return SpanCodec(
                tokenizer,
                self.max_length,
                stride=self.stride,
                longest=self.max_answer,
                best=self.n_best,
                may_lack=self.may_lack,
                null_threshold=self.null_threshold,
            )
        return CODECS[self.kind](tokenizer, self.labels, self.max_length)

    def save(self, folder: Path | str, scores: dict[str, float]) -> None:
        values = with_format(asdict(self) | {"kind": self.kind, "scores": scores})
        write_text(Path(folder) / FILE, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    def check(self) -> None:
        """Raise ValueError, naming the field, for a value of the wrong type or out of range."""
        if not isinstance(self.name, str):
            raise ValueError(f"name is {self.name!r}; expected the name of a task")
        info = task_info(self.name)
        texts = all(isinstance(label, str) for label in self.labels) and len(set(self.labels)) == len(self.labels)
        if not texts or (info.kind in (SENTENCE, TOKENS) and not self.labels):
            raise ValueError(f"labels are {list(self.labels)!r}; expected the names of the classes, each once")
        if len(self.columns) != 3 or not all(name is None or isinstance(name, str) for name in self.columns):
            raise ValueError(f"columns are {list(self.columns)!r}; expected three names or nulls")
        for name, least in (("max_length", 1), ("stride", 0), ("max_answer", 1), ("n_best", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; expected an integer of at least {least}")
        if type(self.null_threshold) not in (int, float) or not math.isfinite(self.null_threshold):
            raise ValueError(f"null_threshold is {self.null_threshold!r}; expected a finite number")
        for name, others in (("pairs", (None,)), ("may_lack", ()), ("frozen", ())):
            if getattr(self, name) not in others and type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected true or false")

    @classmethod
    def load(cls, folder: Path | str) -> "Task":
        """Load the task stored in a folder, or the task of a classifier that `transformers` wrote, which has none.

        Raises FileNotFoundError if the folder contains no fine-tuned model, and ValueError if its fine-tuning has not
        ended, if task.json is damaged or the classifier is of a kind that minibert does not have.
        """
        path = Path(folder) / FILE
        check_finished(folder)
        if not path.is_file() and (found := task_of_classifier(Path(folder))):
            return cls(**found)
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} contains no fine-tuned model ({path} is missing); expected a folder from minibert finetune"
            )
        try:
            values = without_format(read_json(path), path, RENAMED)
            del values["kind"], values["scores"]
            for name in ("labels", "columns"):
                if not isinstance(values.get(name, []), list):
                    raise ValueError(f"{name} is {values[name]!r}; expected a list")
            lists = {name: tuple(values[name]) for name in ("labels", "columns") if name in values}
            task = cls(**values | lists)
            task.check()
            return task
        except FormatError:
            raise
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"{path} is damaged ({error}); fine-tune the model again") from None


ARCHITECTURES = {  # the end of a class's name in transformers -> the kind of task
    "ForSequenceClassification": SENTENCE,
    "ForTokenClassification": TOKENS,
    "ForQuestionAnswering": SPAN,
    "ForMultipleChoice": CHOICE,
}
PROBLEMS = None, "regression", "single_label_classification", "multi_label_classification"


def task_of_classifier(folder: Path) -> dict[str, Any] | None:
    """The arguments of Task for a BERT or DistilBERT classifier that `transformers` wrote; None for other folders.

    Raises ValueError for a config.json that describes another kind of classifier.
    """
    path = folder / "config.json"
    if not path.is_file():
        return None
    values = read_config(folder, "bert", "distilbert", "elmo")
    kind = next((kind for end, kind in ARCHITECTURES.items() if architecture_of(values).endswith(end)), None)
    if kind is None:
        return None
    config, problem = BertConfig.load(folder), values.get("problem_type")
    if problem not in PROBLEMS:
        raise ValueError(f"{path}: problem_type is {problem!r}; expected {', '.join(map(str, PROBLEMS[1:]))} or null")
    if kind == SENTENCE and (problem == "regression" or (problem is None and len(config.labels) == 1)):
        kind = REGRESSION
    if problem == "multi_label_classification" or (kind == REGRESSION and len(config.labels) > 1):
        raise ValueError(
            f"{path}: problem_type is {problem!r} with {len(config.labels)} labels; minibert predicts one class of "
            "several, or one number"
        )
    longest = min(config.max_position_embeddings, Tokenizer.load(folder).model_max_length)
    labels = config.labels if kind in (SENTENCE, TOKENS) else ()
    return {"name": kind, "labels": labels, "max_length": longest, "pairs": None}


def check_complete(model: TaskModel | FeatureModel, folder: Path | str) -> None:
    """Raise ValueError if the weights of the output layer, or of a pooler that it reads, were not in the folder."""
    lacking = [
        name
        for name in getattr(model, "initialised_afresh", ())
        if getattr(model, "pooled", True) or "pooler" not in name
    ]
    if lacking:
        raise ValueError(f"{folder} lacks the weights {', '.join(lacking)}; expected a model that was fine-tuned")


def scores_of(model: TaskModel | FeatureModel, features: Sequence[Feature]) -> list[np.ndarray]:
    """For each feature, in order, the model's scores [R, classes] for the rows that the feature selects.

    Features of similar length are batched together; dropout is off.
    Raises FloatingPointError if scores are NaN or infinite.
    """
    order = sorted(range(len(features)), key=lambda number: -features[number].tokens)
    logits: list[np.ndarray] = [np.empty(0)] * len(features)  # in the order of the features
    begin = 0
    while begin < len(order):
        end, tokens = begin, 0
        while end < len(order) and (end == begin or tokens + features[order[end]].tokens <= TOKENS_AT_A_TIME):
            tokens += features[order[end]].tokens
            end += 1
        chosen = [features[number] for number in order[begin:end]]
        inputs = model.prepare(task_batch(chosen)).inputs
        scores = model.backend.numpy(model.forward(inputs, keep_cache=False)[0]).astype(np.float32)
        rows = [1 if len(feature.sequences) > 1 else len(feature.rows) for feature in chosen]
        for number, part in zip(order[begin:end], np.split(scores, np.cumsum(rows)[:-1]), strict=True):
            logits[number] = require_finite(part, "the model's scores")
        begin = end
    return logits


def predictions_of(
    model: TaskModel | FeatureModel, codec: Codec, examples: Sequence, features: Sequence[Feature] | None = None
) -> list[Prediction]:
    """The model's predictions for the examples; features: their features, if already computed."""
    features = codec.encode(examples) if features is None else features
    return codec.decode(examples, features, scores_of(model, features))


def scores_by_name(task: Task, codec: Codec, examples: Sequence, predictions: Sequence[Prediction]) -> dict[str, float]:
    """The values of the task's metrics for the predictions, by metric name."""
    truth = [codec.truth(example) for example in examples]
    answers = [prediction.answer for prediction in predictions]
    positive = task.labels[-1] if task.labels else None
    metrics = task_info(task.name).metrics
    return measure(metrics, truth, answers, positive, metrics == ENTITIES and is_bilou(task.labels))
