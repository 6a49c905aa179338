"""Evaluation of a run on held-out documents, and the baselines that the model has to beat."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from minibert.base.progress import say, write_line
from minibert.data.documents import DocumentSet
from minibert.data.masked_batch import MaskedBatch
from minibert.data.pretraining import evaluation_batches
from minibert.objectives import Objective
from minibert.text import Tokenizer
from minibert.training.config import PretrainConfig
from minibert.training.evaluation import evaluate, perplexity
from minibert.training.preparation import pick_blanks
from minibert.training.systems import SYSTEMS, Target

BASELINE_NAMES = {
    "most frequent": "most frequent token",
    "left neighbour": "most frequent successor of the left neighbour",
    "both neighbours": "most frequent token between the two neighbours",
}
BLANKS_ON_THE_WAY, BLANKS_AT_THE_END = 2, 6
Figures = dict[str, float | None]


class HeldOut:
    """Held-out documents, as batches of sequences of the last phase's length (pairs if that phase uses pairs)."""

    def __init__(self, config: PretrainConfig, documents: DocumentSet, tokenizer: Tokenizer, length: int):
        self.config, self.documents, self.tokenizer, self.length = config, documents, tokenizer, length
        self.system = SYSTEMS[config.model]
        self.evaluated_as = SYSTEMS[self.system.evaluated_as or config.model]
        self.blanks = pick_blanks(documents, tokenizer, BLANKS_AT_THE_END, config.max_positions)

    def masked(self, pairs: int) -> list[MaskedBatch]:
        """The evaluation set as masked batches, the same in every call; pairs: the maximum number of sequences."""
        return self.batches(pairs, lambda whole: whole)

    def batches(self, pairs: int, batch_of: Callable[[MaskedBatch], Any]) -> list:
        """The evaluation set as batches of another kind, which together are one global batch."""
        config = self.config
        return evaluation_batches(
            self.documents,
            self.tokenizer,
            self.length,
            sequences=pairs,
            pairs=self.length >= config.pairs_from,
            mask_rate=config.mask_rate,
            whole_word=config.whole_word,
            batch_of=batch_of,
        )

    def count_baselines(self, train: DocumentSet) -> dict[str, float]:
        """Compute and print the accuracies of the count-based baselines, and return them by name."""
        self.baselines = self.system.baselines(train, self.masked(self.config.final_pairs))
        for name, accuracy in self.baselines.items():
            say(
                "baseline",
                f"{accuracy:6.1%} of the held-out {self.target.unit} by always predicting the {BASELINE_NAMES[name]}",
            )
        return self.baselines

    @property
    def target(self) -> Target:
        """The first target, which the baselines predict as well."""
        return self.system.targets[0]

    @property
    def named_baselines(self) -> dict[str, float]:
        """The accuracies of the baselines, by description."""
        return {BASELINE_NAMES[name]: accuracy for name, accuracy in self.baselines.items()}

    def measure(self, objective: Objective, step: int, last: bool) -> Figures:
        """Evaluate a model after a step; print the result, and some sentences with blanks filled in by the model."""
        config = self.config
        batches = self.batches(config.final_pairs if last else config.eval_pairs, self.evaluated_as.batch_of)
        figures = evaluate(objective, batches)
        self.counts = {target.key: target.count(batches[0]) for target in self.system.targets}
        if not self.system.masked:
            nats = figures[f"{self.target.key}_loss"] or 0.0
            figures["bits_per_byte"] = nats * self.counts[self.target.key] / math.log(2) / self.bytes_of(batches)
        write_line(f"step {step:,}, held out: {self.in_words(figures)}")
        for text, answer in self.blanks[: BLANKS_AT_THE_END if last else BLANKS_ON_THE_WAY]:
            guesses = self.system.guesses(objective.model, self.tokenizer, text)
            listed = ", ".join(f"{piece} {probability:.0%}" for piece, probability in guesses)
            write_line(f"    {text}\n        {listed}   (was: {answer})")
        return figures

    def in_words(self, figures: Figures) -> str:
        """The figures of an evaluation in one line."""
        parts = []
        for target in self.system.targets:
            loss, accuracy = (figures[f"{target.key}_{what}"] for what in ("loss", "accuracy"))
            if loss is None or accuracy is None:
                continue
            if target.tokens:
                of = f"cross-entropy {loss:.3f} nats, perplexity {perplexity(loss):.1f}"
                parts.append(f"{target.name} {accuracy:.1%}, {of}")
            else:
                parts.append(f"{target.name} {accuracy:.1%} of {self.counts[target.key]:,} {target.unit}")
        if (bits := figures.get("bits_per_byte")) is not None:
            parts.append(f"{bits:.2f} bits per byte")
        return ", ".join(parts)

    def bytes_of(self, batches: list[Any]) -> int:
        """The length in UTF-8 of the text of the batches, as the tokenizer decodes it."""
        texts = (
            self.tokenizer.decode(batch.tokens.token_ids[start:stop])
            for batch in batches
            for start, stop in pairwise(batch.tokens.cu_seqlens)
        )
        return sum(len(text.encode()) for text in texts)

    def compare(self, figures: Figures) -> None:
        """Print the accuracies of the baselines, then the model's accuracy."""
        key, unit = self.target.key, self.target.unit
        say("result", f"{self.counts[key]:,} held-out {unit}, predicted correctly by")
        for name, accuracy in self.baselines.items():
            say("", f"{accuracy:6.1%}  {BASELINE_NAMES[name]}")
        say("", f"{figures[f'{key}_accuracy']:6.1%}  this model")
