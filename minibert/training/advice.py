"""What to tell the user when training cannot continue: what happened, and which option to change."""

from pathlib import Path

from minibert.training.checkpoints import list_checkpoints
from minibert.training.config import PretrainConfig


def when_out_of_memory(config: PretrainConfig, sequences: int, of_batch: int, length: int) -> str:
    """sequences: in the micro-batch that did not fit; of_batch: in the whole batch; length: of each, in tokens."""
    advice = f"lower --batch-tokens (now {config.batch_tokens}) or the length"
    if sequences > 1:
        parts = min(2 * config.accumulate, of_batch)
        advice = (
            f"cut batches into more parts with --accumulate {parts} (now {config.accumulate}; the result is the same), "
            f"or {advice}"
        )
    if config.backend == "gpu" and config.precision in ("float32", "tf32"):
        advice += "; --precision bfloat16 takes half as much for a token"
    return f"{sequences} sequences of {length} tokens do not fit beside the model {config.size}: {advice}"


def when_pretraining_diverged(run: Path, step: int, learning_rate: float) -> str:
    """The loss of a step is NaN or infinite: the last good checkpoint, and what to try."""
    checkpoints = list_checkpoints(run)
    good = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "there is no checkpoint yet"
    return (
        f"the loss became NaN or infinite at step {step:,}; {good}. "
        f"Try a new run with a lower --learning-rate (now {learning_rate:g}) or a longer --warmup"
    )


def when_finetuning_diverged(step: int, learning_rate: float) -> str:
    """The loss of a step is NaN or infinite: what to try."""
    return (
        f"the loss became NaN or infinite at step {step}; try a lower --learning-rate (now {learning_rate:g}) "
        f"or a longer --warmup"
    )
