"""Evaluation of a run on held-out documents, and the baselines that the model has to beat."""

from minibert.base.progress import say, write_line
from minibert.data.baselines import baselines
from minibert.data.documents import DocumentSet
from minibert.data.masked_batch import MaskedBatch
from minibert.data.pretraining import evaluation_batches
from minibert.inference import fill_mask
from minibert.objectives import MaskedLmAndNextSentence
from minibert.text import Tokenizer
from minibert.training.config import PretrainConfig
from minibert.training.evaluation import Evaluation, evaluate
from minibert.training.preparation import pick_blanks

BASELINE_NAMES = {
    "most frequent": "most frequent token",
    "left neighbour": "most frequent successor of the left neighbour",
    "both neighbours": "most frequent token between the two neighbours",
}
BLANKS_ON_THE_WAY, BLANKS_AT_THE_END = 2, 6


class HeldOut:
    """Held-out documents, as batches of sequences of the last phase's length (pairs if that phase uses pairs)."""

    def __init__(self, config: PretrainConfig, documents: DocumentSet, tokenizer: Tokenizer, length: int):
        self.config, self.documents, self.tokenizer, self.length = config, documents, tokenizer, length
        self.blanks = pick_blanks(documents, tokenizer, BLANKS_AT_THE_END, config.max_positions)

    def batches(self, pairs: int) -> list[MaskedBatch]:
        """The evaluation batches, which are the same in every call; pairs: the maximum number of sequences."""
        config = self.config
        return evaluation_batches(
            self.documents,
            self.tokenizer,
            self.length,
            sequences=pairs,
            pairs=self.length >= config.nsp_from,
            mask_rate=config.mask_rate,
            whole_word=config.whole_word,
        )

    def count_baselines(self, train: DocumentSet) -> dict[str, float]:
        """Compute and print the accuracies of the count-based baselines, and return them by name."""
        self.baselines = baselines(train, self.batches(self.config.final_pairs))
        for name, accuracy in self.baselines.items():
            say(
                "baseline",
                f"{accuracy:6.1%} of the held-out masked tokens by always predicting the {BASELINE_NAMES[name]}",
            )
        return self.baselines

    @property
    def named_baselines(self) -> dict[str, float]:
        """The accuracies of the baselines, by description."""
        return {BASELINE_NAMES[name]: accuracy for name, accuracy in self.baselines.items()}

    def measure(self, objective: MaskedLmAndNextSentence, step: int, last: bool) -> Evaluation:
        """Evaluate a model after a step; print the result, and some sentences with blanks filled in by the model."""
        config = self.config
        result = evaluate(objective, self.batches(config.final_pairs if last else config.eval_pairs))
        pairs = f", next sentence {result.nsp_accuracy:.1%} of {result.pairs:,} pairs" if result.pairs else ""
        write_line(
            f"step {step:,}, held out: masked tokens {result.mlm_accuracy:.1%}, "
            f"cross-entropy {result.mlm_loss:.3f} nats, perplexity {result.perplexity:.1f}{pairs}"
        )
        for text, answer in self.blanks[: BLANKS_AT_THE_END if last else BLANKS_ON_THE_WAY]:
            (guesses,) = fill_mask(objective.model, self.tokenizer, text)
            listed = ", ".join(f"{piece} {probability:.0%}" for piece, probability in guesses)
            write_line(f"    {text}\n        {listed}   (was: {answer})")
        return result

    def compare(self, result: Evaluation) -> None:
        """Print the accuracies of the baselines, then the model's accuracy."""
        say("result", f"{result.masked:,} held-out masked tokens, predicted correctly by")
        for name, accuracy in self.baselines.items():
            say("", f"{accuracy:6.1%}  {BASELINE_NAMES[name]}")
        say("", f"{result.mlm_accuracy:6.1%}  this model")
