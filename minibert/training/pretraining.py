"""Pre-training: the loop, whole."""

import math
import time
from pathlib import Path

import numpy as np

from minibert.data.baselines import baselines
from minibert.data.pretraining import PretrainingData, evaluation_batches
from minibert.models import fill_mask
from minibert.ops.threads import use_threads
from minibert.progress import progress_bar, require, say, write_line
from minibert.training.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint
from minibert.training.config import PretrainConfig
from minibert.training.evaluation import evaluate
from minibert.training.footprint import footprint
from minibert.training.interrupts import StopRequest
from minibert.training.memory import keep_freed_memory
from minibert.training.metrics import Metrics, plot_metrics
from minibert.training.optimizer import AdamW, learning_rate_at
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


class Pretraining:
    """One run: what it learns from, what learns, and the record of it."""

    def __init__(self, config: PretrainConfig, run: Path):
        self.config, self.run = config, run
        say("run", f"{run} ({'resumed' if config.resume else 'new'})")
        self.phases = check_lengths(config)
        self.tokenizer = prepare_tokenizer(config, run)
        self.model = prepare_model(config, self.tokenizer)
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
            config.batch_tokens,
            mask_rate=config.mask_rate,
            whole_word=config.whole_word,
            nsp_from=config.nsp_from,
            random_positions=config.random_positions,
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
        self.optimizer = AdamW(
            self.model.parameters,
            beta1=config.beta1,
            beta2=config.beta2,
            eps=config.adam_eps,
            weight_decay=config.weight_decay,
            bias_correction=config.bias_correction,
            max_norm=config.clip,
        )
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
        """The loop.  A run that is resumed goes through the same steps with the same numbers."""
        config, model = self.config, self.model
        step = self.load_last_checkpoint() if config.resume else 0
        self.metrics = Metrics(self.run, step)
        self.pending = []  # steps whose losses were not read yet: on a GPU, reading waits for the device
        self.clock = time.perf_counter()
        stop.urgent = False
        with (
            progress_bar(total=config.steps, initial=step, unit="step", leave=True, dynamic_ncols=True) as self.bar,
            np.errstate(all="ignore"),  # a loss that is no number is told below, in words
        ):
            upcoming = self.prepare(step) if step < config.steps else None
            while step < config.steps:
                batch, parts = upcoming
                model.parameters.zero_gradients()
                losses = [self.learn(part, step) for part in parts]  # gradients add up to those of the batch
                rate = learning_rate_at(step, steps=config.steps, highest=config.learning_rate, warmup=config.warmup)
                step += 1
                norm = self.optimizer.step(step, rate)
                if step < config.steps:
                    upcoming = self.prepare(step)  # a GPU still works on the step: nothing above waits for it

                self.pending.append((step, batch, losses, rate, norm))
                self.bar.update()
                # asked once: a signal that comes from here on is the next step's
                last, stopping = step == config.steps, stop.signal is not None
                if step % config.log_every == 0 or last:
                    self.read_losses()
                if last:
                    self.finish()
                elif step % config.eval_every == 0:
                    self.evaluate(step, config.eval_pairs, BLANKS_ON_THE_WAY)
                # saved after its evaluation: a run that is resumed here has the whole record of the steps before
                if step % config.save_every == 0 or last or stopping:
                    self.save(step)
                if stopping and not last:
                    say("stopped", f"after step {step:,}, saved; go on with: {stop.how_to_resume}")
                    return stop.exit_code
        say("model", f"{self.run} (a Hugging Face model folder); curves: {self.run / 'loss.png'}")
        say("try", f'minibert fill {self.run} "the [MASK] of the union"')
        return 0

    def prepare(self, step: int):
        """The batch of a step, and its micro-batches on the device."""
        batch = self.data.batch(step)
        return batch, [self.model.prepare(part) for part in batch.split(self.config.accumulate)]

    def learn(self, inputs, step: int):
        """Add the gradients of one micro-batch; returns its losses.  MemoryError, in words, where it does not fit."""
        scale = self.optimizer.loss_scale
        try:
            losses, cache = self.model.losses(inputs, dropout_key=(self.config.seed, step))
            self.model.losses_backward(cache, 1.0 if scale is None else scale.value)
        except MemoryError:
            raise MemoryError(self.explain_memory(inputs, step)) from None
        inputs.release()
        return losses

    def explain_memory(self, inputs, step: int) -> str:
        """What to say when a micro-batch does not fit into the memory."""
        config, length = self.config, self.data.length_at(step)
        sequences = len(inputs.body.tokens.sequence_numbers)
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

    def read_losses(self) -> None:
        """Fetch the losses of the pending steps, write their lines.  FloatingPointError if one is no number."""
        if not self.pending:
            return
        now = time.perf_counter()
        speed = sum(len(batch.token_ids) for _, batch, *_ in self.pending) / (now - self.clock)
        for step, batch, parts, rate, norm in self.pending:
            pairs = batch.nsp_labels is not None
            values = dict(
                length=self.data.length_at(step - 1),
                mlm_loss=sum(float(part.mlm) for part in parts),
                mlm_accuracy=sum(int(part.mlm_correct) for part in parts) / max(batch.mlm_count, 1),
                nsp_loss=sum(float(part.nsp) for part in parts) if pairs else None,
                nsp_accuracy=sum(int(part.nsp_correct) for part in parts) / batch.nsp_count if pairs else None,
                learning_rate=rate,
                gradient_norm=float(norm),
            )
            if self.optimizer.loss_scale is not None and not math.isfinite(values["gradient_norm"]):
                values["gradient_norm"] = None  # sixteen bits overflowed: the step was left out, the loss scale halved
            if not math.isfinite(values["mlm_loss"] + (values["nsp_loss"] or 0) + (values["gradient_norm"] or 0)):
                raise FloatingPointError(self.explain_divergence(step))
            self.metrics.write("train", step, **values, tokens_per_second=round(speed))
        shown = {"length": values["length"], "loss": f"{values['mlm_loss']:.3f}"}
        self.bar.set_postfix({**shown, "accuracy": f"{values['mlm_accuracy']:.1%}", "tokens/s": f"{speed:,.0f}"}, False)
        self.pending, self.clock = [], now

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
        self.read_losses()  # a model whose loss is no number is not saved
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

    def evaluate(self, step: int, pairs: int, blanks: int):
        """Measure on held-out documents, fill a few blanks, draw the curves."""
        self.read_losses()
        result = evaluate(self.model, self.evaluation_set(pairs))
        self.metrics.write(
            "evaluation",
            step,
            mlm_loss=result.mlm_loss,
            mlm_accuracy=result.mlm_accuracy,
            nsp_loss=result.nsp_loss,
            nsp_accuracy=result.nsp_accuracy,
        )
        nsp = (
            ""
            if result.nsp_accuracy is None
            else f", next sentence {result.nsp_accuracy:.1%} of {result.pairs:,} pairs"
        )
        write_line(
            f"step {step:,}, held out: masked tokens {result.mlm_accuracy:.1%}, "
            f"cross-entropy {result.mlm_loss:.3f} nats, perplexity {result.perplexity:.1f}{nsp}"
        )
        for text, answer in self.blanks[:blanks]:
            (guesses,) = fill_mask(self.model, self.tokenizer, text)
            listed = ", ".join(f"{piece} {probability:.0%}" for piece, probability in guesses)
            write_line(f"    {text}\n        {listed}   (was: {answer})")
        title = (
            f"minibert pretrain: {self.config.size}, {self.config.steps:,} steps of {self.config.batch_tokens:,} tokens"
        )
        plot_metrics(self.run, title, self.baselines)
        self.clock = time.perf_counter()  # nor evaluating is training time
        return result

    def finish(self) -> None:
        """The last evaluation, beside the baselines."""
        result = self.evaluate(self.config.steps, self.config.final_pairs, BLANKS_AT_THE_END)
        say("result", f"{result.masked:,} held-out masked tokens, guessed right by")
        for name, accuracy in self.baselines.items():
            say("", f"{accuracy:6.1%}  {BASELINE_NAMES[name]}")
        say("", f"{result.mlm_accuracy:6.1%}  this model")
