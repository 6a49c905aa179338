"""The preparation of a run before its first step: a vocabulary, the corpus as token ids, and a model.

Each stage writes either a complete file or folder into the run's folder, or nothing; a resumed run reuses the results.
"""

import dataclasses
import logging
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.base.files import write_file
from minibert.base.progress import progress_bar, say
from minibert.base.streams import standard_input
from minibert.data.corpus import DEFAULT_CORPUS, STANDARD_INPUT, Document, read_corpus
from minibert.data.documents import DocumentSet
from minibert.data.examples import Windows
from minibert.data.findings import Findings
from minibert.data.pairs import Pairs
from minibert.data.pretraining import LengthPhase, parse_phases
from minibert.data.shards import Shards, write_shards
from minibert.data.sufficient import Need, Sufficient
from minibert.models import BertConfig, BertForPreTraining, initialise_from_teacher, student_config
from minibert.models.bert import Model
from minibert.models.hub import find_model
from minibert.ops import load_backend
from minibert.ops.backend import Backend
from minibert.ops.devices import why_not_in
from minibert.text import Tokenizer, learn_vocabulary
from minibert.training.config import PretrainConfig
from minibert.training.continuing import check_model_to_continue, model_to_continue
from minibert.training.systems import SYSTEMS

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger("minibert")
CORPUS = "corpus"  # the folder of token shards within a run
MANY_UNKNOWN = 0.01  # share of the tokens that are [UNK] above which there is a warning
STDIN = "stdin.txt"  # a copy of standard input, which can be read only once but is needed twice


def check_before_anything_is_written(config: PretrainConfig) -> None:
    """Check the options, the sources, the vocabulary and the backend, before the run's folder is created."""
    check_lengths(config)
    # checks that all sources exist and begin as their names say
    read_corpus(config.corpus or (DEFAULT_CORPUS,), config.corpus_options, document_per_file=config.document_per_file)
    if config.vocab is not None:
        Tokenizer.load(config.vocab)
    backend_of(config)
    check_teacher(config)
    check_model_to_continue(config)


def check_lengths(config: PretrainConfig) -> list[LengthPhase]:
    """Parse the phases of --lengths.  Raises ValueError when a length is too large for the model or for a batch."""
    phases = parse_phases(" ".join(config.lengths))
    for phase in phases:
        source = Pairs if phase.length >= config.pairs_from else Windows
        if phase.length < source.SHORTEST:
            raise ValueError(f"--lengths has a phase of {phase.length} tokens; expected at least {source.SHORTEST}")
    longest = max(phase.length for phase in phases)
    if longest > config.max_positions:
        raise ValueError(
            f"--lengths has {longest} tokens, more than --max-positions {config.max_positions}; raise --max-positions"
        )
    if config.batch_tokens < longest:
        raise ValueError(
            f"--batch-tokens {config.batch_tokens} is below the {longest} tokens of a sequence (--lengths); raise it"
        )
    if config.accumulate > config.batch_tokens // longest:
        raise ValueError(
            f"--accumulate {config.accumulate} exceeds the {config.batch_tokens // longest} sequences of {longest} "
            f"tokens in a batch of {config.batch_tokens}; lower it or raise --batch-tokens"
        )
    return phases


def prepare_tokenizer(config: PretrainConfig, run: Path) -> Tokenizer:
    """The tokenizer of the run, read from the run's folder, from --vocab or --from, or learnt from the corpus."""
    if (run / "vocab.txt").exists() and (run / "tokenizer_config.json").exists():
        return Tokenizer.load(run)
    if config.vocab is not None:
        tokenizer = Tokenizer.load(config.vocab)
    elif config.from_ is not None:
        tokenizer = Tokenizer.load(find_model(config.from_))
    else:
        needs = [Need(phase.length, phase.length >= config.pairs_from) for phase in check_lengths(config)]
        sufficient = Sufficient(needs, config.batch_tokens, config.held_out, config.tune)
        texts = (document.text for document in sufficient.passed(documents_of(config, run, report=True)))
        with byte_bar("learning the vocabulary") as bar:
            vocabulary = learn_vocabulary(
                counted(texts, bar),
                config.vocab_size,
                lowercase=not config.cased,
                min_frequency=config.min_frequency,
                limit_alphabet=config.limit_alphabet,
            )
        tokenizer = Tokenizer(vocabulary, lowercase=not config.cased, model_max_length=config.max_positions)
    tokenizer.save(run)
    return tokenizer


