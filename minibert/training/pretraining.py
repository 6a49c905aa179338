"""`minibert pretrain`: a run's data and model, and the actions between the steps of the training loop (loop.py)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minibert.base.progress import require, say
from minibert.data.documents import DocumentSet
from minibert.data.masking import Masking
from minibert.data.pretraining import BatchOptions, LengthPhase, PretrainingData
from minibert.data.shards import Shards
from minibert.models import BertConfig
from minibert.models.bert import Model
from minibert.models.model_card import write_card
from minibert.objectives import Objective
from minibert.ops.threads import use_threads
from minibert.training.advice import when_out_of_memory, when_pretraining_diverged
from minibert.training.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint
from minibert.training.config import PretrainConfig
from minibert.training.continuing import check_options_of_checkpoint, options_for_checkpoint, raise_steps, say_raised
from minibert.training.footprint import footprint
from minibert.training.held_out_evaluation import HeldOut
from minibert.training.interrupts import StopRequest
from minibert.training.loop import Observer, Schedule, TakenStep, train
from minibert.training.memory import keep_freed_memory
from minibert.training.metrics import DIVERGED, RAISED, Metrics, plot_metrics, read_metrics
from minibert.training.model_card import is_default_corpus, pretraining_card
from minibert.training.muon import OPTIMIZERS
from minibert.training.optimizer import AdamWSettings, learning_rate_at
from minibert.training.preparation import (
    check_before_anything_is_written,
    check_lengths,
    load_teacher,
    prepare_model,
    prepare_shards,
    prepare_tokenizer,
)
from minibert.training.runs import discard, how_to_resume, open_run
from minibert.training.step_bar import StepBar
from minibert.training.systems import SYSTEMS, name_of


def pretrain(config: PretrainConfig) -> int:
    """Run `minibert pretrain`.  Returns 0, or 128 + the signal's number when the run was asked to stop.

    Raises ValueError, OSError or FloatingPointError (the loss is NaN or infinite) with a one-line message.
    """
    require("pretrain", "safetensors", "matplotlib", "tqdm", "filelock")
    keep_freed_memory()
    use_threads(config.threads)
    if not config.resume:
        check_before_anything_is_written(config)
    with open_run(config) as run, StopRequest(how_to_resume(run)) as stop:
        try:
            if config.resume:
                check_options_of_checkpoint(run)
            steps_before = raise_steps(config, run)
            pretraining = Pretraining(config, run)
        except Exception:
            if not config.resume:
                discard(run)  # for example because of a mistake in the corpus; leaves no incomplete run behind
            raise
        return pretraining.train(stop, steps_before)


class Pretraining:
    """One run: its training data, its model, and its held-out data."""

    def __init__(self, config: PretrainConfig, run: Path):
        self.config, self.run = config, run
        say("run", f"{run} ({'resumed' if config.resume else 'new'})")
        phases = check_lengths(config)
        tokenizer = prepare_tokenizer(config, run)
        self.system = SYSTEMS[config.model]
        self.teacher = load_teacher(config)
        self.model = prepare_model(config, run, tokenizer, self.teacher)
        self.objective = self.system.objective(self.model, self.teacher, config)
        say("vocabulary", f"{len(tokenizer):,} pieces, {'uncased' if tokenizer.lowercase else 'cased'}")
        shards = prepare_shards(config, run, tokenizer)
        learnt_from, held_out = shards.split(config.held_out, config.tune)
        say_documents(learnt_from, held_out)
        if any(phase.length >= config.pairs_from for phase in phases):
            say_pairs(shards)

        options = BatchOptions(
            config.batch_tokens,
            Masking(config.mask_rate, config.whole_word, config.masked_as),
            config.pairs_from,
            config.random_positions,
        )
        self.data = PretrainingData(learnt_from, tokenizer, phases, config.steps, config.seed, options)
        say_model(self.name, config, self.model, phases)
        settings = AdamWSettings(
            config.beta1, config.beta2, config.adam_eps, config.weight_decay, config.bias_correction, config.clip
        )
        self.optimizer = OPTIMIZERS[config.optimizer](self.model.parameters, settings)
        self.held_out = HeldOut(config, held_out, tokenizer, phases[-1].length)
        self.held_out.count_baselines(learnt_from)

    @property
    def name(self) -> str:
        """The name and size of the model."""
        return name_of(self.config)

    @property
    def objective_of_evaluations(self) -> Objective:
        """The objective whose figures evaluations report."""
        other = self.system.evaluated_as
        return self.objective if other is None else SYSTEMS[other].objective(self.model, None, self.config)

    def train(self, stop: StopRequest, steps_before: int | None = None) -> int:
        """Take the remaining steps, and return the exit code; steps_before: the run's steps before they were raised.

        A resumed run takes the same steps, with the same results, as a run without interruption.
        """
        config = self.config
        first = self.load_last_checkpoint() if config.resume else 0
        if steps_before is not None:
            say_raised(config, steps_before, first)
        schedule = Schedule(
            config.steps,
            config.seed,
            batch=lambda step: self.system.batch_of(self.data.batch(step)).split(config.accumulate),
            learning_rate=lambda step: learning_rate_at(
                step, steps=config.steps, peak=config.learning_rate, warmup=config.warmup
            ),
            first=first,
        )
        metrics = Metrics(self.run, first)
        if steps_before is not None:
            metrics.write(RAISED, first, steps_before=steps_before, steps=config.steps)
        stop.urgent = False
        # no NumPy warnings about overflows, because the watch reports a loss that is NaN or infinite
        with StepBar(config.steps, first) as bar, np.errstate(all="ignore"):
            watch = PretrainingWatch(self, metrics, bar)
            if config.from_ is not None and first == 0:
                watch.evaluate(0)  # what the model knows of this text before it has seen any of it
            step = train(self.objective, self.optimizer, schedule, watch, lambda: stop.signal is not None)
        if step < config.steps:
            say("stopped", f"after step {step:,}, saved; resume with: {stop.how_to_resume}")
            return stop.exit_code
        say("model", f"{self.run} (a Hugging Face model folder); curves: {self.run / 'loss.png'}")
        own = None if is_default_corpus(self.config) else next((text for text, _ in self.held_out.blanks), None)
        say("try", self.system.command_to_try(self.run, own))
        return 0

    def write_card(self, step: int) -> None:
        """Write the model card, README.md, with the scores of the latest evaluation."""
        evaluations = [record for record in read_metrics(self.run) if record["kind"] == "evaluation"]
        held_out = self.held_out
        documents, baselines = (self.data.documents, held_out.documents), held_out.named_baselines
        latest = evaluations[-1] if evaluations else None
        name = self.run.resolve().name
        write_card(
            self.run,
            pretraining_card(name, self.config, self.model, held_out.tokenizer, documents, step, latest, baselines),
        )

    def load_last_checkpoint(self) -> int:
        """Load the newest checkpoint, and return the number of steps done, or 0 if there is no checkpoint."""
        checkpoints = list_checkpoints(self.run)
        step = load_checkpoint(checkpoints[-1], self.model, self.optimizer) if checkpoints else 0
        say("resume", f"from step {step:,} of {self.config.steps:,}")
        return step


class PretrainingWatch(Observer):
    """The actions between the steps of a pre-training run: recording losses, evaluating, and saving."""

    def __init__(self, pretraining: Pretraining, metrics: Metrics, bar: StepBar):
        self.pretraining, self.config, self.run = pretraining, pretraining.config, pretraining.run
        self.metrics, self.bar = metrics, bar

    def took_step(self, step: int) -> None:
        self.bar.took_step()

    def reads_losses(self, step: int, waiting: int) -> bool:
        return step % self.config.log_every == 0

    def read_losses(self, steps: list[TakenStep]) -> None:
        """Record the losses of some steps.  Raises FloatingPointError if a loss is NaN or infinite."""
        data, optimizer = self.pretraining.data, self.pretraining.optimizer
        speed = self.bar.speed(sum(len(part.tokens.token_ids) for step in steps for part in step.batch))
        for step in steps:
            values: dict[str, Any] = dict(length=data.length_at(step.number - 1))
            values |= self.pretraining.objective.figures(step.batch, step.losses)
            values |= dict(learning_rate=step.learning_rate, gradient_norm=float(step.gradient_norm))
            if optimizer.loss_scale is not None and not math.isfinite(values["gradient_norm"]):
                values["gradient_norm"] = None  # float16 overflowed, so the step was skipped and the loss scale halved
            if not all(math.isfinite(value) for value in values.values() if value is not None):
                self.diverged(step.number)
            self.metrics.write("train", step.number, **values, tokens_per_second=round(speed))
        self.bar.show(values, self.pretraining.system.targets[0].key, speed)

    def check_parameters(self, step: int) -> None:
        """Raise FloatingPointError if a parameter is NaN or infinite, as after a step that was far too large."""
        model = self.pretraining.model
        values = model.parameters.masters
        if int(model.backend.xp.isfinite(values).sum()) < values.size:
            self.diverged(step)

    def diverged(self, step: int) -> NoReturn:
        """Record that the run diverged at a step, and raise FloatingPointError."""
        self.metrics.write(DIVERGED, step)
        raise FloatingPointError(when_pretraining_diverged(self.run, step, self.config.learning_rate))

    def evaluates(self, step: int) -> bool:
        return step % self.config.eval_every == 0 or step == self.config.steps

    def evaluate(self, step: int) -> bool:
        """Evaluate on held-out documents and draw the curves; at the end, compare with the baselines."""
        self.check_parameters(step)
        config, held_out, last = self.config, self.pretraining.held_out, step == self.config.steps
        result = held_out.measure(self.pretraining.objective_of_evaluations, step, last)
        self.metrics.write("evaluation", step, **result)
        name, steps = self.pretraining.name, f"{config.steps:,} steps of {config.batch_tokens:,} tokens"
        title = f"minibert pretrain: {name}, {steps}"
        plot_metrics(self.run, title, self.pretraining.system.targets, held_out.baselines)
        if last:
            held_out.compare(result)
        self.bar.restart_clock()
        return False

    def saves(self, step: int, stopping: bool) -> bool:
        return step % self.config.save_every == 0 or step == self.config.steps or stopping

    def save(self, step: int) -> None:
        """Save the model, for `minibert fill` and other commands, then the checkpoint for resuming the run."""
        self.check_parameters(step)
        model = self.pretraining.model
        self.metrics.flush()
        model.save_pretrained(self.run)
        self.pretraining.write_card(step)
        options = options_for_checkpoint(self.config)
        save_checkpoint(self.run, step, model, self.pretraining.optimizer, self.config.keep, options=options)
        self.bar.restart_clock()

    def out_of_memory(self, step: int, batch: list) -> str:
        data, sequences = self.pretraining.data, len(batch[0].tokens.sequence_numbers)
        return when_out_of_memory(
            self.pretraining.name, self.config, sequences, data.sequences_at(step), data.length_at(step)
        )


def say_documents(learnt_from: DocumentSet, held_out: DocumentSet) -> None:
    """Print how many tokens and documents are used for training, and how many are held out."""
    say("corpus", f"{learnt_from.tokens:,} tokens in {len(learnt_from):,} documents for training")
    groups = held_out.groups
    names = ", ".join(groups[:16]) + (", …" if len(groups) > 16 else "")
    say("held out", f"{held_out.tokens:,} tokens in {len(held_out):,} documents: {names}")


def say_pairs(shards: Shards) -> None:
    """Print how many documents take part in sentence pairs, and warn if most have no two sentences of their own."""
    counts = shards.all().sentence_counts
    total, several, cut = len(counts), int(np.count_nonzero(counts > 1)), shards.cut_documents
    pieces = f", {cut:,} of them only because their one sentence was cut" if cut else ""
    say("pairs", f"{several:,} of {total:,} documents take part in sentence pairs{pieces}")
    if 2 * (several - cut) < total:
        say(
            "warning",
            f"only {several - cut:,} of {total:,} documents have two sentences; if they should have more, see "
            "--sentences and --documents",
        )


def say_model(name: str, config: PretrainConfig, model: Model, phases: Sequence[LengthPhase]) -> None:
    """Print the name and shape of the model, and on a GPU also the memory of the most demanding step."""
    shape = model.config
    say(
        "model",
        f"{name}: {shape.summary}, {model.parameters.count:,} parameters, "
        f"{config.backend} backend{', emulated' if config.emulate else ''}, {config.precision}",
    )
    if config.backend == "gpu" and isinstance(shape, BertConfig) and config.teacher is None:
        expected = max(
            footprint(
                shape,
                model.parameters.count,
                -(-(config.batch_tokens // phase.length) // config.accumulate),
                phase.length,
                config.precision,
                (phase.mask_rate or config.mask_rate) if SYSTEMS[config.model].masked else 1.0,
            ).total
            for phase in phases
        )
        say("memory", f"{expected / 1e9:.1f} GB on the device (estimated for one step)")
