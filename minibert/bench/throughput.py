"""A backend's training throughput in tokens per second, and its speed as a share of the device's matrix-product speed.

Batches consist of random ids, so no data is needed.  The time is measured over many steps, with synchronisation with
the device only before the first and after the last of them, as in training.
"""

import time
from dataclasses import asdict, dataclass

import numpy as np

from minibert.bench.ours import training_step
from minibert.data.batch import Batch, running_sum
from minibert.data.masked_batch import MaskedBatch
from minibert.models import BertConfig
from minibert.ops import Backend

MASK_RATE = 0.15
SIDE = 8192  # side of the square matrices whose product measures the device's peak speed
FORWARD_AND_BACKWARD = 3  # the backward pass has two matrix products for each one in the forward pass


@dataclass(frozen=True)
class Throughput:
    """The throughput of one model trained in one precision."""

    size: str
    precision: str
    sequences: int
    length: int
    tokens_per_second: float
    tflops: float
    """speed in 10**12 floating-point operations per second, counting only the matrix products that a step requires"""
    utilisation: float | None
    """`tflops` as a share of the speed of a large matrix product in the same precision; None if not measured"""
    peak_memory: int | None
    """the size in bytes to which the device's memory pool grew; None if there is no pool"""

    def as_dict(self) -> dict:
        return asdict(self)


def random_batch(config: BertConfig, sequences: int, length: int, seed: int = 0) -> MaskedBatch:
    """A batch of sentence pairs, each `length` random token ids long, with a share MASK_RATE of the tokens masked."""
    random = np.random.default_rng(seed)
    tokens = sequences * length
    masked = np.sort(random.choice(tokens, round(MASK_RATE * tokens), replace=False)).astype(np.int32)
    positions = np.tile(np.arange(length, dtype=np.int32), sequences)
    batch = Batch(
        token_ids=random.integers(0, config.vocab_size, tokens).astype(np.int32),
        segment_ids=(positions >= length // 2).astype(np.int32),
        position_ids=positions,
        cu_seqlens=running_sum(np.full(sequences, length)),
        sequence_numbers=np.arange(sequences, dtype=np.int64),
    )
    return MaskedBatch(
        batch,
        masked_positions=masked,
        masked_labels=random.integers(0, config.vocab_size, len(masked)).astype(np.int32),
        nsp_labels=random.integers(0, 2, sequences).astype(np.int32),
        mlm_count=len(masked),
        nsp_count=sequences,
    )


def step_flops(config: BertConfig, batch: MaskedBatch) -> float:
    """The number of floating-point operations in the matrix products that a training step requires.

    The last layer computes queries, attention output and feed-forward network only for the rows that a loss uses.
    """
    width, inner = config.hidden_size, config.intermediate_size
    cu_seqlens, lengths = batch.tokens.cu_seqlens, batch.tokens.lengths.astype(float)
    tokens = len(batch.tokens.token_ids)
    read = np.union1d(batch.masked_positions, batch.tokens.cls_positions)  # [R]
    per_sequence = np.bincount(np.searchsorted(cu_seqlens, read, side="right") - 1, minlength=len(lengths))

    def layer(rows: int, pairs: float) -> float:
        projections = 2 * width * width * (2 * tokens + 2 * rows)  # keys and values; queries and output
        return projections + 4 * width * pairs + 4 * width * inner * rows

    whole = layer(tokens, float((lengths * lengths).sum()))
    cut = layer(len(read), float((per_sequence * lengths).sum()))
    heads = 2 * len(batch.masked_positions) * width * (width + config.vocab_size)
    heads += 2 * len(lengths) * width * (width + 2)
    return FORWARD_AND_BACKWARD * ((config.num_hidden_layers - 1) * whole + cut + heads)


def measure_throughput(
    backend: Backend,
    size: str,
    precision: str,
    *,
    sequences: int = 32,
    length: int = 128,
    vocab_size: int = 30522,
    steps: int = 20,
    limit: float | None = None,
) -> Throughput:
    """Measure the training throughput of a model of the named size over `steps` steps, after three warm-up steps.

    precision: float32, tf32, bfloat16 or float16; sequences: sequences per batch; length: tokens per sequence;
    limit: the device's matrix-product speed in TFLOP/s, from `product_rate`, or None.
    """
    config = BertConfig.preset(size, vocab_size, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    pool = backend.xp.get_default_memory_pool() if hasattr(backend.xp, "get_default_memory_pool") else None
    if pool is not None:
        pool.free_all_blocks()
    step = training_step(config, backend, dtype_of(precision))
    batches = [random_batch(config, sequences, length, seed) for seed in range(2)]
    for number in range(3):
        step(batches[number % 2])
    wait_for(backend)
    began = time.perf_counter()
    for number in range(steps):
        step(batches[number % 2])
    wait_for(backend)
    seconds = (time.perf_counter() - began) / steps
    tflops = step_flops(config, batches[0]) / seconds / 1e12
    return Throughput(
        size=size,
        precision=precision,
        sequences=sequences,
        length=length,
        tokens_per_second=sequences * length / seconds,
        tflops=tflops,
        utilisation=tflops / limit if limit else None,
        peak_memory=None if pool is None else pool.total_bytes(),
    )


def product_rate(backend: Backend, precision: str, side: int = SIDE, times: int = 10) -> float:
    """The speed at which the device multiplies two square matrices, in 10**12 floating-point operations per second."""
    xp, dtype = backend.xp, dtype_of(precision)
    left = backend.array(np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)).astype(dtype)
    out = xp.empty_like(left)
    xp.matmul(left, left, out=out)
    wait_for(backend)
    began = time.perf_counter()
    for _ in range(times):
        xp.matmul(left, left, out=out)
    wait_for(backend)
    return 2 * side**3 * times / (time.perf_counter() - began) / 1e12


def dtype_of(precision: str) -> np.dtype:
    """The dtype in which tensors are stored at this precision.

    For tf32, it is float32; only the inputs of matrix products are rounded.
    """
    from minibert.nn.parameters import as_dtype

    return as_dtype("float32" if precision == "tf32" else precision)


def wait_for(backend: Backend) -> None:
    """Wait until the device has finished all work in its current stream; on the CPU, return at once."""
    if hasattr(backend.xp, "cuda"):
        backend.xp.cuda.get_current_stream().synchronize()