def prepare_shards(config: PretrainConfig, run: Path, tokenizer: Tokenizer) -> Shards:
    """Tokenise the corpus into the run's folder, unless this has been done already, and open the token shards."""
    folder = run / CORPUS
    if not folder.exists():
        documents = documents_of(config, run, report=config.vocab is not None or config.from_ is not None)
        with byte_bar("tokenising the corpus") as bar:
            shards = write_shards(documents, tokenizer, folder, progress=bar.update, cut=True)
        warn_of_unknown(shards, tokenizer, config)
    (run / STDIN).unlink(missing_ok=True)
    return Shards(folder, tokenizer)


def warn_of_unknown(shards: Shards, tokenizer: Tokenizer, config: PretrainConfig) -> None:
    """Print a warning if many tokens of the corpus are [UNK]."""
    share = shards.count(tokenizer.unk_id) / shards.manifest["counts"]["tokens"]
    if share > MANY_UNKNOWN:
        advice = "choose another --vocab" if config.vocab is not None else "raise --limit-alphabet"
        advice = "choose another model for --from" if config.from_ is not None else advice
        say(
            "warning",
            f"{share:.1%} of the corpus's tokens are {tokenizer.special_tokens[1]}: characters that the vocabulary "
            f"lacks; {advice}",
        )


def prepare_model(
    config: PretrainConfig, run: Path, tokenizer: Tokenizer, teacher: BertForPreTraining | None = None
) -> Model:
    """The model of the run: initialised, or that of --from; teacher: the model that it will learn from, if any."""
    if config.from_ is not None:
        return model_to_continue(config, run, backend_of(config), dtype_of(config.precision))
    model_class = SYSTEMS[config.model].model
    dropout = dict(hidden_dropout_prob=config.dropout, attention_probs_dropout_prob=config.dropout)
    shape = new_shape(config, tokenizer) if teacher is None else student_config(teacher.config, **dropout)
    model = model_class(
        shape,
        backend_of(config) if teacher is None else teacher.backend,
        dtype=dtype_of(config.precision),
        seed=config.seed,
        position_init=config.position_init,
    )
    if teacher is not None and config.student_init == "teacher":
        initialise_from_teacher(model, teacher)
    return model


def new_shape(config: PretrainConfig, tokenizer: Tokenizer) -> Any:
    """The configuration of a model of --size, with --layers and --heads."""
    model_class = SYSTEMS[config.model].model
    values = dict(
        max_position_embeddings=config.max_positions,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        pad_token_id=tokenizer.pad_id,
        is_decoder=model_class.left_to_right,
    )
    known = {field.name for field in dataclasses.fields(model_class.config_class)}
    chosen = {name: value for name, value in values.items() if name in known}
    shape = model_class.config_class.preset(config.size, len(tokenizer), **chosen)
    given = {"num_hidden_layers": config.layers, "num_attention_heads": config.heads}
    shape = dataclasses.replace(shape, **{name: value for name, value in given.items() if value is not None})
    std = config.init_std or 0.02 * (768 / shape.hidden_size) ** 0.5
    return dataclasses.replace(shape, initializer_range=round(std, 4))


def load_teacher(config: PretrainConfig) -> BertForPreTraining | None:
    """The teacher's model, or None without a teacher.

    Raises ValueError for a model that is not a BERT, or that was saved without its masked-LM head.
    """
    if config.teacher is None:
        return None
    folder = find_model(config.teacher)
    teacher = BertForPreTraining.from_pretrained(
        folder, backend_of(config), dtype=dtype_of(config.precision), report=log.info
    )
    if any(name.startswith("cls.predictions") for name in teacher.initialised_afresh):
        raise ValueError(f"--teacher {config.teacher} cannot teach: the model was saved without its masked-LM head")
    return teacher


