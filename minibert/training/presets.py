"""Defaults of pre-training that depend on other options: --preset, --from and --emulate."""

from typing import Any

# The defaults that --preset sets.  The three GPU presets train the same model; they differ in how much of a batch is on
# the device at a time (minibert/training/footprint.py computes the memory, tests/training/test_footprint.py compares).
BASE_ON_A_GPU = dict(
    backend="gpu",
    precision="bfloat16",
    size="base",
    vocab_size=30_528,  # a multiple of 64: rows of logits begin where GPU reads are fastest
    batch_tokens=98_304,
    lengths=("128:0.9", "512:0.1"),
    nsp_from=128,
    steps=100_000,
    learning_rate=5e-4,
    warmup=0.02,
    dropout=0.1,
    eval_every=5000,
    save_every=2000,
    log_every=50,
)
# the paper's values (section A.2), for all but the size of the model, of the batch, and the number of steps
AS_IN_THE_PAPER = dict(
    lengths=("128:0.9", "512:0.1"),
    nsp_from=1,
    random_positions=False,
    optimizer="adamw",
    learning_rate=1e-4,
    warmup=0.01,
    beta2=0.999,
    dropout=0.1,
    init_std=0.02,
    position_init="normal",
)
PRESETS: dict[str, dict[str, Any]] = {
    "laptop": {},
    "paper": AS_IN_THE_PAPER,
    "gpu-8": dict(BASE_ON_A_GPU, accumulate=12),
    "gpu-16": dict(BASE_ON_A_GPU, accumulate=3),
    "gpu-24": dict(BASE_ON_A_GPU, accumulate=2),
}
# what --from takes from the model, and the defaults for going on from it: it knows word order already, and would forget
# what it has learnt at the rate of a beginner
OF_THE_MODEL = "size", "vocab_size", "min_frequency", "limit_alphabet", "cased", "position_init"
CONTINUING: dict[str, Any] = dict(steps=2000, lengths=("128:1",), random_positions=False)
NARROW, RATE_OF_NARROW, RATE_OF_WIDE = 384, 5e-4, 1e-4
# the defaults for the emulator, on which evaluations take a long time
EMULATED: dict[str, Any] = dict(final_pairs=8, eval_pairs=8)
