"""`minibert pretrain`: what a run learns from, and what it does between two steps of the loop (loop.py)."""

import math
import time
from pathlib import Path

import numpy as np

from minibert.base.progress import progress_bar, require, say, write_line
from minibert.data.baselines import baselines
from minibert.data.pretraining import BatchOptions, PretrainingData, evaluation_batches
from minibert.inference import fill_mask
from minibert.objectives import MaskedLmAndNextSentence
from minibert.ops.threads import use_threads
from minibert.training.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint
from minibert.training.config import PretrainConfig
from minibert.training.evaluation import evaluate
from minibert.training.footprint import footprint
from minibert.training.interrupts import StopRequest
from minibert.training.loop import Observer, Schedule, TakenStep, train
from minibert.training.memory import keep_freed_memory
from minibert.training.metrics import Metrics, plot_metrics
from minibert.training.optimizer import AdamW, AdamWSettings, learning_rate_at
from minibert.training.preparation import (
    check_before_anything_is_written,
    check_lengths,
    pick_blanks,
    prepare_model,
    prepare_shards,
    prepare_tokenizer,
)
from minibert.training.runs import discard, how_to_resume, locked, open_run, sweep

BASELINE_NAMES = {
    "most frequent": "most frequent token",
    "left neighbour": "most frequent successor of the left neighbour",
    "both neighbours": "most frequent token between the two neighbours",
}
BLANKS_ON_THE_WAY, BLANKS_AT_THE_END = 2, 6


def pretrain(config: PretrainConfig) -> int:
    """Run `minibert pretrain`.  Returns 0, or 128 + the signal's number when the run was asked to stop.

    Raises ValueError, OSError and FloatingPointError (a loss that is no number) with one line for the user.
    """
    require("pretrain", "safetensors", "matplotlib", "tqdm")
    keep_freed_memory()
    use_threads(config.threads)
    if not config.resume:
        check_before_anything_is_written(config)
    run, made = open_run(config)
    with StopRequest(how_to_resume(run)) as stop, locked(run):
        try:
            sweep(run)
            pretraining = Pretraining(config, run)
        except Exception:
            if not config.resume:
                discard(run, made)  # a mistake in the corpus, say: no half-made run stays behind
            raise
        return pretraining.train(stop)


