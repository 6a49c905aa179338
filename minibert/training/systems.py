"""The systems that `minibert pretrain` trains: for each, a model, its objective, and how to read what it learnt.

The BERT paper compares three ways to pre-train on plain text (section 1, figure 3): a masked language model that reads
in both directions (BERT), a left-to-right Transformer (GPT), and two separate LSTMs, one for each direction (ELMo).
Here all of them share the tokenizer, the data, the training loop, the checkpoints and the tasks; this table holds what
differs.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.data.baselines import baselines
from minibert.data.documents import DocumentSet
from minibert.data.masked_batch import MaskedBatch
from minibert.data.next_token import NextTokenBatch
from minibert.inference import fill_mask
from minibert.inference.next_token import most_probable_next
from minibert.models import BertForPreTraining, DistilBertForMaskedLM, Elmo, GptForCausalLM
from minibert.objectives import (
    BothDirections,
    Distillation,
    DistillationBatch,
    MaskedLmAndNextSentence,
    NextToken,
    Objective,
)
from minibert.text import Tokenizer
from minibert.training.config import PretrainConfig

BLANK = "[MASK]"
Guesses = list[tuple[str, float]]


@dataclass(frozen=True)
class Target:
    """One of the things that a model is trained to predict.

    key      its figures are recorded as KEY_loss and KEY_accuracy
    name     in words
    unit     what is counted, in the plural
    count    the number of them in a global batch
    tokens   True if they are tokens, so that a perplexity is reported
    """

    key: str
    name: str
    unit: str
    count: Callable[[Any], int]
    tokens: bool = True

    @property
    def figures(self) -> dict[str, str]:
        """The names of its figures -> their titles in pictures and tables."""
        return {
            f"{self.key}_loss": f"{self.name}: cross-entropy (nats)",
            f"{self.key}_accuracy": f"{self.name}: accuracy (%)",
        }


@dataclass(frozen=True)
class System:
    """A model that can be pre-trained, and everything that depends on which model it is.

    name           its name
    title          its name and source, for the model card
    model          the class of the model
    objective      a function that makes its objective, given the model, its teacher (or None) and the options
    evaluated_as   the system whose objective evaluations use, if it is not this one's; otherwise None
    targets        what it predicts; the first one is what its baselines predict, too
    batch_of       the objective's batch from the sequences and masks of a step
    pairs          True if long sequences are sentence pairs, False if all sequences are windows of running text
    masked         True if tokens are masked, False if the model predicts all tokens of a text
    baselines      the accuracies of count-based predictors on the first target
    guesses        its guesses for the word that a blank replaces in a text
    pipeline       the name of this use on the Hugging Face hub
    recipe         what is predicted, as a sentence of the model card
    how_to_try     a command that shows what the model learnt, with fields for its folder and a text
    text           a text for it
    """

    name: str
    title: str
    model: Any
    objective: Callable[[Any, Any, PretrainConfig], Objective]
    targets: tuple[Target, ...]
    batch_of: Callable[[MaskedBatch], Any]
    pairs: bool
    masked: bool
    baselines: Callable[[DocumentSet, Sequence[MaskedBatch]], dict[str, float]]
    guesses: Callable[[Any, Tokenizer, str], Guesses]
    pipeline: str
    recipe: str
    how_to_try: str
    text: str = ""
    evaluated_as: str | None = None

    def command_to_try(self, folder: str | Path, sentence: str | None = None) -> str:
        """A command that shows what the model in a folder learnt.

        sentence: a sentence with a [MASK] from the text that it learnt from; None: the text of the default corpus
        """
        text = self.text
        if sentence is not None:
            text = sentence if self.masked else sentence.partition("[MASK]")[0].strip()
        plain = not set(text) & set('"$`\\!')
        return self.how_to_try.format(folder=folder, text=f'"{text}"' if plain else shlex.quote(text))


def name_of(config: PretrainConfig) -> str:
    """The name and size of the model that the options train; a student has no size of its own."""
    name = SYSTEMS[config.model].name
    if config.teacher:
        return name
    if config.from_:
        return f"{name} from {Path(config.from_).name or config.from_}"
    changes = [f"{count} {what}" for what in ("layers", "heads") if (count := getattr(config, what))]
    return f"{name} {config.size}" + (f" with {' and '.join(changes)}" if changes else "")


def fill_blank(model: BertForPreTraining, tokenizer: Tokenizer, text: str) -> Guesses:
    """BERT's guesses for the blank in a text, from the context on both sides."""
    return fill_mask(model, tokenizer, text)[0]


