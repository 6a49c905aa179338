"""Pre-training: the loop, whole."""

import math
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minibert.data.baselines import baselines
from minibert.data.pretraining import PretrainingData, evaluation_batches
from minibert.models import fill_mask
from minibert.training.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint
from minibert.training.config import PretrainConfig
from minibert.training.evaluation import evaluate
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
from minibert.training.runs import discard, how_to_resume, open_run

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
    keep_freed_memory()
    if not config.resume:
        check_before_anything_is_written(config)
    run = open_run(config)
    with StopRequest(how_to_resume(run)) as stop:
        try:
            if not config.resume:
                config.save(run)
            pretraining = Pretraining(config, run)
        except Exception:
            if not config.resume:
                discard(run)  # a mistake in the corpus, say: no half-made run stays behind
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
            f"{shape.num_attention_heads} heads, {self.model.parameters.values.size:,} parameters, "
            f"{config.backend} backend",
        )
        self.optimizer = AdamW(
            self.model.parameters,
            beta1=config.beta1,
            beta2=config.beta2,
            eps=config.adam_eps,
            weight_decay=config.weight_decay,
            bias_correction=config.bias_correction,
            max_norm=config.clip,
        )
        self.blanks = pick_blanks(self.held_out, self.tokenizer, BLANKS_AT_THE_END)
        self.baselines = baselines(train, self.evaluation_set(config.final_pairs))
        for name, accuracy in self.baselines.items():
            say("baseline", f"{accuracy:6.1%} of the held-out masked tokens: {BASELINE_NAMES[name]}")

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
        self.clock, self.tokens_since = time.perf_counter(), 0
        stop.urgent = False
        with (
            tqdm(total=config.steps, initial=step, unit="step", disable=None, dynamic_ncols=True) as self.bar,
            np.errstate(all="ignore"),  # a loss that is no number is told below, in words
        ):
            while step < config.steps:
                batch = self.data.batch(step)
                model.parameters.zero_gradients()
                losses = []
                for part in batch.split(config.accumulate):  # their gradients add up to the batch's
                    part_losses, cache = model.losses(part, dropout_key=(config.seed, step))
                    model.losses_backward(cache)
                    losses.append(part_losses)
                rate = learning_rate_at(step, steps=config.steps, highest=config.learning_rate, warmup=config.warmup)
                step += 1
                norm = self.optimizer.step(step, rate)

                self.pending.append((step, batch, losses, rate, norm))
                self.tokens_since += len(batch.token_ids)
                self.bar.update()
                last = step == config.steps
                if step % config.log_every == 0 or last or stop.signal:
                    self.read_losses()
                if last:
                    self.finish()
                elif step % config.eval_every == 0:
                    self.evaluate(step, config.eval_pairs, BLANKS_ON_THE_WAY)
                # saved after its evaluation: a run that is resumed here has the whole record of the steps before
                if step % config.save_every == 0 or last or stop.signal:
                    self.save(step)
                if stop.signal and not last:
                    say("stopped", f"after step {step:,}, saved; go on with: {stop.how_to_resume}")
                    return stop.exit_code
        say("model", f"{self.run} (a Hugging Face model folder); curves: {self.run / 'loss.png'}")
        say("try", f'minibert fill {self.run} "the [MASK] of the union"')
        return 0

    def read_losses(self) -> None:
        """Fetch the losses of the pending steps, write a line of metrics.  FloatingPointError if one is no number."""
        mlm = nsp = mlm_correct = nsp_correct = masked = pairs = pair_steps = 0
        for step, batch, losses, _, norm in self.pending:
            step_mlm, step_nsp = sum(float(part.mlm) for part in losses), sum(float(part.nsp) for part in losses)
            if not math.isfinite(step_mlm + step_nsp + float(norm)):
                raise FloatingPointError(self.explain_divergence(step))
            mlm, nsp = mlm + step_mlm, nsp + step_nsp
            mlm_correct += sum(int(part.mlm_correct) for part in losses)
            nsp_correct += sum(int(part.nsp_correct) for part in losses)
            masked, pairs = masked + batch.mlm_count, pairs + batch.nsp_count
            pair_steps += batch.nsp_labels is not None
        if not self.pending:
            return
        *_, rate, norm = self.pending[-1]
        now = time.perf_counter()
        speed = self.tokens_since / (now - self.clock)
        values = dict(
            length=self.data.length_at(step - 1),
            mlm_loss=mlm / len(self.pending),
            mlm_accuracy=mlm_correct / max(masked, 1),
            nsp_loss=nsp / pair_steps if pair_steps else None,
            nsp_accuracy=nsp_correct / pairs if pairs else None,
            learning_rate=rate,
            gradient_norm=float(norm),
        )
        self.metrics.write("train", step, **values, tokens_per_second=round(speed))
        shown = {
            "length": values["length"],
            "loss": f"{values['mlm_loss']:.3f}",
            "mlm": f"{values['mlm_accuracy']:.1%}",
        }
        if pairs:
            shown["nsp"] = f"{values['nsp_accuracy']:.0%}"
        self.bar.set_postfix({**shown, "tokens/s": f"{speed:,.0f}"}, refresh=False)
        self.pending, self.clock, self.tokens_since = [], now, 0

    def explain_divergence(self, step: int) -> str:
        """What to say when the loss of a step is no number."""
        checkpoints = list_checkpoints(self.run)
        good = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "there is no checkpoint yet"
        return (
            f"the loss is not a number any more at step {step:,}; {good}. "
            f"Try a new run with a lower --learning-rate (now {self.config.learning_rate:g}) or a longer --warmup"
        )

    def save(self, step: int) -> None:
        """A checkpoint, and the model for `minibert fill` and others."""
        save_checkpoint(self.run, step, self.model, self.optimizer, self.config.keep)
        self.model.save_pretrained(self.run)

    def load_last_checkpoint(self) -> int:
        """Go on from the newest checkpoint; returns the number of steps done, 0 where there is none."""
        checkpoints = list_checkpoints(self.run)
        step = load_checkpoint(checkpoints[-1], self.model, self.optimizer) if checkpoints else 0
        say("resume", f"from step {step:,} of {self.config.steps:,}")
        return step

    def evaluate(self, step: int, pairs: int, blanks: int):
        """Measure on held-out documents, fill a few blanks, draw the curves."""
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
        tqdm.write(
            f"step {step:,}, held out: masked tokens {result.mlm_accuracy:.1%}, "
            f"cross-entropy {result.mlm_loss:.3f} nats, perplexity {result.perplexity:.1f}{nsp}"
        )
        for text, answer in self.blanks[:blanks]:
            (guesses,) = fill_mask(self.model, self.tokenizer, text)
            listed = ", ".join(f"{piece} {probability:.0%}" for piece, probability in guesses)
            tqdm.write(f"    {text}\n        {listed}   (was: {answer})")
        title = (
            f"minibert pretrain: {self.config.size}, {self.config.steps:,} steps of {self.config.batch_tokens:,} tokens"
        )
        plot_metrics(self.run, title, self.baselines)
        self.clock = time.perf_counter()  # evaluation is not training time
        return result

    def finish(self) -> None:
        """The last evaluation, beside the baselines."""
        result = self.evaluate(self.config.steps, self.config.final_pairs, BLANKS_AT_THE_END)
        say("result", f"{result.masked:,} held-out masked tokens, guessed right by")
        for name, accuracy in self.baselines.items():
            say("", f"{accuracy:6.1%}  {BASELINE_NAMES[name]}")
        say("", f"{result.mlm_accuracy:6.1%}  this model")


def say(what: str, text: str) -> None:
    """One line of the run's report."""
    tqdm.write(f"{what:11}{text}")
