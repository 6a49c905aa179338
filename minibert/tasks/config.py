"""The options of `minibert finetune`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from minibert.base.arguments import Argument
from minibert.models.features import LAST_FOUR
from minibert.ops.backend import CANNOT_EMULATE
from minibert.tasks.registry import SENTENCE, TOKENS, task_info

WIDE = 384  # models narrower than this learn at a higher rate (Turc et al. 2019, section 3: up to 3e-4)
RATE_OF_NARROW, RATE_OF_WIDE, RATE_OF_FROZEN = 3e-4, 5e-5, 2e-3


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tune a pre-trained BERT on a task, with one additional output layer.

    For example, offline, on the run of `minibert pretrain`: minibert finetune runs/001 --task sotu-punctuation
    Or on files: minibert finetune MODEL --task sst2 --train train.tsv --dev dev.tsv
    """

    run: Annotated[str, Argument(metavar="RUN", positional=True)]
    """Folder of a pre-trained model: a run of minibert, or any BERT in safetensors; or the name of a published one."""
    task: str
    """sst2, cola, stsb, mrpc, qqp, mnli, qnli, rte, sick, sick-relatedness, conll, wnut, squad, squad2, swag; sentence,
    regression, tokens, span, choice for files of your own; sotu-era, sotu-party, sotu-order, sotu-punctuation,
    sotu-inserted, which need no file."""
    revision: str | None = None
    """Branch, tag or commit of a published model."""
    train: str | None = None
    """Training file."""
    dev: str | None = None
    """Dev file; without it, part of the training file is held out."""
    dev_examples: int | None = None
    """Hold out this many training examples, at random, the same ones for every seed."""
    dev_share: float = 0.1
    """Or hold out this share of them."""
    train_examples: int | None = None
    """Learn from this many examples only, chosen at random."""
    text_column: str | None = None
    """For your own tables and JSONL: the column of the text (text)."""
    pair_column: str | None = None
    """The column of the second text of a pair (none)."""
    label_column: str | None = None
    """The column of the label (label)."""
    out: Annotated[str | None, Argument(metavar="DIR", default="(default: runs/TASK/001, …)")] = None
    """Folder for the fine-tuned model, new or empty."""

    epochs: int = 3
    """Passes over the training data."""
    batch_size: int = 32
    """Examples in a step."""
    learning_rate: Annotated[
        float | None,
        Argument(metavar="FLOAT", default="(default: 5e-5; 3e-4 below a width of 384; 2e-3 with --frozen)"),
    ] = None
    """Peak learning rate."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases and layer norms are not decayed."""
    clip: float = 1.0
    """Clip the gradient to this Euclidean norm."""
    max_length: int = 128
    """Longest sequence, in tokens; at most the number of the model's positions."""
    evaluations: int = 1
    """Evaluations in each epoch."""
    patience: int | None = None
    """Stop after this many evaluations without a better score."""
    seed: int = 0
    """Seed of the output layer, the order and the dropout."""
    seeds: int = 1
    """Train this many times, with consecutive seeds; keep the best model, and report mean and standard deviation."""

    frozen: bool = False
    """Freeze the pre-trained model and train a small one on its vectors (to classify words and sentences)."""
    layers: str = LAST_FOUR
    """With --frozen, which layers' vectors: last-four (concatenated), weighted (a sum of all with learnt weights), or
    one layer's number, such as -1 for the last."""
    head: Literal["linear", "bilstm"] = "bilstm"
    """With --frozen, what to train: an output layer, or a BiLSTM of two layers before it (words only)."""

    stride: int = 128
    """For a text that is too long for one sequence: how far each window starts after the previous one, in tokens."""
    max_answer: int = 30
    """Longest answer in a text, in tokens."""
    n_best: int = 20
    """How many candidate answers to compare."""
    null_threshold: float = 0.0
    """Answer "no answer" if it scores this much more than the best answer."""

    backend: Literal["reference", "cpu", "gpu"] = "cpu"
    """Compute with cpu (Numba), reference (NumPy) or gpu (CuPy)."""
    emulate: bool = False
    """Run the kernels of the gpu backend on the CPU (slow; needs a C++ compiler)."""
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    """Precision on a GPU."""
    accumulate: int = 1
    """Cut each batch into this many parts: the same result with less memory."""
    threads: int | None = None
    """CPU threads; by default one for each core that this process may use."""

    def __post_init__(self) -> None:
        info = task_info(self.task)
        offline = self.task.startswith("sotu-")
        if offline and (self.train or self.dev):
            raise ValueError(f"--task {self.task} brings its own data; leave --train and --dev out")
        if not offline and self.train is None:
            raise ValueError(f"--task {self.task} ({info.title}) needs --train FILE")
        at_least_one = "epochs batch_size max_length evaluations seeds stride max_answer n_best accumulate"
        for name in (*at_least_one.split(), "patience", "threads", "dev_examples", "train_examples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected at least 1")
        if self.max_length < 16:
            raise ValueError(f"--max-length is {self.max_length}; expected at least 16")
        for name in ("learning_rate", "clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected more than 0")
        if not 0 <= self.warmup < 1 or not 0 < self.dev_share < 1:
            raise ValueError("--warmup must be at least 0 and below 1, and --dev-share must be between 0 and 1")
        if self.weight_decay < 0 or self.seed < 0:
            raise ValueError("--weight-decay and --seed must not be below 0")
        if self.frozen and info.kind not in (SENTENCE, TOKENS):
            raise ValueError(f"--frozen is for classes of sentences and words; {self.task} is of the kind {info.kind}")
        if self.frozen and self.backend == "gpu":
            raise ValueError("--frozen runs on the backends cpu and reference")
        if self.precision != "float32" and self.backend != "gpu":
            raise ValueError(f"--precision {self.precision} is for a GPU (--backend gpu); {self.backend} has float32")
        if self.emulate and self.backend != "gpu":
            raise ValueError(CANNOT_EMULATE.format(self.backend))
