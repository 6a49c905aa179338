"""`minibert finetune`: fine-tune a pre-trained model on a task, and save the resulting model in a folder."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.files import write_text
from minibert.base.folders import UNFINISHED
from minibert.base.progress import progress_bar, require, say, write_line
from minibert.data.held_out import HELD_OUT_SHARE
from minibert.data.task_batch import TaskBatch
from minibert.models import TaskModel
from minibert.models.features import FeatureModel
from minibert.models.hub import find_model
from minibert.models.model_card import write_card
from minibert.nn.config import BILSTM, LINEAR
from minibert.ops import load_backend
from minibert.ops.devices import why_not_in
from minibert.ops.threads import use_threads
from minibert.tasks.codecs import labels_of
from minibert.tasks.config import FinetuneConfig, usual_rate
from minibert.tasks.features import task_batch, truncated
from minibert.tasks.metrics import OUTSIDE, is_bilou
from minibert.tasks.model_card import fine_tuning_card
from minibert.tasks.models import model_maker, objective_maker, shape_of, with_defaults
from minibert.tasks.options import check_options
from minibert.tasks.plots import MOST_CLASSES, plot_confusion, plot_curves
from minibert.tasks.readers import read_examples
from minibert.tasks.readers.report import skipped
from minibert.tasks.record import record, write_metrics
from minibert.tasks.registry import CHOICE, ENTITIES, REGRESSION, SENTENCE, SPAN, TOKENS, OwnColumns, task_info
from minibert.tasks.sotu import QUESTION, sotu_examples
from minibert.tasks.task import Task, predictions_of, scores_by_name, scores_of
from minibert.tasks.unfinished import check_resumable, checksums, finish, how_to_resume, open_folder
from minibert.text import Tokenizer
from minibert.training.config import OPTIONS, PretrainConfig
from minibert.training.finetuning import History, Recipe, fine_tune, steps_of
from minibert.training.interrupts import StopRequest
from minibert.training.memory import keep_freed_memory
from minibert.training.progress import Progress

TRY = {  # texts for the tasks of the default corpus
    "sotu-shuffled": "we must to friendship the strengthen between our two nations",
    "sotu-punctuation": "and so my fellow citizens of the world ask not what america will do",
    "sotu-replaced": f"{QUESTION}\\tWe must strengthen the of between our two nations.",
}
SPLIT_SEED = 1810  # seed for choosing held-out examples; the choice is the same for all training seeds


@dataclass(frozen=True)
class Result:
    """The results of fine-tuning."""

    folder: Path
    scores: dict[str, float]
    """the dev-set scores of the best seed, by metric"""
    all_scores: tuple[dict[str, float], ...]
    """the dev-set scores of each seed, by metric"""
    seconds: float
    """the total time for training and evaluating with all seeds, in seconds"""
    baseline: float | None
    """the accuracy of always predicting the most frequent class of the dev set; None for a task without classes"""


def finetune(config: FinetuneConfig) -> None:
    """Run `minibert finetune`."""
    finetune_task(config)


def finetune_task(config: FinetuneConfig) -> Result:
    """Fine-tune a model and return the results.

    Raises ValueError, OSError, RuntimeError or FloatingPointError with a one-line message, and Stopped if a signal
    asked it to stop.
    """
    require("finetune", "safetensors", "matplotlib", "tqdm", "filelock")
    keep_freed_memory()
    use_threads(config.threads)
    if config.resume:
        check_resumable(config)
    tuning = FineTuning(config)  # validates model and data before creating any output
    with open_folder(config, tuning.made_from) as folder, StopRequest(how_to_resume(folder)) as stop:
        return tuning.run(folder, stop)


class FineTuning:
    """One fine-tuning run: loads the data and the pre-trained model, trains with each seed, and saves the best."""

    def __init__(self, config: FinetuneConfig):
        check_options(config)
        self.info, self.given = task_info(config.task), config
        self.source = find_model(config.run, config.revision)
        self.shape = shape_of(self.source)
        self.config = config = with_defaults(config, self.shape, self.info.kind)
        self.tokenizer = Tokenizer.load(self.source)
        passed_over: Counter = Counter()
        train, self.dev = read_data(config, passed_over)
        self.learnt_from = len(train)
        self.task = make_task(config, train, self.dev, self.shape)
        self.codec = self.task.codec(self.tokenizer)
        self.train_features = self.codec.encode(train)
        self.dev_features = self.codec.encode(self.dev)
        if config.accumulate > config.batch_size:
            raise ValueError(f"--accumulate {config.accumulate} exceeds --batch-size {config.batch_size}")
        self.backend = load_backend(config.backend, emulate=config.emulate, tf32=config.precision == "tf32")
        if reason := why_not_in(self.backend, config.precision):
            raise RuntimeError(reason)
        self.model_of = model_maker(config, self.task, self.source, self.backend)
        self.objective_of = objective_maker(config, self.task, self.tokenizer, self.backend)
        self.recipe = Recipe(
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate or usual_rate(config.frozen, self.shape.hidden_size),
            warmup=config.warmup,
            weight_decay=config.weight_decay,
            clip=config.clip,
            evaluations=config.evaluations,
            patience=config.patience,
            accumulate=config.accumulate,
        )
        # load the weights once, to check that they exist and fit
        objective = self.objective_of(self.model_of(config.seed))
        truth = [self.task.labels, *map(self.codec.truth, self.dev)]
        self.made_from = checksums(objective, [*self.train_features, *self.dev_features], truth)
        say("task", f"{config.task}: {self.info.title}")
        say("examples", f"{len(train):,} for training, {len(self.dev):,} for evaluation" + self.in_sequences(train))
        if passed_over:
            say("skipped", skipped(passed_over))
        if note := truncated(config.max_length, training=self.train_features, dev=self.dev_features):
            say("truncated", f"{note}; --max-length sets another length")
        if self.info.kind == SPAN and (lost := answers_in_no_window(train, self.train_features)):
            say(
                "answers",
                f"{lost:,} of the training questions have an answer that no window holds as a whole, and teach that "
                f"it is absent; lower --stride (now {config.stride}) or raise --max-length (now {config.max_length})",
            )
        if self.info.kind == TOKENS and self.info.metrics != ENTITIES and OUTSIDE not in self.task.labels:
            say("labels", f"none is {OUTSIDE}, so token F1 counts all of them; --label-names names numbered labels")
        if self.task.labels and self.info.kind != REGRESSION:
            say("classes", class_sizes(self.info.kind, self.dev))
        say(
            "model",
            f"{config.run}: {self.shape.num_hidden_layers} layers, {self.shape.hidden_size} wide, "
            f"{config.backend} backend{', emulated' if config.emulate else ''}, {config.precision}"
            + (f", frozen; {config.head} head on layers {config.layers}" if config.frozen else "")
            + (", with a BiLSTM" if config.head == BILSTM and not config.frozen else ""),
        )

    def in_sequences(self, train: Sequence) -> str:
        """A note on the number of sequences, if long examples were split into several; otherwise an empty string."""
        made = len(self.train_features), len(self.dev_features)
        return "" if made == (len(train), len(self.dev)) else f" (split into {made[0]:,} and {made[1]:,} sequences)"

    def run(self, folder: Path, stop: StopRequest) -> Result:
        """Train a model with each seed, save the best one in `folder`, and return the results.

        Raises Stopped when it was asked to stop.
        """
        config = self.config
        steps = steps_of(len(self.train_features), self.recipe)
        progress = Progress(folder / UNFINISHED, config.seed, steps, stop)
        if config.resume:
            say("resume", f"from step {progress.steps_done:,} of {steps * config.seeds:,}")
        stop.urgent = False
        all_scores = [scores_at_best(history) for _, history in progress.histories]
        for seed in range(progress.seed, config.seed + config.seeds):
            model = self.model_of(seed)
            history = self.learn(model, seed, progress)
            scores = scores_at_best(history)
            if all(first(scores) > first(others) for others in all_scores):
                self.save(folder, model, scores)
            all_scores.append(scores)
            progress.ended(history)
            write_metrics(folder, progress.histories)
            replace(config, learning_rate=self.recipe.learning_rate).save(folder)
        title = f"minibert finetune: {self.info.title}, from {Path(config.run).name or config.run}"
        plot_curves(folder / "curves.png", title, progress.histories)
        best = max(all_scores, key=first)
        baseline = self.summarise(folder, all_scores, best, progress.seconds)
        finish(folder)
        return Result(folder, best, tuple(all_scores), progress.seconds, baseline)

    def learn(self, model: TaskModel | FeatureModel, seed: int, progress: Progress) -> History:
        """Train one model with the given seed, evaluating it on the dev set; returns the History."""
        recipe = replace(self.recipe, seed=seed)
        steps = steps_of(len(self.train_features), recipe)

        def evaluate() -> dict[str, float]:
            predictions = self.codec.decode(self.dev, self.dev_features, scores_of(model, self.dev_features))
            return scores_by_name(self.task, self.codec, self.dev, predictions)

        def on_evaluation(history: History) -> None:
            step, epochs, scores = history.evaluations[-1]
            recent = [loss for _, loss in history.losses[-100:]]
            mark = "  (best so far)" if history.best == len(history.evaluations) - 1 else ""
            write_line(
                f"seed {seed}, epoch {epochs:.3g}, step {step:,}: training loss {np.mean(recent):.3f}, "
                f"dev {as_text(scores)}{mark}"
            )

        with progress_bar(desc=f"seed {seed}", unit="step", total=steps, dynamic_ncols=True) as bar:

            def on_step(step: int, loss: float) -> None:
                bar.set_postfix({"loss": f"{loss:.3f}"}, refresh=False)
                bar.update(step - bar.n)

            return fine_tune(
                self.objective_of(model),
                self.train_features,
                batch_of,
                evaluate,
                recipe,
                on_step=on_step,
                on_evaluation=on_evaluation,
                keeper=progress,
            )

    def save(self, folder: Path, model: TaskModel | FeatureModel, scores: dict[str, float]) -> None:
        """Save the fine-tuned model in `folder`, writing config.json last to mark the folder as complete."""
        predictions = predictions_of(model, self.codec, self.dev, self.dev_features)
        lines = [
            json.dumps(record(self.codec, *pair), ensure_ascii=False)
            for pair in zip(self.dev, predictions, strict=True)
        ]
        write_text(folder / "dev_predictions.jsonl", "\n".join(lines) + "\n")
        if self.info.kind in (SENTENCE, TOKENS) and len(self.task.labels) <= MOST_CLASSES:
            said = flat(self.info.kind, [prediction.answer for prediction in predictions])
            title = f"{self.info.title}: dev set"
            plot_confusion(folder / "confusion.png", title, self.task.labels, self.true_classes(), said)
        self.tokenizer.save(folder)
        self.task.save(folder, scores)
        examples, how_to_use = (self.learnt_from, len(self.dev)), how_to_predict(self.task, Path("FOLDER"))
        given = replace(self.given, frozen=self.config.frozen, resume=False)
        elsewhere = not self.config.frozen and self.config.head == LINEAR and not self.shape.is_decoder
        name = folder.resolve().name
        write_card(folder, fine_tuning_card(name, given, self.task.labels, examples, scores, how_to_use, elsewhere))
        model.save_pretrained(folder)

    def true_classes(self) -> list:
        """The correct classes of all sentences or words in the dev set."""
        return flat(self.info.kind, [self.codec.truth(example) for example in self.dev])

    def summarise(
        self, folder: Path, all_scores: Sequence[dict[str, float]], best: dict[str, float], seconds: float
    ) -> float | None:
        """Print the results; returns the accuracy of always predicting the most frequent class, or None."""
        config = self.config
        for name in best:
            values = np.array([scores[name] for scores in all_scores])
            spread = (
                f" ± {values.std(ddof=1):.1%} (standard deviation over {len(values)} seeds)" if len(values) > 1 else ""
            )
            say("result", f"{name} {values.mean():.1%}{spread}")
        baseline = None
        if self.info.kind in (SENTENCE, TOKENS):
            truth = self.true_classes()
            label, count = Counter(truth).most_common(1)[0]
            baseline = count / len(truth)
            say("baseline", f"accuracy {baseline:.1%} when always predicting {label!r}")
        times = "once" if config.seeds == 1 else f"{config.seeds} times"
        say("time", f"{seconds:.0f} s to train {times}, up to {config.epochs} passes over the examples each")
        pictures = "curves.png" + (", confusion.png" if (folder / "confusion.png").exists() else "")
        say("model", f"{folder} (a Hugging Face model folder); pictures: {pictures}")
        say("try", how_to_predict(self.task, folder))
        return baseline


def batch_of(features: Sequence, number: int, whole: Sequence) -> TaskBatch:
    """The micro-batch of `features`; number: the index of the first of them within `whole`, the whole batch."""
    return task_batch(features, number, sum(len(feature.labels) for feature in whole))


# ------------------------------------------------------------------------------------------------ the data


def read_data(config: FinetuneConfig, passed_over: Counter | None = None) -> tuple[list, list]:
    """Read the training and dev examples; passed_over: counts the rows that are passed over.

    Without a dev file, or with --tune, some of the training examples are held out as dev examples.
    """
    info = task_info(config.task)
    if config.task.startswith("sotu-"):
        train, dev = sotu_examples(config.task, held_out_share(config.run))
    else:
        columns = OwnColumns(config.text_column, config.pair_column, config.label_column, config.names_of_labels)
        assert config.train is not None  # FinetuneConfig checks this
        train = read_examples(info, config.train, columns, passed_over=passed_over)
        dev = read_examples(info, config.dev, columns, passed_over=passed_over) if config.dev else []
    if not dev or config.tune:
        count = config.dev_examples or max(round(config.dev_share * len(train)), 1)
        if count >= len(train):
            raise ValueError(
                f"{config.train or config.task} has only {len(train)} examples, too few to hold out {count}"
                + ("" if config.tune else "; give a --dev file")
            )
        order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
        dev = [train[number] for number in sorted(order[:count])]
        train = [train[number] for number in sorted(order[count:])]
    if config.train_examples is not None:
        order = np.random.default_rng(SPLIT_SEED).permutation(len(train))[: config.train_examples]
        train = [train[number] for number in sorted(order)]
    return train, dev


def held_out_share(run: str) -> float:
    """The share of the corpus that the pre-training run `run` held out, or the default share for any other model."""
    return PretrainConfig.load(run).held_out if (Path(run) / OPTIONS).is_file() else HELD_OUT_SHARE


def make_task(config: FinetuneConfig, train: list, dev: list, shape: Any) -> Task:
    """Create the Task, taking its classes from the examples if necessary.

    Raises ValueError if the examples are inconsistent.
    """
    info = task_info(config.task)
    if info.kind in (SENTENCE, REGRESSION) and len({example.pair is None for example in train}) > 1:
        raise ValueError(f"{config.train} mixes pairs and single sentences; expected only one kind")
    if info.kind == CHOICE:
        check_endings([*train, *dev])
    labels = labels_of(info.kind, train, info.labels)
    if info.metrics == ENTITIES:
        is_bilou(labels)
    may_lack = info.kind == SPAN and any(not example.answers for example in train)
    if config.null_threshold and not may_lack:
        raise ValueError("--null-threshold cannot act: every training question has an answer; omit it")
    return Task(
        config.task,
        labels,
        min(config.max_length, shape.max_position_embeddings),
        pairs=getattr(train[0], "pair", None) is not None,
        columns=(config.text_column, config.pair_column, config.label_column),
        stride=config.stride,
        max_answer=config.max_answer,
        n_best=config.n_best,
        null_threshold=config.null_threshold,
        frozen=config.frozen,
        may_lack=may_lack,
    )


def check_endings(examples: list) -> None:
    """Raise ValueError unless all examples of a choice have as many endings as the first."""
    count = len(examples[0].endings)
    for example in examples:
        if len(example.endings) != count:
            raise ValueError(
                f"{example.where}: {len(example.endings)} endings; expected {count}, as in the first example"
            )


def answers_in_no_window(examples: Sequence, features: Sequence) -> int:
    """The number of questions whose first answer no feature labels, so that all of them point at [CLS].

    Such an answer is longer than a window, lies across the edges of all windows, or covers no token.
    """
    found = {feature.example for feature in features if feature.labels is not None and feature.labels.any()}
    return sum(bool(example.answers) and number not in found for number, example in enumerate(examples))


def class_sizes(kind: str, examples: list) -> str:
    """A text with the share of each of the most frequent classes in the dev examples."""
    labels = [label for e in examples for label in (e.labels if kind == TOKENS else [e.label])]
    counts = Counter(labels).most_common()
    shown = ", ".join(f"{label} {count / len(labels):.1%}" for label, count in counts[:8])
    return f"{shown}{', …' if len(counts) > 8 else ''} (of the dev set)"


def flat(kind: str, answers: Sequence) -> list:
    """All classes in one flat list; for a word-labelling task, each answer is itself a sequence of classes."""
    return [label for labels in answers for label in labels] if kind == TOKENS else list(answers)


def scores_at_best(history: History) -> dict[str, float]:
    return history.evaluations[history.best][2]


def first(scores: dict[str, float]) -> float:
    return next(iter(scores.values()))


def as_text(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {score:.1%}" for name, score in scores.items())


def how_to_predict(task: Task, folder: Path) -> str:
    """An example command line that runs the model in `folder` on new text."""
    if task.name in TRY:
        return f'printf "{TRY[task.name]}\\n" | minibert predict {folder}'
    if task.kind == SPAN:
        return f'printf "QUESTION\\tTEXT\\n" | minibert predict {folder}'
    if task.kind == CHOICE:
        return f"minibert predict {folder} FILE.jsonl"
    example = "FIRST TEXT\\tSECOND TEXT" if task.pairs else "SOME TEXT"
    return f'printf "{example}\\n" | minibert predict {folder}'
