"""Pytest in a forked process: some tests in a given order until the first failure, or a file under coverage."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from .hook import install
from .operators import Mutant, mutated_tree
from .workspace import Process, Workspace

# They compare texts derived from the source files with those files, which no mutant changes, or start suites themselves
LEFT_OUT = (
    "tests/lessons", "tests/benchmarks", "tests/test_regenerate.py", "tests/test_annotations.py",
    "tests/test_packages.py", "tests/ops/gpu/test_mutations.py", "tests/ops/gpu/test_compile.py",
)  # fmt: skip
PATIENCE = 20, 10  # seconds that a test may take, and how many times as long as it usually takes


@dataclass(frozen=True)
class Test:
    __test__ = False  # not one that pytest collects
    name: str  # pytest's node id
    seconds: float
    slow: bool  # not in the daily suite

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]


class Watch:
    """A pytest plugin: runs the wanted tests in their order, and reports when each begins and which one fails."""

    def __init__(self, report: Callable, wanted: dict[str, int] | None = None, deadline: float = float("inf")):
        self.report, self.wanted, self.deadline = report, wanted, deadline

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        if self.wanted is not None:
            items[:] = sorted(
                (item for item in items if item.nodeid in self.wanted), key=lambda item: self.wanted[item.nodeid]
            )

    def pytest_collectreport(self, report):
        if report.failed:
            self.report(kind="failed", test=report.nodeid or "collection", when="collection")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid):
        self.report(kind="begin", test=nodeid)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.report(kind="failed", test=report.nodeid, when=report.when)

    def pytest_runtest_logfinish(self, nodeid):
        self.report(kind="end", test=nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item):
        if time.monotonic() > self.deadline:
            item.session.shouldstop = "no time left"


def options(scratch: Path, *more: str) -> list[str]:
    return ["-q", "--tb=short", "-p", "no:cacheprovider", f"--basetemp={scratch / 'base'}", *more]


def batches(tests: list[Test], near: str) -> list[list[Test]]:
    """The tests in the order to try them: daily before slow, those of the folder `near` first, then the fastest.

    Each batch is collected at once; since collecting a file takes about as long as running several fast tests, the
    tests of one file stay together.
    """
    groups: dict[tuple, list[Test]] = {}
    for test in sorted(tests, key=lambda test: test.seconds):
        key = test.slow, not test.file.startswith(near), test.seconds > 0.3, test.file
        groups.setdefault(key, []).append(test)
    chunks = [
        (key[:3], sum(test.seconds for test in part), part)
        for key, group in groups.items()
        for part in (group[i : i + 40] for i in range(0, len(group), 40))
    ]
    chunks.sort(key=lambda chunk: (chunk[0], chunk[1]))
    result: list[list[Test]] = []
    total = 0.0
    for _, seconds, part in chunks:
        if result and total + seconds < 3 and len({test.file for test in result[-1]}) < 4:
            result[-1] += part
            total += seconds
        else:
            result.append(list(part))
            total = seconds
    return result


def start(workspace: Workspace, mutant: Mutant | None, tests: list[list[Test]], core: int | None, limit: float):
    """A process that tries a mutant (None: the code as it is) on batches of tests for about `limit` seconds."""

    def action(report) -> None:
        deadline = time.monotonic() + limit
        if mutant is not None:
            path = workspace.tree / mutant.file
            os.environ["MINIBERT_MUTANT"] = f"{path}:{mutant.number}"
            install(path, lambda source: mutated_tree(source, mutant.number))
        for batch in tests:
            wanted = {test.name: i for i, test in enumerate(batch)}
            files = list(dict.fromkeys(test.file for test in batch))
            scratch = Path(os.environ["TMPDIR"]).parent
            more = [] if mutant is None else ["-x"]
            code = pytest.main(options(scratch, *more, *files), plugins=[Watch(report, wanted, deadline)])
            if mutant is not None and code not in (0, 5):
                report(kind="code", code=int(code))
                return
            if time.monotonic() > deadline:
                report(kind="unfinished")
                return

    return Process(workspace, "mutant" if mutant else "check", core, action)


def overdue(process: Process, usual: dict[str, float]) -> str | None:
    """The test that has been running for far too long, or "import" where none has begun."""
    now = time.monotonic()
    last = next((one for one in reversed(process.events) if one["kind"] in ("begin", "end")), None)
    if last is None:
        return "import" if now - process.began > 120 else None
    seconds, times = PATIENCE
    patience = seconds + times * usual.get(last["test"], 0)
    if last["kind"] == "end":
        patience = 120
    return last["test"] if now - last["at"] > patience else None


def verdict(process: Process, limit_exceeded: str | None) -> dict:
    """What a process that has ended says about its mutant: status, by, and how many tests ran."""
    ran = sum(event["kind"] == "begin" for event in process.events)
    failed = next((event for event in process.events if event["kind"] == "failed"), None)
    if failed:
        return dict(status="caught", by=failed["test"], ran=ran)
    if limit_exceeded:
        return dict(status="timeout", by=limit_exceeded, ran=ran)
    last = next((event["test"] for event in reversed(process.events) if event["kind"] == "begin"), "import")
    if process.code != 0:
        return dict(status="caught", by=last, ran=ran, how=f"the process ended with {process.code}")
    code = next((event["code"] for event in process.events if event["kind"] == "code"), 0)
    if code:
        return dict(status="caught", by=last, ran=ran, how=f"pytest ended with {code}")
    finished = not any(event["kind"] == "unfinished" for event in process.events)
    return dict(status="survived", ran=ran, finished=finished)
