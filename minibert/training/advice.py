"""Error messages for training that cannot continue: what happened, and which option to change."""

from pathlib import Path

from minibert.training.checkpoints import list_checkpoints
from minibert.training.config import PretrainConfig


def when_out_of_memory(name: str, config: PretrainConfig, sequences: int, of_batch: int, length: int) -> str:
    """Advice when a micro-batch does not fit in memory.

    name: the name of the model; sequences: the number of sequences in the micro-batch; of_batch: the number in the
    whole batch; length: the number of tokens in a sequence.
    """
    advice = f"lower --batch-tokens (now {config.batch_tokens}) or the sequence length"
    if sequences > 1:
        parts = min(2 * config.accumulate, of_batch)
        advice = (
            f"split batches into more parts with --accumulate {parts} (now {config.accumulate}; same result), "
            f"or {advice}"
        )
    if config.backend == "gpu" and config.precision in ("float32", "tf32"):
        advice += "; --precision bfloat16 needs half as much memory per token"
    return f"{sequences} sequences of {length} tokens do not fit in memory with {name}: {advice}"


def when_pretraining_diverged(run: Path, step: int, learning_rate: float) -> str:
    """Advice when a loss or a parameter is NaN or infinite after a step: the last good checkpoint, and what to try."""
    checkpoints = list_checkpoints(run)
    good = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "there is no checkpoint yet"
    return (
        f"a loss or a parameter became NaN or infinite at step {step:,}; {good}. "
        f"Try a new run with a lower --learning-rate (now {learning_rate:g}) or a longer --warmup"
    )


def when_finetuning_diverged(step: int, learning_rate: float) -> str:
    """Advice when the loss of a fine-tuning step is NaN or infinite: what to try."""
    return (
        f"the loss became NaN or infinite at step {step}; try a lower --learning-rate (now {learning_rate:g}) "
        f"or a longer --warmup"
    )