def continue_to_blank(model: Any, tokenizer: Tokenizer, text: str) -> Guesses:
    """A left-to-right model's guesses for the blank in a text, from the context before it."""
    return most_probable_next(model, tokenizer, text.partition(BLANK)[0])


def next_token_baselines(train: DocumentSet, batches: Sequence[MaskedBatch]) -> dict[str, float]:
    """The accuracies of the count-based predictors of the next token, which do not know the neighbour on the right."""
    found = baselines(train, [all_masked(NextTokenBatch.of_windows(batch)) for batch in batches])
    return {name: found[name] for name in ("most frequent", "left neighbour")}


def all_masked(batch: NextTokenBatch) -> MaskedBatch:
    """The tokens that a NextTokenBatch predicts, as the tokens to predict of a MaskedBatch without hidden ids."""
    return MaskedBatch(batch.tokens, batch.predicted, batch.labels, None, batch.count, 0)


def distillation(model: DistilBertForMaskedLM, teacher: BertForPreTraining, config: PretrainConfig) -> Distillation:
    return Distillation(
        model,
        teacher,
        temperature=config.temperature,
        weights=config.loss_weights,
        soft_targets_on=config.soft_targets,
    )


SYSTEMS = {
    "bert": System(
        name="BERT",
        title="BERT (Devlin et al. 2018)",
        model=BertForPreTraining,
        objective=lambda model, _teacher, _config: MaskedLmAndNextSentence(model),
        targets=(
            Target("mlm", "masked tokens", "masked tokens", lambda batch: batch.mlm_count),
            Target("nsp", "next sentence", "pairs", lambda batch: batch.nsp_count, tokens=False),
        ),
        batch_of=lambda batch: batch,
        pairs=True,
        masked=True,
        baselines=baselines,
        guesses=fill_blank,
        pipeline="fill-mask",
        recipe="Masked tokens ({mask_rate:.0%} in evaluations) and, from length {nsp_from}, next sentences.",
        how_to_try="minibert fill {folder} {text}",
        text="the [MASK] of the union",
    ),
    "gpt": System(
        name="GPT",
        title="GPT (Radford et al. 2018), with BERT's layers and vocabulary",
        model=GptForCausalLM,
        objective=lambda model, _teacher, _config: NextToken(model),
        targets=(Target("lm", "next token", "tokens", lambda batch: batch.count),),
        batch_of=NextTokenBatch.of_windows,
        pairs=False,
        masked=False,
        baselines=next_token_baselines,
        guesses=continue_to_blank,
        pipeline="text-generation",
        recipe="Each next token of a window of text, from the preceding ones.",
        how_to_try="minibert generate {folder} {text}",
        text="the state of",
    ),
    "elmo": System(
        name="ELMo",
        title="ELMo (Peters et al. 2018) on word pieces",
        model=Elmo,
        objective=lambda model, _teacher, _config: BothDirections(model),
        targets=(
            Target("forward", "forward LM", "tokens", lambda batch: batch.count),
            Target("backward", "backward LM", "tokens", lambda batch: batch.count),
        ),
        batch_of=NextTokenBatch.of_windows,
        pairs=False,
        masked=False,
        baselines=next_token_baselines,
        guesses=continue_to_blank,
        pipeline="feature-extraction",
        recipe="Each token of a window of text, from the preceding ones and, separately, from the following ones.",
        how_to_try="minibert finetune {folder} --task sotu-punctuation",
    ),
    "distilbert": System(
        name="DistilBERT",
        title="DistilBERT (Sanh et al. 2019)",
        model=DistilBertForMaskedLM,
        objective=distillation,
        evaluated_as="bert",  # masked tokens alone, whatever the weights of the losses in training
        targets=(Target("mlm", "masked tokens", "masked tokens", lambda batch: batch.mlm_count),),
        batch_of=DistillationBatch.of,
        pairs=False,
        masked=True,
        baselines=baselines,
        guesses=fill_blank,
        pipeline="fill-mask",
        recipe="Distilled: soft targets at temperature {temperature:g}, masked tokens ({mask_rate:.0%} in evaluations) "
        "and the cosine of the last hidden states, with weights {weights}.",
        how_to_try="minibert fill {folder} {text}",
        text="the [MASK] of the union",
    ),
}
