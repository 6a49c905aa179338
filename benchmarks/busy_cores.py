"""What two threads cost where other programs keep the cores busy: training steps on quiet and on busy cores.

    python benchmarks/busy_cores.py

Times a tiny model's training steps, in turn on a quiet machine and beside one endless loop for each core, with threads
that sleep while they wait (minibert's setting) and with threads that wait as the OpenMP library does by default. Prints
milliseconds per step and their ratios, one line for each round. The machine must be quiet otherwise.
"""

import argparse
import os
import subprocess
import sys
import time

STEPS = """
import sys, time
from minibert.bench.ours import training_step
from minibert.bench.throughput import random_batch
from minibert.models import BertConfig
from minibert.ops.threads import use_threads
from minibert.training.memory import keep_freed_memory

use_threads(int(sys.argv[1]))
keep_freed_memory()
config = BertConfig.preset("tiny", 8192)
step, batch = training_step(config, sys.argv[2]), random_batch(config, 16, 64)
for _ in range(3):
    step(batch)
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    for _ in range(int(line)):
        step(batch)
    print((time.perf_counter() - began) / int(line), flush=True)
"""
POLICIES = {"asleep": {}, "as libgomp does": {"GOMP_SPINCOUNT": "300000"}}  # its documented default


class Trainer:
    """A process that trains; environment: variables that it has besides this one's."""

    def __init__(self, threads: int, backend: str, environment: dict):
        command = [sys.executable, "-P", "-c", STEPS, str(threads), backend]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, **pipes)
        self.process.stdout.readline()

    def milliseconds(self, steps: int) -> float:
        """The mean time of a step, in ms."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return 1000 * float(self.process.stdout.readline())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="steps on quiet cores; on busy ones a quarter of that")
    options = parser.parse_args()
    trainers = {name: Trainer(options.threads, options.backend, environment) for name, environment in POLICIES.items()}
    print(f"{'threads that wait':24} {'quiet':>8} {'busy':>8}   ratio   (ms per step)")
    for _ in range(options.rounds):
        for name, trainer in trainers.items():
            quiet = trainer.milliseconds(options.steps)
            others = [
                subprocess.Popen([sys.executable, "-P", "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)
            ]
            time.sleep(0.5)
            busy = trainer.milliseconds(max(options.steps // 4, 1))
            for other in others:
                other.kill()
                other.wait()
            print(f"{name:24} {quiet:8.1f} {busy:8.1f} {busy / quiet:7.2f}", flush=True)


if __name__ == "__main__":
    main()