def check_teacher(config: PretrainConfig) -> None:
    """Raise ValueError if the teacher does not fit the options: its vocabulary, depth, and number of positions."""
    if config.teacher is None:
        return
    folder = find_model(config.teacher)
    shape, vocabulary = BertConfig.load(folder), Tokenizer.load(folder).vocabulary
    student_config(shape)
    if shape.max_position_embeddings != config.max_positions:
        raise ValueError(
            f"--max-positions is {config.max_positions}, but the teacher has {shape.max_position_embeddings}"
        )
    if config.vocab is None or Tokenizer.load(config.vocab).vocabulary != vocabulary:
        raise ValueError(f"a student needs its teacher's vocabulary; give --vocab {config.teacher}")
    load_teacher(config)


def dtype_of(precision: str) -> str:
    """The dtype of the parameters for --precision."""
    return "float32" if precision == "tf32" else precision


def backend_of(config: PretrainConfig) -> Backend:
    """The backend for --backend, --emulate and --precision.  Raises RuntimeError if it is not available."""
    backend = load_backend(config.backend, emulate=config.emulate, tf32=config.precision == "tf32")
    if reason := why_not_in(backend, config.precision):
        raise RuntimeError(reason)
    return backend


def documents_of(config: PretrainConfig, run: Path, report: bool) -> Iterator[Document]:
    """The documents of the run's corpus; standard input is copied into the run's folder when it is first read.

    report: whether to print, after the last document, which layout was recognised and what was passed over.
    Raises the errors of read_corpus, in which the copy is called standard input.
    """
    sources: list[str | Path] = []
    copy = run / STDIN
    for source in config.corpus or (DEFAULT_CORPUS,):
        if source == STANDARD_INPUT and not copy.exists():
            write_file(copy, copy_standard_input)
        sources.append(copy if source == STANDARD_INPUT else source)
    findings = Findings()
    try:
        yield from read_corpus(
            sources, config.corpus_options, document_per_file=config.document_per_file, findings=findings
        )
    except ValueError as error:
        raise ValueError(str(error).replace(str(copy), "standard input")) from None
    if report:
        for line in findings.lines():
            say("layout", line)


def copy_standard_input(path: Path) -> None:
    with open(path, "wb") as file:
        shutil.copyfileobj(standard_input(), file)


def counted(texts: Iterable, bar: "tqdm") -> Iterator:
    """Yield the texts unchanged, while a progress bar counts their characters."""
    for text in texts:
        yield text
        bar.update(len(text))


def byte_bar(name: str) -> "tqdm":
    """A progress bar that counts characters of text."""
    return progress_bar(desc=name, unit="B", unit_scale=True, dynamic_ncols=True)


def pick_blanks(held_out: DocumentSet, tokenizer: Tokenizer, count: int, longest: int) -> list[tuple[str, str]]:
    """Held-out sentences with one word replaced by [MASK], each paired with that word; the same in every evaluation.

    The sentences have 8 to 20 pieces and fit in `longest` tokens; the word is a single piece of four letters or more,
    or a Chinese character, not punctuation.
    """
    random = np.random.default_rng(1)
    starts = held_out.shards.sentence_starts
    blanks = []
    for document in random.permutation(len(held_out)):
        first = held_out.first_sentences[document]
        sentences = first + random.permutation(held_out.sentence_counts[document])
        for sentence in sentences[:20]:
            ids = held_out.shards.read(starts[sentence], starts[sentence + 1]).astype(int)
            words = [tokenizer.vocabulary[i] for i in ids] + [""]
            hidden = [i for i in range(1, len(ids)) if is_word(words[i]) and not words[i + 1].startswith("##")]
            if 8 <= len(ids) <= 20 and hidden and tokenizer.unk_id not in ids:
                index = int(random.choice(hidden))
                left, right = tokenizer.decode(ids[:index]), tokenizer.decode(ids[index + 1 :])
                text = f"{left} [MASK] {right}"
                again = tokenizer.encode(text).ids  # the ids that fill_mask will get
                if len(again) <= longest and again.count(tokenizer.mask_id) == 1:
                    blanks.append((text, words[index]))
                    break
        if len(blanks) == count:
            break
    return blanks


def is_word(piece: str) -> bool:
    return piece.isalpha() and (len(piece) >= 4 or unicodedata.name(piece[0], "").startswith("CJK"))
