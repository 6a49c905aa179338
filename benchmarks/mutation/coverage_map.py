"""Which test executes which line of the rooms: measured once a test file, with coverage.py, and stored.

Lines that a fixture of wider scope executes count for every test that uses it; lines executed at import count for none
(see `touching`).  Processes that a test starts are measured, too, where they keep PYTHONPATH; forked ones are not.
"""

import hashlib
import json
import os
import re
import time
from pathlib import Path

import pytest

from .operators import Mutant
from .running import LEFT_OUT, Test, Watch, options
from .sample import ROOMS
from .workspace import Process, Workspace

LIMIT = 1800  # seconds for one test file
CONTEXT = "MUTATION_CONTEXT"
SETTINGS = """\
[run]
core = ctrace
parallel = true
data_file = {data}
context = ${{{context}-}}
include =
    {include}
"""


class Contexts(Watch):
    """Also switches coverage's context: to the test, and within a fixture of wider scope to the fixture."""

    def __init__(self, report, coverage):
        super().__init__(report)
        self.coverage = coverage
        self.tests: dict[str, dict] = {}
        self.context = ""

    def switch(self, context: str) -> str:
        before, self.context = self.context, context
        self.coverage.switch_context(context)
        os.environ[CONTEXT] = context
        return before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        defined = item._fixtureinfo.name2fixturedefs.values()
        fixtures = [_name(one) for every in defined for one in every if one.scope != "function"]
        slow = item.get_closest_marker("slow") is not None
        self.tests[item.nodeid] = dict(seconds=0.0, slow=slow, passed=True, fixtures=fixtures)
        self.switch(item.nodeid)
        try:
            return (yield)
        finally:
            self.switch("")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef):
        before = self.switch(_name(fixturedef)) if fixturedef.scope != "function" else None
        try:
            return (yield)
        finally:
            if before is not None:
                self.switch(before)

    def pytest_runtest_logreport(self, report):
        super().pytest_runtest_logreport(report)
        test = self.tests[report.nodeid]
        test["seconds"] = round(test["seconds"] + report.duration, 3)
        test["passed"] &= report.passed


def _name(fixture) -> str:
    return f"fixture {fixture.baseid} {fixture.argname}"


def test_files(tree: Path) -> list[str]:
    """Every test file but those that no mutant can change, those of the rooms first."""
    names = [str(path.relative_to(tree)) for path in sorted((tree / "tests").rglob("test_*.py"))]
    names = [name for name in names if not name.startswith(LEFT_OUT)]
    near = [f"tests/{room.partition('/')[0]}/" for room in ROOMS]
    near = [
        "tests/text/",
        "tests/data/",
        "tests/models/",
        "tests/ops/test_",
        "tests/checks/",
        "tests/inference/",
        *near,
    ]
    return sorted(names, key=lambda name: next((i for i, one in enumerate(near) if name.startswith(one)), len(near)))


def measure(workspace: Workspace, file: str, core: int | None) -> Process:
    """A process that runs one test file under coverage and writes what it found to the map."""

    def action(report) -> None:
        import coverage

        scratch = Path(os.environ["TMPDIR"]).parent
        include = [str(workspace.tree / "minibert" / room / "*") for room in ROOMS]
        settings = scratch / "coverage.ini"
        data = scratch / "data"
        settings.write_text(SETTINGS.format(data=data, context=CONTEXT, include="\n    ".join(include)))
        os.environ["COVERAGE_PROCESS_START"] = str(settings)
        measured = coverage.Coverage(data_file=None, config_file=str(settings), context="")
        plugin = Contexts(report, measured)
        measured.start()
        began = time.monotonic()
        pytest.main(options(scratch, file), plugins=[plugin])
        measured.stop()
        datas = [measured.get_data()]
        for path in scratch.glob("data.*"):
            datas.append(coverage.CoverageData(str(path)))
            datas[-1].read()
        result = collect(workspace.tree, plugin.tests, datas)
        result["seconds"] = round(time.monotonic() - began, 1)
        result["digests"] = {name: digest(workspace.tree / name) for name in [file, *result["lines"]]}
        target = path_of(workspace, file)
        target.with_suffix(".new").write_text(json.dumps(result))
        os.replace(target.with_suffix(".new"), target)

    return Process(workspace, "map", core, action)


