"""The options of `minibert finetune`."""

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from minibert.base.arguments import Argument, flag_of
from minibert.base.field_types import typed
from minibert.base.files import write_text
from minibert.base.folders import UNFINISHED, is_unfinished
from minibert.base.formats import FormatError, with_format, without_format
from minibert.base.json_text import read_json
from minibert.ops.backend import CANNOT_EMULATE
from minibert.tasks.registry import RETIRED, task_info
from minibert.training.config import value_of

OPTIONS = "finetune.json"  # the file in a fine-tuned model's folder that stores the options
HOW_IT_WAS_CALLED = "out", "resume", "threads", "emulate"
MAY_MOVE = "run", "revision", "train", "dev", "teacher"  # may be elsewhere when resumed; their content is compared
WIDE = 384  # models with a smaller hidden size use a higher learning rate (Turc et al. 2019, section 3: up to 3e-4)
RATE_OF_NARROW, RATE_OF_WIDE, RATE_OF_FROZEN = 3e-4, 5e-5, 2e-3


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pre-trained BERT on a task, with one additional output layer.

    For example, offline, from a run of `minibert pretrain`: minibert finetune runs/001 --task sotu-punctuation
    Or with your own files: minibert finetune MODEL --task sst2 --train train.tsv --dev dev.tsv
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a pre-trained model (a minibert run or any BERT in safetensors), or the name of a published one."""
    task: str
    """sst2, cola, stsb, mrpc, qqp, mnli, qnli, rte, sick, sick-relatedness, conll, wnut, squad, squad2, swag; sentence,
    regression, tokens, span, choice for your own files; sotu-era, sotu-shuffled, sotu-next, sotu-punctuation,
    sotu-replaced, which need no files."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    train: str | None = None
    """Training file."""
    dev: str | None = None
    """Dev file; if omitted, part of the training file is held out."""
    dev_examples: int | None = None
    """Number of training examples to hold out at random; the same ones for every seed."""
    dev_share: float = 0.1
    """Share of the training examples to hold out, if --dev-examples is omitted."""
    tune: bool = False
    """Evaluate on examples held out from the training part even if the task has a dev set, to choose options."""
    train_examples: int | None = None
    """Train on only this many examples, chosen at random."""
    text_column: Annotated[str | None, Argument(default="(default: the task's)")] = None
    """Column or field with the text; with the words; with the text in which the answer is. In CoNLL files its number,
    from 1, in CoNLL-U its name."""
    pair_column: Annotated[str | None, Argument(default="(default: the task's)")] = None
    """Column or field with the second text of a pair; with the question; with the endings."""
    label_column: Annotated[str | None, Argument(default="(default: the task's)")] = None
    """Column or field with the label; with the words' labels; with the answers; with the number of the ending."""
    label_names: Annotated[str | None, Argument(metavar="NAME,NAME,...", default="(default: the task's)")] = None
    """Names of labels that are given as numbers, from 0."""
    out: Annotated[str | None, Argument(metavar="DIR", default="(default: runs/TASK/001, …)")] = None
    """Folder for the fine-tuned model; must be new or empty unless --resume is given."""
    resume: bool = False
    """Continue the fine-tuning in --out that was stopped or killed, from the epoch that it had reached, bit for bit as
    if it had never stopped; no other option is needed."""

    epochs: int = 3
    """Number of passes over the training data."""
    batch_size: int = 32
    """Examples per step."""
    learning_rate: Annotated[
        float | None,
        Argument(metavar="FLOAT", default="(default: 5e-5; 3e-4 for models narrower than 384; 2e-3 with --frozen)"),
    ] = None
    """Peak learning rate."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    output_init: Annotated[float | None, Argument(metavar="FLOAT", default="(default: 1 / sqrt(its inputs))")] = None
    """Standard deviation of the initial weights of the output layer; 0.02 in the paper's release."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases and layer norms are not decayed."""
    clip: float = 1.0
    """Clip the gradient to this Euclidean norm."""
    max_length: int = 128
    """Maximum sequence length, in tokens; at most the model's number of positions."""
    evaluations: int = 1
    """Evaluations per epoch."""
    patience: int | None = None
    """Stop after this many evaluations without improvement."""
    seed: int = 0
    """Seed for the output layer, the order of the data and dropout."""
    seeds: int = 1
    """Train this many times, with consecutive seeds; keep the best model and report mean and standard deviation."""

    frozen: bool = False
    """Freeze the pre-trained model and train a small one on its vectors (to classify words or sentences, or to find
    spans); an ELMo is always frozen."""
    layers: Annotated[
        str | None, Argument(default="(default: last-four; weighted for an ELMo and below four layers)")
    ] = None
    """With --frozen, which layers to use: last-four (concatenated), weighted (a sum of all layers with learnt weights),
    or the number of a layer, such as -1 for the last."""
    head: Annotated[Literal["linear", "bilstm"] | None, Argument(default="(default: linear; bilstm if frozen)")] = None
    """What to add to the pre-trained model: an output layer, or a two-layer BiLSTM followed by an output layer."""

    teacher: Annotated[str | None, Argument(metavar="DIR", default="(default: none)")] = None
    """Folder of a larger model that was fine-tuned on the same task: train on its predictions, too."""
    temperature: float = 2.0
    """With a teacher, the temperature of its predictions."""
    soft_weight: float = 0.5
    """With a teacher, the weight of the loss on its predictions; the loss on the labels has the rest, 1 minus this."""

    stride: int = 128
    """For texts too long for one sequence: distance between the starts of successive windows, in tokens."""
    max_answer: int = 30
    """Maximum answer length, in tokens."""
    n_best: int = 20
    """Number of candidate answers to compare."""
    null_threshold: float = 0.0
    """Predict "no answer" if its score exceeds that of the best answer by more than this."""

    backend: Literal["reference", "cpu", "gpu", "mine"] = "cpu"
    """Backend to compute with: cpu (Numba), reference (NumPy), gpu (CuPy) or mine (your answers in the lessons)."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU (slow; requires a C++ compiler)."""
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    """Precision; all but float32 require a GPU."""
    accumulate: int = 1
    """Split each batch into this many parts: less memory, same result."""
    threads: Annotated[int | None, Argument(default="(default: one per available core)")] = None
    """Number of CPU threads."""

    def __post_init__(self) -> None:
        if self.task in RETIRED:
            raise ValueError(
                f"--task {self.task} is no longer offered, as it says little about small models; "
                f"use --task {RETIRED[self.task][1]} instead"
            )
        info = task_info(self.task)
        offline = self.task.startswith("sotu-")
        if offline and (self.train or self.dev):
            raise ValueError(f"--task {self.task} comes with its own data; omit --train and --dev")
        if not offline and self.train is None:
            raise ValueError(f"--task {self.task} ({info.title}) requires --train FILE")
        at_least_one = "epochs batch_size max_length evaluations seeds stride max_answer n_best accumulate"
        for name in (*at_least_one.split(), "patience", "threads", "dev_examples", "train_examples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected at least 1")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            no_clipping = field.name == "clip" and value == math.inf
            if isinstance(value, float) and not math.isfinite(value) and not no_clipping:
                raise ValueError(f"--{field.name.replace('_', '-')} is {value}; expected a number")
        if self.max_length < 16:
            raise ValueError(f"--max-length is {self.max_length}; expected at least 16")
        for name in ("learning_rate", "output_init", "clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected more than 0")
        if not 0 <= self.warmup < 1 or not 0 < self.dev_share < 1:
            raise ValueError("--warmup must be at least 0 and below 1, and --dev-share must be between 0 and 1")
        if self.weight_decay < 0 or self.seed < 0:
            raise ValueError("--weight-decay and --seed must be at least 0")
        if not self.temperature > 0 or not 0 <= self.soft_weight <= 1:
            raise ValueError("--temperature must be above 0, and --soft-weight must be between 0 and 1")
        if self.precision != "float32" and self.backend != "gpu":
            raise ValueError(
                f"--precision {self.precision} requires a GPU (--backend gpu); {self.backend} supports only float32"
            )
        if self.emulate and self.backend != "gpu":
            raise ValueError(CANNOT_EMULATE.format(self.backend))
        if self.resume and self.out is None:
            raise ValueError("--resume requires --out with the folder of the fine-tuning to continue")

    @property
    def names_of_labels(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in (self.label_names or "").split(",") if name.strip())

    @classmethod
    def defaults(cls, words: Iterable[str]) -> "FinetuneConfig | None":
        """The options of the fine-tuning to resume, if the command line has --resume; otherwise None.

        Raises FileNotFoundError if --out holds no fine-tuning, ValueError if its options are damaged.
        """
        words = list(words)
        out = value_of("--out", words)
        if "--resume" not in words or out is None:
            return None
        folder = Path(out) / UNFINISHED if is_unfinished(out) else Path(out)
        if not (folder / OPTIONS).is_file():
            raise FileNotFoundError(f"{out} holds no fine-tuning that could be resumed")
        return cls(**cls.stored(folder), out=out)

    def check_same_as(self, stored: "FinetuneConfig") -> None:
        """Raise ValueError if these options differ from `stored`, the options that the fine-tuning was started with."""
        for field in dataclasses.fields(self):
            here, there = getattr(self, field.name), getattr(stored, field.name)
            if field.name not in (*HOW_IT_WAS_CALLED, *MAY_MOVE) and here != there:
                raise ValueError(
                    f"{self.out} was started with {flag_of(field.name)} {there}, but this call has {here}; "
                    "omit the option to resume, or start anew with another --out"
                )

    def save(self, folder: Path | str) -> None:
        """Save the options in the fine-tuned model's folder."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in HOW_IT_WAS_CALLED}
        write_text(Path(folder) / OPTIONS, json.dumps(with_format(values), indent=2) + "\n")

    @staticmethod
    def stored(folder: Path | str) -> dict[str, Any]:
        """The options that `save` stored in a folder.

        Raises FileNotFoundError if there are none, as in folders of earlier versions; ValueError if they are damaged.
        """
        path = Path(folder) / OPTIONS
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: the model was fine-tuned by an earlier version of minibert")
        try:
            values = without_format(read_json(path), path, {})
            FinetuneConfig(**typed(FinetuneConfig, values))
            return values
        except FormatError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({error})") from None


def usual_rate(frozen: bool, width: int) -> float:
    """The default learning rate; width: the model's hidden size."""
    if frozen:
        return RATE_OF_FROZEN
    return RATE_OF_WIDE if width >= WIDE else RATE_OF_NARROW
