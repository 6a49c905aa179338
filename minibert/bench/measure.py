"""One complete benchmark: the contenders take turns computing a workload, and the results form a report."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from minibert.bench.contenders import ContenderError, started, take_turns
from minibert.bench.machine import describe
from minibert.bench.peers import FAMILIES, missing
from minibert.bench.report import summarise
from minibert.bench.workload import Workload


def contenders_of(kind: str, backend: str, peers: bool) -> list[str]:
    """The names of all contenders for a workload of the given kind, minibert first.

    peers: whether to include the PyTorch contenders, if their packages are installed.
    """
    families = FAMILIES[kind].values() if peers and not missing() else ()
    return [f"minibert-{backend}", *(name for family in families for name in family)]


def measure(
    workload: Workload,
    names: Sequence[str],
    *,
    threads: int,
    repeats: int,
    tell: Callable[[str], None] = lambda what: None,
) -> dict:
    """Give each contender, and the measurement of the machine's peak speeds, `repeats` turns; returns the report.

    names: the contenders; the first is minibert, whose ops are profiled afterwards; threads: the number of threads for
    each contender; tell: called with progress messages.
    Raises ContenderError if minibert or the measurement of the machine does not run.
    """
    first, left_out = names[0], {}
    with tempfile.TemporaryDirectory(prefix="minibert-bench-") as folder:
        path = Path(folder) / "workload.pickle"
        workload.save(path)
        with started(("machine", *names), path, threads, left_out, tell) as contenders:
            check_present(left_out, ("machine", first))
            turns = take_turns(contenders, repeats, left_out, tell)
            check_present(left_out, ("machine", first))
            memory = {name: contenders[name].ask("memory") for name in turns}
            for name in set(contenders) - {first}:  # so that nothing else runs during profiling
                contenders[name].stop()
            tell(f"profiling {first}")
            profiles = [contenders[first].ask("profile") for _ in range(repeats)]
    return summarise(
        workload, first, describe(threads), turns.pop("machine"), turns, memory, profiles, left_out, repeats
    )  # fmt: skip


def check_present(left_out: dict[str, str], needed: Sequence[str]) -> None:
    """Raise ContenderError if any contender in `needed` did not run."""
    for name in needed:
        if name in left_out:
            raise ContenderError(f"{name} did not run: {left_out[name]}")
