"""The program of a contender's worker process: `python -m minibert.bench.worker NAME WORKLOAD THREADS`.

The worker reads commands from standard input, one per line, and answers each with one line of JSON on standard output:

    turn       {"seconds": [time of each step]}; for the contender "machine", its two measured speeds
    memory     the process's peak memory in MB
    profile    the cost of each op in an additional, profiled turn (minibert only)

Before reading commands, the worker runs one step and writes "ready", so that a contender that cannot run fails before
anything is measured.  A worker that fails writes {"error": one-line message} and exits.
"""

import json
import os
import sys
from pathlib import Path

from minibert.bench.machine import Machine, seconds
from minibert.bench.workload import Workload


def main(name: str, path: str, threads: str) -> int:
    # libraries may print: redirect their output to standard error, so that standard output carries only answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(value) -> None:
        print(json.dumps(value), file=answers, flush=True)

    try:
        commands = machine_commands(int(threads)) if name == "machine" else contender_commands(name, path)
        answer("ready")
        for line in sys.stdin:
            answer(commands[line.strip()]())
    except Exception as error:  # any error ends this contender, but not the others
        answer({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})
        return 1
    return 0


def machine_commands(threads: int) -> dict:
    machine = Machine(threads)
    return {"turn": machine.turn, "memory": peak_memory}


def contender_commands(name: str, path: str) -> dict:
    """Create a contender, run one step, and return its commands as {name: function that computes the answer}."""
    workload = Workload.load(path)
    family, _, variant = name.partition("-")
    if family == "minibert":
        from minibert.bench import ours, profile

        inputs, step = ours.contender(workload, variant)
        profiler = profile.Profiler(workload, variant)
        extra = {"profile": profiler.turn}
    else:
        from minibert.bench import peers

        inputs, step = peers.contender(workload, name)
        extra = {}
    step(inputs[0])

    def turn() -> dict:
        return {"seconds": [seconds(lambda one=one: step(one)) for one in inputs]}

    return {"turn": turn, "memory": peak_memory, **extra}


def peak_memory() -> float:
    """The peak memory use of this process, in MB (millions of bytes)."""
    try:
        # not getrusage, whose value after fork and exec is never less than the parent's memory use
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:  # not Linux
        pass
    import resource  # Unix's

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024) / 1e6


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
