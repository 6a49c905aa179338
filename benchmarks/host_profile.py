"""Where the host's time goes in a training step: cProfile over some steps of a small model on the gpu backend.

python benchmarks/host_profile.py --size tiny --steps 50
"""

import argparse
import cProfile
import pstats

from minibert.bench.ours import training_step
from minibert.bench.throughput import dtype_of, random_batch, wait_for
from minibert.models import BertConfig
from minibert.ops import load_backend

parser = argparse.ArgumentParser()
parser.add_argument("--size", default="tiny")
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--precision", default="bfloat16")
options = parser.parse_args()
backend = load_backend("gpu")
config = BertConfig.preset(options.size, 30522, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
step = training_step(config, backend, dtype_of(options.precision))
batch = random_batch(config, 32, 128)
for _ in range(3):
    step(batch)
wait_for(backend)
profiler = cProfile.Profile()
profiler.enable()
for _ in range(options.steps):
    step(batch)
profiler.disable()
wait_for(backend)
for order in ("tottime", "cumulative"):
    pstats.Stats(profiler).sort_stats(order).print_stats(35)
