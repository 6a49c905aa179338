"""benchmarks/mutation: each operator makes the right changes, and a mutant that no test notices is reported."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from benchmarks.mutation.__main__ import main
from benchmarks.mutation.operators import mutants_of, mutated_tree
from benchmarks.mutation.report import counts, report
from benchmarks.mutation.running import Test, batches, verdict
from benchmarks.mutation.sample import ROOMS, mutants_of_room, sample
from benchmarks.mutation.state import State

ROOT = Path(__file__).parents[2]


def changes(source: str) -> list[tuple[str, str]]:
    return [(mutant.operator, mutant.mutated) for mutant in mutants_of(source)]


@pytest.mark.parametrize(
    "source, expected",
    [
        ("a + b", [("arithmetic", "a - b")]),
        ("a * b", [("arithmetic", "a / b"), ("arithmetic", "a + b")]),
        ("a += b", [("drop statement", "pass"), ("arithmetic", "a -= b")]),
        ("-a", [("unary", "a")]),
        ("a < b", [("comparison", "a <= b"), ("comparison", "a > b")]),
        ("a < b == c", [("comparison", c) for c in ("a <= b == c", "a > b == c", "a < b != c")]),
        ("a is not b", [("comparison", "a is b")]),
        ("a in b", [("comparison", "a not in b")]),
        ("a and b", [("and/or", "a or b")]),
        ("x = 3", [("constant", "2"), ("constant", "4")]),
        ("x = 0.5, 0.0", [("constant", "1.0"), ("constant", "1.0")]),
        ("x = True, 'a', b'a'", [("constant", "False"), ("constant", "'ax'"), ("constant", "b'ax'")]),
        ("if a: b", [("negate condition", "not a")]),
        ("if not a: b", [("negate condition", "a")]),
        ("x = a if b else c", [("negate condition", "not b")]),
        ("x = [a for a in b if c]", [("negate condition", "not c")]),
        ("x[a:]", [("off by one", "a - 1:"), ("off by one", "a + 1:")]),
        ("x = range(n)", [("off by one", "range(n - 1)"), ("off by one", "range(n + 1)")]),
        ("x = f(a, b)", [("swap arguments", "f(b, a)"), ("drop argument", "f(a)")]),
        ("x = f(a, b=c)", [("drop argument", "f(a)")]),
        ("f(a)", [("drop statement", "pass")]),
        ("x.a = b", [("drop statement", "pass")]),
        ("x[a] = b", [("drop statement", "pass")]),
        ("def f(a):\n    a = b\n    c = a", [("drop statement", "pass")]),
        ("def f():\n    return a", [("return None", "return")]),
        ("def f(a: int = 1): ...", [("constant", "0"), ("constant", "2")]),
        ("for a in b: continue", [("drop statement", "pass")]),
        ("raise ValueError('a' + b)", [("drop statement", "pass")]),
        ("x = lambda: a + b", [("arithmetic", "a - b")]),
        ("x = f'one {a + b}'", [("arithmetic", "a - b")]),
        ("print('text', a)", [("drop statement", "pass"), ("swap arguments", "print(a, 'text')"),
                              ("drop argument", "print('text')")]),
        ("while True: ...", [("constant", "False")]),
        ("match a:\n    case 1: b", [("constant", "0"), ("constant", "2")]),
    ],
)  # fmt: skip
def test_changes_of_a_line(source, expected):
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""', "__all__ = ['a']", "import a", "assert a < 1", "x: list[1] = a", "@f(1)\ndef g(): ...",
        "def f(a: 'one') -> 2: ...", "x = zip(a, strict=True)", "warnings.warn('a', stacklevel=2)",
    ],
)  # fmt: skip
def test_what_is_left_alone(source):
    assert changes(source) == []


@pytest.mark.parametrize("room", ["nn", "ops/reference"])
def test_each_mutant_differs_from_the_code_and_has_its_own_id(room):
    mutants = mutants_of_room(ROOT, room)
    assert len({mutant.id for mutant in mutants}) == len(mutants) > 60
    for mutant in sample(mutants, 10, seed=0):
        source = (ROOT / mutant.file).read_text()
        tree = mutated_tree(source, mutant.number)
        compile(tree, mutant.file, "exec")
        before, after = ast.unparse(ast.parse(source)).split("\n"), ast.unparse(tree).split("\n")
        assert sum(one != other for one, other in zip(before, after, strict=False)) >= 1


def test_the_line_and_the_function_of_a_mutant():
    source = "X = 1\n\n\ndef f(a=2):\n    b = [\n        a,\n        3.0,\n    ]\n    return b\n"
    found = {mutant.original: mutant for mutant in mutants_of(source)}
    assert found["1"].header and found["1"].line == 1 and found["1"].body == (1, 0)
    assert found["2"].header and found["2"].body == (5, 9)
    (cached,) = mutants_of("@cache\ndef f():\n    return a")
    assert cached.header and cached.body == (1, 0)  # it ran in the test that came first, and counts for every test
    assert not found["3.0"].header and found["3.0"].line == 7 and found["3.0"].lines == (5, 8)


def test_a_sample_is_seeded_and_stays_when_other_lines_change():
    mutants = mutants_of("def f(a):\n    return a + 1, a - 2, a * 3\n", "one.py")
    later = mutants_of("x = a < b\n\n\ndef f(a):\n    return a + 1, a - 2, a * 3\n", "one.py")
    ids = [mutant.id for mutant in sample(mutants, 4, seed=1)]
    assert ids == [mutant.id for mutant in sample(mutants, 4, seed=1)]
    assert ids != [mutant.id for mutant in sample(mutants, 4, seed=2)]
    assert [mutant.id for mutant in sample(later, len(later), seed=1) if mutant.scope][:4] == ids


def test_daily_tests_come_first_then_the_near_and_the_fast():
    tests = [
        Test("tests/text/test_b.py::slow", 0.01, True),
        Test("tests/data/test_c.py::far", 0.01, False),
        Test("tests/text/test_a.py::long", 5.0, False),
        Test("tests/text/test_a.py::quick", 0.1, False),
        Test("tests/text/test_b.py::quickest", 0.01, False),
    ]
    order = [test.name.rpartition(":")[2] for batch in batches(tests, "tests/text/") for test in batch]
    assert order == ["quickest", "quick", "long", "far", "slow"]


def process(*events, code=0):
    return SimpleNamespace(events=list(events), code=code)


BEGIN = dict(kind="begin", test="t")


@pytest.mark.parametrize(
    "process, why, expected",
    [
        (process(BEGIN), None, dict(status="survived", ran=1, finished=True)),
        (process(BEGIN, dict(kind="unfinished")), None, dict(status="survived", ran=1, finished=False)),
        (process(BEGIN, dict(kind="failed", test="t")), None, dict(status="caught", by="t", ran=1)),
        (process(BEGIN, code=-9), "t", dict(status="timeout", by="t", ran=1)),
        (process(BEGIN, code=-11), None, dict(status="caught", by="t", ran=1, how="the process ended with -11")),
        (
            process(dict(kind="code", code=4)),
            None,
            dict(status="caught", by="import", ran=0, how="pytest ended with 4"),
        ),
    ],
)
def test_what_a_process_says_about_its_mutant(process, why, expected):
    assert verdict(process, why) == expected


def test_survivors_are_reported_and_a_run_goes_on(tmp_path):
    mutants = mutants_of("def f(a):\n    return a + 1\n", "minibert/text/one.py")
    ids = {mutant.id for mutant in mutants}
    state = State(tmp_path / "state.jsonl")
    state.add(1, "text", mutants, ids)
    state.set(1, mutants[0], status="caught", by="t", daily=True)
    state.set(1, mutants[1], status="survived", suite=False)
    again = State(tmp_path / "state.jsonl")
    again.add(1, "text", mutants, ids)
    records = list(again.records.values())
    assert counts(records) | dict(timeouts=0) == dict(
        sampled=4, tried=2, found=1, daily=1, timeouts=0, survivors=1, met_suite=0
    )
    page = report(records)
    assert "| `text` | 4 | 2 | 1 (50%) | 1 (50%) | 0 | 1 (0) |" in page
    assert page.count("minibert/text/one.py:2 (arithmetic, survived): `a + 1` → `a - 1`") == 1
    again.add(1, "text", [], set())
    assert not again.records


def test_a_process_that_a_test_starts_has_the_mutant_too():
    """The file stays as it is: only its compiled form changes."""
    path = ROOT / "minibert" / "base" / "numbers.py"
    number = next(i for i, mutant in enumerate(mutants_of(path.read_text())) if mutant.operator == "return None")
    name = mutants_of(path.read_text())[number].scope
    program = (
        f"import dis; from minibert.base.numbers import {name}; print([i.argval for i in dis.get_instructions({name})])"
    )
    site = ROOT / "benchmarks" / "mutation" / "site"
    printed = []
    for mutant in ("", f"{path}:{number}"):
        environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "MINIBERT_MUTANT": mutant}
        printed.append(subprocess.check_output([sys.executable, "-c", program], env=environment, text=True))
    assert printed[0] != printed[1]


def test_two_runs_do_not_share_a_folder(tmp_path, capsys):
    with FileLock(tmp_path / "lock"):
        assert main(["--folder", str(tmp_path), "--map"]) == 2
    assert f"{tmp_path} is in use by another run" in capsys.readouterr().err


def run_replay(state: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmarks.mutation", "--jobs", "1", "--state", str(state), "--replay", *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.thorough
def test_a_sample_of_mutants_is_caught_again():
    """Of each room, two that the daily suite has caught before."""
    result = run_replay(ROOT / "docs" / "reliability" / "mutation.jsonl", "2", "--seed", "7")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.thorough
def test_a_mutant_that_its_test_does_not_notice_is_reported(tmp_path):
    mutant = mutants_of_room(ROOT, ROOMS[0])[0]
    state = State(tmp_path / "state.jsonl")
    state.add(1, ROOMS[0], [mutant], {mutant.id})
    state.set(1, mutant, status="caught", by=UNRELATED, daily=True, seconds=1.0)
    assert json.loads(state.path.read_text())["status"] == "caught"
    result = run_replay(state.path, "1", "--rooms", ROOMS[0], "--folder", str(tmp_path / "folder"))
    assert result.returncode == 1 and "survived" in result.stdout, result.stdout + result.stderr


UNRELATED = "tests/base/test_philox.py::test_broadcast_counters_equal_single_calls"
