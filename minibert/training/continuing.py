"""Going on with what there is: pre-training from a model's weights, and a run that is given more steps."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

from minibert.base.progress import say
from minibert.models.bert import Model, wrong_direction
from minibert.models.hub import find_model
from minibert.text import Tokenizer
from minibert.training.checkpoints import OPTIONS, list_checkpoints, read_state
from minibert.training.config import HOW_IT_WAS_CALLED, MAY_MOVE, RENAMED, PretrainConfig
from minibert.training.config import OPTIONS as OPTIONS_FILE
from minibert.training.optimizer import learning_rate_at
from minibert.training.systems import SYSTEMS

log = logging.getLogger("minibert")


def check_model_to_continue(config: PretrainConfig) -> None:
    """Check the model of --from, before the run's folder is created.

    Raises ValueError if it is of another kind than --model, lacks embeddings for pieces of its own vocabulary, or has
    another number of positions than --max-positions; the errors of find_model; FileNotFoundError without a vocabulary.
    """
    if config.from_ is None:
        return
    folder = find_model(config.from_)
    model_class = SYSTEMS[config.model].model
    shape = model_class.config_class.load(folder)
    if model_class.left_to_right not in (None, shape.is_decoder):
        raise ValueError(f"--from {config.from_}: {wrong_direction(model_class.__name__, shape.is_decoder)}")
    pieces = len(Tokenizer.load(folder))
    if shape.vocab_size < pieces:
        raise ValueError(
            f"--from {config.from_}: the vocabulary has {pieces} pieces, the model only {shape.vocab_size}"
        )
    if shape.max_position_embeddings != config.max_positions:
        raise ValueError(
            f"--max-positions is {config.max_positions}, but the model of --from has {shape.max_position_embeddings}"
        )
    segments = getattr(shape, "type_vocab_size", 2)
    if segments < 2 and any(int(phase.split(":")[0]) >= config.pairs_from for phase in config.lengths):
        raise ValueError(
            f"--from {config.from_} has no second segment, so sentence pairs are impossible; raise --nsp-from"
        )


def model_to_continue(config: PretrainConfig, run: Path, backend: Any, dtype: str) -> Model:
    """The model of --from, or, in a run that is resumed, the model in the run's own folder.

    What the file lacks, such as a head, is initialised and reported.  Raises ValueError for files that do not fit.
    """
    assert config.from_ is not None
    source = run if config.resume and (run / "config.json").exists() else find_model(config.from_)
    model_class = SYSTEMS[config.model].model
    wanted: dict[str, Any] = dict(
        hidden_dropout_prob=config.dropout, attention_probs_dropout_prob=config.dropout, labels=()
    )
    known = {field.name for field in dataclasses.fields(model_class.config_class)}
    changes = {name: value for name, value in wanted.items() if name in known}
    report = log.info if source == run else lambda line: say("note", line)
    return model_class.from_pretrained(source, backend, dtype=dtype, report=report, seed=config.seed, **changes)


OF_THE_RECORD = "eval_every", "eval_pairs", "final_pairs", "save_every", "keep", "log_every"  # no model depends on them


def options_for_checkpoint(config: PretrainConfig) -> dict[str, Any]:
    """The options on which a run's model depends, as they are stored in its checkpoints."""
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    return {name: value for name, value in values.items() if name not in (*HOW_IT_WAS_CALLED, *MAY_MOVE)}


def check_options_of_checkpoint(run: Path) -> None:
    """Check that the options in the run's folder are those with which its newest checkpoint was made.

    Checkpoints of earlier versions have no options.  Raises ValueError if one was changed, or if the checkpoint is
    damaged.
    """
    checkpoints = list_checkpoints(run)
    if not checkpoints:
        return
    stored = options_for_checkpoint(PretrainConfig.load(run))
    made_with = {RENAMED.get(name, name): value for name, value in read_state(checkpoints[-1]).get(OPTIONS, {}).items()}
    for name, value in stored.items():
        then = made_with.get(name, value)
        raised = name == "steps" and isinstance(then, int) and value > then
        if value != then and name not in OF_THE_RECORD and not raised:
            raise ValueError(
                f'{run / OPTIONS_FILE} has "{name}": {json.dumps(value)}, but checkpoint {checkpoints[-1].name} was '
                f"made with {json.dumps(then)}; restore it to resume the run, or start a new one"
            )


def raise_steps(config: PretrainConfig, run: Path) -> int | None:
    """If a run is resumed with more steps, store their number; returns the number before, or None."""
    if not config.resume:
        return None
    stored = PretrainConfig.load(run)
    if config.steps <= stored.steps:
        return None
    dataclasses.replace(stored, steps=config.steps).save(run)
    return stored.steps


def say_raised(config: PretrainConfig, before: int, step: int) -> None:
    """Say which schedule a run follows that was given more steps, from `step` on."""
    then, now = (
        learning_rate_at(step, steps=steps, peak=config.learning_rate, warmup=config.warmup)
        for steps in (before, config.steps)
    )
    say(
        "steps",
        f"raised from {before:,} to {config.steps:,}: from step {step:,} on, phases and learning rate are those of a "
        f"run of {config.steps:,} steps (the rate is {now:.2g} instead of {max(then, 0.0):.2g})",
    )