def collect(tree: Path, tests: dict[str, dict], datas: list) -> dict:
    """{"tests": [[name, seconds, slow, passed]], "lines": {file: {line: [number of a test]}}}."""
    users: dict[str, list[int]] = {}
    for i, (name, test) in enumerate(tests.items()):
        for context in (name, *test["fixtures"]):
            users.setdefault(context, []).append(i)
    lines: dict[str, dict[str, list[int]]] = {}
    for data in datas:
        for path in data.measured_files():
            if not Path(path).is_relative_to(tree):
                continue
            of_file = lines.setdefault(str(Path(path).relative_to(tree)), {})
            for line, contexts in data.contexts_by_lineno(path).items():
                found = set(of_file.get(str(line), ())).union(*(users.get(one, ()) for one in contexts))
                of_file[str(line)] = sorted(found)
    rows = [[name, test["seconds"], test["slow"], test["passed"]] for name, test in tests.items()]
    return dict(tests=rows, lines=lines)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.exists() else ""


def path_of(workspace: Workspace, file: str) -> Path:
    return workspace.map / (file.replace("/", "__") + ".json")


class CoverageMap:
    """What has been measured so far: `pieces`, the test files by name."""

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self.pieces: dict[str, dict] = {}
        for file in test_files(workspace.tree):
            path = path_of(workspace, file)
            if path.exists():
                self.pieces[file] = json.loads(path.read_text())

    def missing(self) -> list[str]:
        """Test files that have not been measured."""
        return [file for file in test_files(self.workspace.tree) if file not in self.pieces]

    def stale(self) -> list[str]:
        """Test files of which they, or a file that they execute, have changed since."""
        tree = self.workspace.tree
        now: dict[str, str] = {}
        result = []
        for file, piece in self.pieces.items():
            for name, before in piece["digests"].items():
                if now.setdefault(name, digest(tree / name)) != before:
                    result.append(file)
                    break
        return result

    def tests(self, file: str, numbers=None) -> list[Test]:
        """The tests of a file that pass without a mutant, all or those with the numbers given."""
        rows = self.pieces[file]["tests"]
        chosen = range(len(rows)) if numbers is None else sorted(numbers)
        return [Test(rows[i][0], rows[i][1], rows[i][2]) for i in chosen if rows[i][3]]

    def touching(self, mutant: Mutant) -> list[Test]:
        """The tests that execute the mutant's line.

        For a function's defaults: the tests that execute the function.  For what else runs at import: those that
        execute any line of the file, and all tests of the files that name the module.
        """
        if not mutant.header:
            lines = {mutant.line, *range(mutant.lines[0], mutant.lines[1] + 1)}
            return self._executing(mutant.file, lines)
        first, last = mutant.body
        if found := self._executing(mutant.file, set(range(first, last + 1))):
            return found
        found = self._executing(mutant.file, None)
        return list(dict.fromkeys([*found, *(test for name in self._naming(mutant.file) for test in self.tests(name))]))

    def _naming(self, file: str) -> list[str]:
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        naming = re.compile(rf"\b{re.escape(module)} import|import {re.escape(module)}\b")
        return [name for name in self.pieces if naming.search((self.workspace.tree / name).read_text(encoding="utf-8"))]

    def _executing(self, file: str, lines: set[int] | None) -> list[Test]:
        result: list[Test] = []
        for name, piece in self.pieces.items():
            of_file = piece["lines"].get(file, {})
            chosen = of_file if lines is None else (str(line) for line in lines)
            numbers = set().union(*(of_file.get(line, ()) for line in chosen))
            result += self.tests(name, numbers)
        return result

    def suite(self, mutant: Mutant) -> list[Test]:
        """Every test of the files that import the mutant's module at all; no other can notice it."""
        return [
            test for name, piece in self.pieces.items() if mutant.file in piece["lines"] for test in self.tests(name)
        ]
