"""The fault harness on a few cases of each kind; docs/reliability.md has the figures of the long run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.thorough
def test_a_few_cases_of_every_kind(tmp_path):
    command = [sys.executable, "-m", "benchmarks.faults", "--kills", "2", "--others", "1", "--seed", "1"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "faults.json"), "--work", str(tmp_path / "work")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads((tmp_path / "faults.json").read_text())["cases"]
    assert all(entry["passed"] == entry["cases"] > 0 for entry in cases.values())
    assert sum(entry["cases"] for name, entry in cases.items() if name.startswith("kill")) == 8