class Pretraining(Observer):
    """One run: what it learns from, what learns, and the record of it."""

    def __init__(self, config: PretrainConfig, run: Path):
        self.config, self.run = config, run
        say("run", f"{run} ({'resumed' if config.resume else 'new'})")
        self.phases = check_lengths(config)
        self.tokenizer = prepare_tokenizer(config, run)
        self.model = prepare_model(config, self.tokenizer)
        self.objective = MaskedLmAndNextSentence(self.model)
        say("vocabulary", f"{len(self.tokenizer):,} pieces, {'uncased' if self.tokenizer.lowercase else 'cased'}")
        shards = prepare_shards(config, run, self.tokenizer)
        train, self.held_out = shards.split(config.held_out)
        say("corpus", f"{train.tokens:,} tokens in {len(train):,} documents to learn from")
        groups = self.held_out.groups
        names = ", ".join(groups[:16]) + (", …" if len(groups) > 16 else "")
        say("held out", f"{self.held_out.tokens:,} tokens in {len(self.held_out):,} documents: {names}")

        self.data = PretrainingData(
            train,
            self.tokenizer,
            self.phases,
            config.steps,
            config.seed,
            BatchOptions(
                config.batch_tokens, config.mask_rate, config.whole_word, config.nsp_from, config.random_positions
            ),
        )
        shape = self.model.config
        say(
            "model",
            f"{config.size}: {shape.num_hidden_layers} layers, {shape.hidden_size} wide, "
            f"{shape.num_attention_heads} heads, {self.model.parameters.count:,} parameters, "
            f"{config.backend} backend{', emulated' if config.emulate else ''}, {config.precision}",
        )
        if config.backend == "gpu":
            say("memory", f"{self.expected_memory() / 1e9:.1f} GB on the device, as computed for a step")
        settings = AdamWSettings(
            config.beta1, config.beta2, config.adam_eps, config.weight_decay, config.bias_correction, config.clip
        )
        self.optimizer = AdamW(self.model.parameters, settings)
        self.blanks = pick_blanks(self.held_out, self.tokenizer, BLANKS_AT_THE_END, config.max_positions)
        self.baselines = baselines(train, self.evaluation_set(config.final_pairs))
        for name, accuracy in self.baselines.items():
            say("baseline", f"{accuracy:6.1%} of the held-out masked tokens: {BASELINE_NAMES[name]}")

    def expected_memory(self) -> int:
        """Bytes on the device in the step that takes the most of them."""
        config, model = self.config, self.model
        return max(
            footprint(
                model.config,
                model.parameters.count,
                -(-(config.batch_tokens // phase.length) // config.accumulate),
                phase.length,
                config.precision,
                phase.mask_rate or config.mask_rate,
            ).total
            for phase in self.phases
        )

    def evaluation_set(self, pairs: int):
        """Fixed held-out batches at the final length; pairs where the training has them."""
        config, length = self.config, self.phases[-1].length
        return evaluation_batches(
            self.held_out,
            self.tokenizer,
            length,
            sequences=pairs,
            pairs=length >= config.nsp_from,
            mask_rate=config.mask_rate,
            whole_word=config.whole_word,
        )

    def train(self, stop: StopRequest) -> int:
        """Take the steps that are left.  A run that is resumed goes through the same steps with the same numbers."""
        config = self.config
        first = self.load_last_checkpoint() if config.resume else 0
        schedule = Schedule(
            config.steps,
            config.seed,
            batch=lambda step: self.data.batch(step).split(config.accumulate),
            learning_rate=lambda step: learning_rate_at(
                step, steps=config.steps, highest=config.learning_rate, warmup=config.warmup
            ),
            first=first,
        )
        self.metrics = Metrics(self.run, first)
        self.clock = time.perf_counter()
        stop.urgent = False
        with (
            progress_bar(total=config.steps, initial=first, unit="step", leave=True, dynamic_ncols=True) as self.bar,
            np.errstate(all="ignore"),  # a loss that is no number is told below, in words
        ):
            step = train(self.objective, self.optimizer, schedule, self, lambda: stop.signal is not None)
        if step < config.steps:
            say("stopped", f"after step {step:,}, saved; go on with: {stop.how_to_resume}")
            return stop.exit_code
        say("model", f"{self.run} (a Hugging Face model folder); curves: {self.run / 'loss.png'}")
        say("try", f'minibert fill {self.run} "the [MASK] of the union"')
        return 0

    def took_step(self, step: int) -> None:
        self.bar.update()

    def reads_losses(self, step: int, waiting: int) -> bool:
        return step % self.config.log_every == 0

    def evaluates(self, step: int) -> bool:
        return step % self.config.eval_every == 0 or step == self.config.steps

    def saves(self, step: int, stopping: bool) -> bool:
        return step % self.config.save_every == 0 or step == self.config.steps or stopping

    def out_of_memory(self, step: int, batch: list) -> str:
        config, length = self.config, self.data.length_at(step)
        sequences = len(batch[0].tokens.sequence_numbers)
        advice = f"lower --batch-tokens (now {config.batch_tokens}) or the length"
        if sequences > 1:
            parts = min(2 * config.accumulate, self.data.sequences_at(step))
            advice = (
                f"cut batches into more parts with --accumulate {parts} (now {config.accumulate}; the result is the "
                f"same), or {advice}"
            )
        if config.backend == "gpu" and config.precision in ("float32", "tf32"):
            advice += "; --precision bfloat16 takes half as much for a token"
        return f"{sequences} sequences of {length} tokens do not fit beside the model {config.size}: {advice}"

    def read_losses(self, steps: list[TakenStep]) -> None:
        """Write the lines of some steps.  FloatingPointError if a loss is no number."""
        now = time.perf_counter()
        speed = sum(len(part.tokens.token_ids) for step in steps for part in step.batch) / (now - self.clock)
        for step in steps:
            values = dict(length=self.data.length_at(step.number - 1))
            values |= self.objective.figures(step.batch, step.losses)
            values |= dict(learning_rate=step.learning_rate, gradient_norm=float(step.gradient_norm))
            if self.optimizer.loss_scale is not None and not math.isfinite(values["gradient_norm"]):
                values["gradient_norm"] = None  # sixteen bits overflowed: the step was left out, the loss scale halved
            if not math.isfinite(values["mlm_loss"] + (values["nsp_loss"] or 0) + (values["gradient_norm"] or 0)):
                raise FloatingPointError(self.explain_divergence(step.number))
            self.metrics.write("train", step.number, **values, tokens_per_second=round(speed))
        shown = {"length": values["length"], "loss": f"{values['mlm_loss']:.3f}"}
        self.bar.set_postfix({**shown, "accuracy": f"{values['mlm_accuracy']:.1%}", "tokens/s": f"{speed:,.0f}"}, False)
        self.clock = now

    def explain_divergence(self, step: int) -> str:
        """What to say when the loss of a step is no number."""
        checkpoints = list_checkpoints(self.run)
        good = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "there is no checkpoint yet"
        return (
            f"the loss is not a number any more at step {step:,}; {good}. "
            f"Try a new run with a lower --learning-rate (now {self.config.learning_rate:g}) or a longer --warmup"
        )

    def save(self, step: int) -> None:
        """The model for `minibert fill` and others, and the checkpoint: what it stands for is there before it is."""
        self.metrics.flush()
        self.model.save_pretrained(self.run)
        save_checkpoint(self.run, step, self.model, self.optimizer, self.config.keep)
        self.clock = time.perf_counter()  # neither saving

    def load_last_checkpoint(self) -> int:
        """Go on from the newest checkpoint; returns the number of steps done, 0 where there is none."""
        checkpoints = list_checkpoints(self.run)
        step = load_checkpoint(checkpoints[-1], self.model, self.optimizer) if checkpoints else 0
        say("resume", f"from step {step:,} of {self.config.steps:,}")
        return step

    def evaluate(self, step: int) -> bool:
        """Measure on held-out documents, fill a few blanks, draw the curves; at the end, compare with the baselines."""
        config, last = self.config, step == self.config.steps
        result = evaluate(self.objective, self.evaluation_set(config.final_pairs if last else config.eval_pairs))
        self.metrics.write("evaluation", step, **result.figures)
        nsp = (
            ""
            if result.nsp_accuracy is None
            else f", next sentence {result.nsp_accuracy:.1%} of {result.pairs:,} pairs"
        )
        write_line(
            f"step {step:,}, held out: masked tokens {result.mlm_accuracy:.1%}, "
            f"cross-entropy {result.mlm_loss:.3f} nats, perplexity {result.perplexity:.1f}{nsp}"
        )
        for text, answer in self.blanks[: BLANKS_AT_THE_END if last else BLANKS_ON_THE_WAY]:
            (guesses,) = fill_mask(self.model, self.tokenizer, text)
            listed = ", ".join(f"{piece} {probability:.0%}" for piece, probability in guesses)
            write_line(f"    {text}\n        {listed}   (was: {answer})")
        title = f"minibert pretrain: {config.size}, {config.steps:,} steps of {config.batch_tokens:,} tokens"
        plot_metrics(self.run, title, self.baselines)
        if last:
            say("result", f"{result.masked:,} held-out masked tokens, guessed right by")
            for name, accuracy in self.baselines.items():
                say("", f"{accuracy:6.1%}  {BASELINE_NAMES[name]}")
            say("", f"{result.mlm_accuracy:6.1%}  this model")
        self.clock = time.perf_counter()  # nor evaluating is training time
        return False
