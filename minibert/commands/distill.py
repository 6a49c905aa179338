"""`minibert distill`: pre-train a DistilBERT that learns from a trained BERT."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from minibert.base.arguments import Argument
from minibert.data.corpus import STANDARD_INPUT
from minibert.models.hub import find_model
from minibert.nn.config import BertConfig
from minibert.training.config import OPTIONS, PretrainConfig
from minibert.training.pretraining import pretrain

# what a student takes from the options of its teacher's run: the text and its division, and the numbers of a step
FROM_THE_TEACHER = (
    "corpus",
    "documents",
    "document_per_file",
    "sentences",
    "text_field",
    "held_out",
    "mask_rate",
    "whole_word",
    "masked_as",
    "batch_tokens",
    "accumulate",
    "beta1",
    "beta2",
    "adam_eps",
    "weight_decay",
    "bias_correction",
    "clip",
    "dropout",
)


LENGTHS = "64:0.6", "128:0.4"


@dataclass(frozen=True)
class DistillConfig:
    """Distil a trained BERT into a DistilBERT with half of its layers (Sanh et al. 2019).

    For example: minibert distill runs/001
    The student sees the text of the teacher's run, unless another is given, and starts from every other layer of the
    teacher.  It is a run like those of minibert pretrain; every option of that command can be given to
    minibert pretrain --model distilbert --teacher RUN, which also resumes it.
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """The teacher: folder of a pre-trained BERT (a minibert run or any BERT in safetensors), or the name of a published
    one."""
    corpus: Annotated[
        tuple[str, ...], Argument(metavar="CORPUS ...", default="(default: the teacher's)", positional=True)
    ] = ()
    """Text to learn from, as in minibert pretrain."""
    out: Annotated[str | None, Argument(metavar="DIR", default="(default: runs/001, runs/002, …)")] = None
    """Folder for the student; must be new or empty."""
    steps: int = 10_000
    """Optimiser steps."""
    lengths: Annotated[tuple[str, ...], Argument(default="(default: 64:0.6 128:0.4, as far as the teacher reads)")] = ()
    """Phases of the training, as in minibert pretrain."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    temperature: float = 2.0
    """Temperature of the soft targets."""
    soft_weight: float = 5.0
    """Weight of the loss on the teacher's soft targets; 0 leaves it out."""
    mlm_weight: float = 2.0
    """Weight of the loss on the masked tokens; 0 leaves it out."""
    cosine_weight: float = 1.0
    """Weight of the loss on the cosine of the student's and the teacher's hidden states; 0 leaves it out."""
    soft_targets: Literal["all", "masked"] = "all"
    """The tokens that have soft targets: all, as in the paper, or only the masked ones, which is faster."""
    student_init: Literal["teacher", "random"] = "teacher"
    """Start from every other layer of the teacher, or at random."""
    seed: int = 0
    """Seed for the order of the data, the masks and dropout."""
    backend: Literal["reference", "cpu", "gpu"] = "cpu"
    """Backend to compute with: cpu (Numba), reference (NumPy) or gpu (CuPy)."""
    threads: Annotated[int | None, Argument(default="(default: one per available core)")] = None
    """Number of CPU threads."""

    def pretraining(self) -> PretrainConfig:
        """The options of the run.  Raises FileNotFoundError or ValueError if the teacher cannot be read."""
        folder = find_model(self.run)
        shape = BertConfig.load(folder)
        values: dict[str, Any] = {}
        if (folder / OPTIONS).is_file():
            of_teacher = PretrainConfig.load(folder)
            values = {name: getattr(of_teacher, name) for name in FROM_THE_TEACHER}
        if STANDARD_INPUT in values.get("corpus", ()) and not self.corpus:
            raise ValueError(f"{self.run} was trained on standard input, which cannot be read again; name the CORPUS")
        shared = {field.name for field in dataclasses.fields(PretrainConfig)} & set(vars(self))
        values |= {name: getattr(self, name) for name in shared if name not in ("corpus", "lengths")}
        values |= {"corpus": self.corpus} if self.corpus else {}
        longest = shape.max_position_embeddings
        values["lengths"] = self.lengths or (LENGTHS if longest >= 128 else (f"{longest}:1",))
        return PretrainConfig(
            **values,
            model="distilbert",
            teacher=self.run,
            vocab=str(folder),
            max_positions=shape.max_position_embeddings,
            loss_weights=(self.soft_weight, self.mlm_weight, self.cosine_weight),
        )


def distill(config: DistillConfig) -> int:
    """Train the student, and return the exit code of minibert.training.pretraining.pretrain, whose errors it raises."""
    return pretrain(config.pretraining())
