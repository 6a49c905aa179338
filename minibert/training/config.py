"""All options of pre-training, as a dataclass from which the command line is built."""

import dataclasses
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

from minibert.base.arguments import Argument, flag_of
from minibert.base.field_types import typed
from minibert.base.files import write_text
from minibert.base.formats import FormatError, with_format, without_format
from minibert.base.json_text import read_json
from minibert.data.corpus import CorpusOptions
from minibert.data.masking import MASKED_AS, Masking
from minibert.nn.config import PRESETS as SIZES
from minibert.ops.backend import CANNOT_EMULATE
from minibert.training.presets import (
    CONTINUING,
    EMULATED,
    NARROW,
    OF_THE_MODEL,
    PRESETS,
    RATE_OF_NARROW,
    RATE_OF_WIDE,
)

OPTIONS = "pretrain.json"  # the file in a run's folder that stores the options
RENAMED = {"position_start": "position_init"}  # an option's old name in that file -> its current name
HOW_IT_WAS_CALLED = "out", "resume", "threads", "emulate"  # options that may change when a run is resumed
MAY_MOVE = "teacher", "vocab", "from_"  # folders that may be elsewhere when a run is resumed


@dataclass(frozen=True)
class PretrainConfig:
    """Learn a vocabulary from text, pre-train a BERT (or another model) on it, and show what the model learnt.

    Without arguments: a tiny BERT on all US State of the Union addresses, in a new folder under runs/.
    """

    corpus: Annotated[
        tuple[str, ...],
        Argument(metavar="CORPUS ...", default="(default: the State of the Union addresses)", positional=True),
    ] = ()
    """Text to learn from: files (.txt, .md, .jsonl, .csv, .tsv, .parquet; also .gz, .bz2, .xz, .zst), folders of them,
    or - for standard input (docs/using.md)."""
    documents: Literal["auto", "file", "line", "blank"] = "auto"
    """What a document is in a text file: the file, a line, or the text between blank lines; auto recognises it."""
    document_per_file: bool = False
    """The same as --documents file."""
    sentences: Literal["auto", "marks", "lines", "both"] = "auto"
    """What ends a sentence: marks such as full stops, line ends (as in google-research/bert's format), or both; auto
    recognises it."""
    text_field: Annotated[str | None, Argument(metavar="NAME", default="(default: text)")] = None
    """Field of JSONL objects, or column of CSV, TSV and parquet files, that holds the text."""
    out: Annotated[str | None, Argument(metavar="DIR", default="(default: runs/001, runs/002, …)")] = None
    """Folder for the run; must be new or empty unless --resume is given."""
    resume: bool = False
    """Continue the run in --out from its last checkpoint, bit for bit as if it had never stopped."""
    seed: int = 0
    """Seed for the weights, the order of the data, the pairs, the masks and dropout."""
    backend: Literal["reference", "cpu", "gpu", "mine"] = "cpu"
    """Backend to compute with: cpu (Numba), reference (NumPy; slower), gpu (CuPy), or mine (your own answers from the
    lessons)."""
    emulate: bool = False
    """Run the gpu backend's kernels on the CPU, for inspection rather than training (requires a C++ compiler).
    Evaluations then use 8 pairs by default."""
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    """Precision: float32; on a GPU also tf32 (products of rounded inputs on tensor cores), or bfloat16 or float16 with
    master weights in float32 (float16 uses loss scaling)."""
    threads: Annotated[int | None, Argument(default="(default: one per available core)")] = None
    """Number of CPU threads."""

    preset: Literal["laptop", "paper", "gpu-8", "gpu-16", "gpu-24"] = "laptop"
    """Set the defaults of all options below: paper is the BERT paper's recipe, but for the model's size, the batches
    and the number of steps; gpu-8, gpu-16 and gpu-24 train a BERT of the paper's base size on one GPU with 8, 16 or
    24 GB of memory."""
    model: Literal["bert", "gpt", "elmo", "distilbert"] = "bert"
    """What to train: bert (masked tokens and next sentences), gpt (each next token, from left to right), elmo (two
    LSTMs, of which one predicts each next token and one each previous token) or distilbert (a student with half of the
    layers of --teacher; see minibert distill)."""
    from_: Annotated[str | None, Argument(metavar="MODEL", default="(default: begin at random)")] = None
    """Continue the pre-training of a model on your own text: its folder (a minibert run, or any BERT in safetensors) or
    the name of a published one. Its vocabulary and shape are used. The defaults are then 2000 steps of 128 tokens at
    a learning rate of 1e-4 (5e-4 for models narrower than 384)."""
    size: Literal["tiny", "mini", "small", "medium", "base", "large"] = "tiny"
    """Layers/width/heads: tiny 2/128/2, mini 4/256/4, small 4/512/8, medium 8/512/8, base 12/768/12, large
    24/1024/16."""
    layers: Annotated[int | None, Argument(default="(default: the size's)")] = None
    """Number of layers."""
    heads: Annotated[int | None, Argument(default="(default: the size's)")] = None
    """Number of attention heads, which must divide the width."""
    vocab: Annotated[str | None, Argument(metavar="DIR", default="(default: learn one from the corpus)")] = None
    """Folder of the vocabulary to use: vocab.txt and tokenizer_config.json, or tokenizer.json."""
    vocab_size: int = 8192
    """Size of the vocabulary to learn."""
    cased: bool = False
    """Keep capitals and accents (only for a vocabulary learnt from the corpus)."""
    min_frequency: int = 2
    """Minimum number of occurrences for a pair of pieces to be merged (for a vocabulary learnt from the corpus)."""
    limit_alphabet: int = 1000
    """Number of characters to keep, the most frequent ones (for a vocabulary learnt from the corpus)."""
    max_positions: int = 512
    """Maximum sequence length of the model, in tokens."""

    steps: int = 10_000
    """Optimiser steps."""
    batch_tokens: int = 1024
    """Tokens per batch; a batch has batch_tokens // length sequences."""
    lengths: tuple[str, ...] = ("8:0.1:0.4", "16:0.2:0.4", "64:0.2:0.25", "128:0.5")
    """Phases of the training, in order: LENGTH:SHARE or LENGTH:SHARE:RATE, that is, sequence length in tokens, share
    of the steps and, optionally, mask rate. Short sequences come first, because a neighbour is easy to find among 8
    tokens but lost in the average of 128; more masks early on give each step more to learn from
    (docs/pretraining.md)."""
    nsp_from: int = 64
    """Use next-sentence pairs for sequences of at least this length; shorter ones are windows of running text."""
    random_positions: bool = True
    """Start shorter windows at a random position, so that all position embeddings are trained early."""
    accumulate: int = 1
    """Split each batch into this many micro-batches and sum their gradients: less memory, same result."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: the matrices inside the layers move in orthogonalised directions, everything else by AdamW
    (training/muon.py)."""
    learning_rate: float = 2e-3
    """Peak learning rate, reached at the end of the warm-up."""
    warmup: float = 0.06
    """Share of the steps over which the learning rate rises from 0; it then falls linearly to 0."""
    beta1: float = 0.9
    """AdamW's beta1, the decay rate of the first moment."""
    beta2: float = 0.98
    """AdamW's beta2, the decay rate of the second moment (0.999 in the paper, whose runs have a million steps)."""
    adam_eps: float = 1e-6
    """AdamW's epsilon, added to the square root of the second moment."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases and layer norms are not decayed."""
    bias_correction: bool = False
    """Divide AdamW's moments by 1 - beta ** step (Kingma and Ba); the original BERT code does not."""
    clip: float = 1.0
    """Clip the gradient to this Euclidean norm."""
    dropout: float = 0.0
    """Dropout rate after sub-layers and on attention probabilities. The paper uses 0.1, but a tiny model that sees the
    corpus only a few times underfits, and dropout would slow its training down."""

    init_std: Annotated[float | None, Argument(metavar="FLOAT", default="(default: 0.02 * sqrt(768 / width))")] = None
    """Standard deviation of the initial weights. The default keeps the scale of a layer's output as in the paper,
    which uses 0.02 with 768 inputs."""
    position_init: Literal["sinusoids", "normal"] = "sinusoids"
    """Initial position embeddings: sinusoids, so that neighbours are similar, or normal, as in the paper."""
    mask_rate: float = 0.15
    """Share of tokens to predict, in evaluations and in phases for which --lengths gives no mask rate."""
    whole_word: bool = False
    """Mask all pieces of a word together."""
    masked_as: tuple[float, ...] = MASKED_AS
    """Shares of the chosen tokens that become [MASK], stay unchanged, and become a random piece; evaluations always use
    0.8 0.1 0.1."""

    teacher: Annotated[str | None, Argument(metavar="DIR", default="(default: none)")] = None
    """With --model distilbert, the folder of the model to distil; its size, vocabulary and --max-positions are used."""
    temperature: float = 2.0
    """With a teacher, the temperature of the soft targets."""
    loss_weights: tuple[float, ...] = (5.0, 2.0, 1.0)
    """With a teacher, the weights of the losses on soft targets, on masked tokens and on the cosine of hidden states; a
    loss of weight 0 is left out."""
    soft_targets: Literal["all", "masked"] = "all"
    """With a teacher, the tokens that have soft targets: all, as in the paper, or only the masked ones."""
    student_init: Literal["teacher", "random"] = "teacher"
    """With a teacher, start from every other layer of the teacher, or at random."""

    held_out: float = 0.05
    """Share of documents to hold out for evaluation, in whole groups (for the addresses, years)."""
    tune: bool = False
    """Evaluate on other documents, set aside from the training part, to choose options without looking at the held-out
    ones."""
    eval_every: int = 1000
    """Steps between evaluations."""
    eval_pairs: int = 200
    """Number of held-out pairs in each evaluation except the last."""
    final_pairs: int = 2000
    """Number of held-out pairs in the last evaluation."""
    save_every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Number of checkpoints to keep."""
    log_every: int = 10
    """Steps between reads of the losses from the device; metrics.jsonl gets a line for every step."""

    def __post_init__(self) -> None:
        at_least_one = (
            "steps batch_tokens accumulate eval_every eval_pairs final_pairs save_every keep log_every min_frequency"
        )
        for name in (*at_least_one.split(), "limit_alphabet", "max_positions", "layers", "heads", "threads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")
        if self.seed < 0:
            raise ValueError(f"--seed is {self.seed}; expected 0 or more")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"--{field.name.replace('_', '-')} is {value}; expected a number")
        if self.document_per_file and self.documents not in ("auto", "file"):
            raise ValueError(f"--document-per-file contradicts --documents {self.documents}; give one of them")
        if self.vocab_size < 6:
            raise ValueError(f"--vocab-size is {self.vocab_size}; expected more than the 5 special tokens")
        for name in ("learning_rate", "adam_eps", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected more than 0")
        for name in ("beta1", "beta2", "dropout", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 0 and below 1"
                )
        for name in ("mask_rate", "held_out"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; expected a share above 0 and below 1"
                )
        try:
            Masking(self.mask_rate, self.whole_word, self.masked_as)
        except ValueError as error:
            raise ValueError(f"--{str(error).replace('_', '-', 1)}") from None
        if self.weight_decay < 0 or (self.init_std is not None and not self.init_std > 0):
            raise ValueError("--weight-decay must be at least 0, and --init-std must be above 0")
        if (self.model == "distilbert") != (self.teacher is not None):
            raise ValueError("--model distilbert and --teacher DIR require each other")
        for name in ("layers", "heads"):
            if getattr(self, name) is not None and self.teacher is not None:
                raise ValueError(
                    f"--{name} does not apply to a student, which has its teacher's shape in half the layers"
                )
        if self.heads is not None and self.model == "elmo":
            raise ValueError("--heads does not apply to ELMo, which has no attention")
        if self.heads is not None and SIZES[self.size][1] % self.heads:
            raise ValueError(
                f"--heads {self.heads} does not divide the width {SIZES[self.size][1]} of --size {self.size}"
            )
        if not self.temperature > 0:
            raise ValueError(f"--temperature is {self.temperature}; expected more than 0")
        if len(self.loss_weights) != 3 or not all(w >= 0 for w in self.loss_weights) or not any(self.loss_weights):
            given = " ".join(f"{weight:g}" for weight in self.loss_weights)
            raise ValueError(f"--loss-weights are {given}; expected three numbers of at least 0, not all of them 0")
        if self.from_ is not None:
            self.check_from()
        if self.preset.startswith("gpu") and self.backend != "gpu":
            raise ValueError(f"--preset {self.preset} requires a GPU; omit --backend {self.backend} or the preset")
        if self.precision != "float32" and self.backend != "gpu":
            raise ValueError(
                f"--precision {self.precision} requires a GPU (--backend gpu); {self.backend} supports only float32"
            )
        if self.emulate and self.backend != "gpu":
            raise ValueError(CANNOT_EMULATE.format(self.backend))
        if self.resume and self.out is None:
            raise ValueError("--resume requires --out with the folder of the run to continue")

    def check_from(self) -> None:
        """Raise ValueError if an option is given that --from decides."""
        for name in ("vocab", "teacher", "layers", "heads", "init_std"):
            if getattr(self, name) is not None:
                raise ValueError(f"{flag_of(name)} does not apply with --from, which takes everything from the model")
        for field in dataclasses.fields(self):
            if field.name in OF_THE_MODEL and getattr(self, field.name) != field.default:
                raise ValueError(f"{flag_of(field.name)} does not apply with --from, which takes it from the model")

    @property
    def corpus_options(self) -> CorpusOptions:
        """How the corpus is divided into documents and sentences."""
        return CorpusOptions(self.documents, self.sentences, self.text_field)

    @property
    def pairs_from(self) -> int:
        """The length from which sequences are sentence pairs; beyond every length if the model does not use pairs."""
        from minibert.training.systems import SYSTEMS  # which imports this module

        return self.nsp_from if SYSTEMS[self.model].pairs else sys.maxsize

    def save(self, folder: Path | str) -> None:
        """Save the options in the run's folder."""
        values = dataclasses.asdict(self)
        for name in HOW_IT_WAS_CALLED:
            del values[name]
        write_text(Path(folder) / OPTIONS, json.dumps(with_format(values), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path | str) -> "PretrainConfig":
        """Load the options of the run in a folder.  Raises FileNotFoundError if there is no run."""
        path = Path(folder) / OPTIONS
        if not path.is_file():
            raise FileNotFoundError(f"{folder} contains no pre-training run ({path} is missing)")
        try:
            values = typed(cls, without_format(read_json(path), path, RENAMED))
            if "documents" not in values and values.get("corpus"):  # the only layout that earlier versions knew
                blank = "auto" if values.get("document_per_file") else "blank"
                values |= {"documents": blank, "sentences": "marks"}
            return cls(**values)
        except FormatError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({error}), so the run cannot be resumed; start a new run") from None

    @classmethod
    def defaults(cls, words: Iterable[str]) -> "PretrainConfig":
        """The values of options not on the command line: those of the run to resume, or the defaults of the preset."""
        words = list(words)
        out = value_of("--out", words)
        if "--resume" in words and out is not None:
            return dataclasses.replace(cls.load(out), out=out)
        preset = value_of("--preset", words) or "laptop"
        others = PRESETS.get(preset, {}) | (EMULATED if "--emulate" in words else {})
        if (model := value_of("--from", words)) is not None:
            others = {name: value for name, value in others.items() if name not in OF_THE_MODEL}
            others |= CONTINUING | of_model_to_continue(model)
        return cls(**others)

    def left_out(self) -> SimpleNamespace:
        """For each option the value that a command line may leave out; None if it has to be given."""
        values = dataclasses.asdict(PretrainConfig(**PRESETS[self.preset]))
        if self.from_ is not None:  # the defaults then depend on the model, which may be elsewhere
            values |= dict.fromkeys((*CONTINUING, "learning_rate", "max_positions"))
        return SimpleNamespace(**values)

    def check_same_as(self, stored: "PretrainConfig") -> None:
        """Raise ValueError if these options differ from `stored`, the options that the run was started with."""
        for field in dataclasses.fields(self):
            here, there = getattr(self, field.name), getattr(stored, field.name)
            raised = field.name == "steps" and here > there  # training/continuing.py says what follows from it
            if field.name not in (*HOW_IT_WAS_CALLED, *MAY_MOVE) and here != there and not raised:
                option = flag_of(field.name)
                raise ValueError(
                    f"{self.out} was started with {option} {there}, but this call has {here}; "
                    "omit the option to resume, or start a new run with another --out"
                )


def value_of(option: str, words: list[str]) -> str | None:
    """The value of an option on a command line, "--out DIR" or "--out=DIR"; None if the option is absent."""
    if option in words[:-1]:
        return words[words.index(option) + 1]
    return next((word.partition("=")[2] for word in words if word.startswith(f"{option}=")), None)


def of_model_to_continue(model: str) -> dict[str, Any]:
    """The defaults that depend on the model of --from; none if it cannot be read, which is reported later."""
    from minibert.models.hub import find_model
    from minibert.nn.config import read_config

    try:
        values = read_config(find_model(model), "bert", "distilbert", "elmo")
        width = values.get("hidden_size", values.get("dim"))
        positions = values.get("max_position_embeddings", 512)
    except (OSError, ValueError):
        return {}
    rate = RATE_OF_NARROW if width is not None and width < NARROW else RATE_OF_WIDE
    return {"learning_rate": rate, "max_positions": positions}
