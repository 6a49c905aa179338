"""benchmarks/gpu_visit.py, rehearsed on the emulator: what fails, hangs or is killed costs its own row only."""

import json
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import gpu_visit
from benchmarks.gpu_visit import LEFT_OUT, SECOND, STAGES, chosen, too_old

from visit import runner  # isort: skip  (gpu_visit has put its folder on the path)
from visit.record import RESULTS, Record, read_rows  # isort: skip
from visit.report import report  # isort: skip

ROOT = Path(__file__).parents[2]
NAMES = [stage.name for stage in STAGES + SECOND]

# run at the start of each Python process of a stage, and of those that it starts
SITECUSTOMIZE = """
import os, sys
sys.path.insert(0, {root!r})
words = sys.orig_argv
if "--stage" in words:
    os.environ["PLANTED"] = words[words.index("--stage") + 1]
exec({plants!r}.get(os.environ.get("PLANTED", ""), ""))
"""
ANOTHER_TEXT = """
from minibert.ops.gpu.kernels import CudaFile
honest = CudaFile.read
def read(name):
    text = honest(name)
    assert name != "activations.cu" or "return x * normal_cdf(x);" in text
    return text.replace("return x * normal_cdf(x);", {code!r})
CudaFile.read = staticmethod(read)
"""
PLANTS = {
    "machine": "import os; os.kill(os.getpid(), 9)",
    "compile": """
from minibert.ops.gpu.kernels import CudaFile
honest = CudaFile.read
def read(name):
    if name == "common.cuh":
        raise PermissionError(13, "Permission denied", name)
    return honest(name)
CudaFile.read = staticmethod(read)
""",
    "ops:elementwise": ANOTHER_TEXT.format(code="return 0 * x / (x - x);"),
    "training": ANOTHER_TEXT.format(code="volatile bool forever = true; while (forever) {} return x;"),
}


def command(*words) -> subprocess.CompletedProcess:
    script = ROOT / "benchmarks" / "gpu_visit.py"
    return subprocess.run([sys.executable, str(script), *map(str, words)], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.thorough
def test_what_is_planted_in_a_stage_costs_its_own_rows_only(gpu, tmp_path, monkeypatch):
    planted, out = tmp_path / "planted", tmp_path / "visit"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(SITECUSTOMIZE.format(root=str(ROOT), plants=PLANTS))
    monkeypatch.setenv("PYTHONPATH", str(planted))
    out.mkdir()
    stages = {stage.name: stage for stage in STAGES}
    stages["training"] = replace(stages["training"], seconds=8)
    options = Namespace(out=out, seconds=400, emulate=True)
    ran = [stages[name] for name in ("machine", "compile", "ops", "training", "ceilings")]
    assert gpu_visit.visit(ran, options) == 4

    rows = read_rows(out)
    ends = {row["part"]: row for row in rows if row["name"] == "outcome"}
    assert {part: row["outcome"] for part, row in ends.items()} == {
        "machine": "killed", "compile": "failed", "ops": "failed", "training": "timed out", "ceilings": "passed"
    }  # fmt: skip
    assert ends["machine"]["exit"] == -9 and "failed: elementwise" in ends["ops"]["last_lines"]
    compiled = [row for row in rows if row["name"] == "compiled"]
    assert compiled and all("common.cuh" in row["error"] for row in compiled)
    ops = [row for row in rows if row["stage"] == "ops" and "passed" in row]
    wrong = {row["name"] for row in ops if not row["passed"]}
    assert wrong == {"gelu"} and all(row["y"] != row["y"] for row in ops if row["name"] == "gelu")  # NaN
    assert {"tanh", "layernorm", "linear, H to F", "embedding", "mse", "adamw, 16-bit copy"} <= {r["name"] for r in ops}
    assert not [row for row in rows if row["stage"] == "training" and row["name"] != "outcome"]

    text = report([out], NAMES)
    assert "| training | timed out |" in text and "Failed: gelu in " in text and "A REHEARSAL" in text
    missing = text.rpartition("## Not measured\n\n")[2]
    assert missing.startswith("machine, training, sanitizer, kernels")


@pytest.mark.thorough
def test_a_rehearsal_from_the_command_line(gpu, tmp_path):
    out = tmp_path / "visit"
    got = command("--emulate", "--out", out, "--only", "machine", "sanitizer", "steps", "peers")
    assert got.returncode == 0, got.stdout + got.stderr
    assert "minibert tiny, 2 x 16, bfloat16" in got.stdout and "A REHEARSAL" in got.stdout
    assert (out / "report.md").read_text() in got.stdout
    again = command("--report", out)
    assert again.stdout == (out / "report.md").read_text()
    assert "peers" in again.stdout.rpartition("## Not measured")[2]  # this PyTorch sees no GPU


@pytest.mark.slow
@pytest.mark.parametrize(
    "code, outcome, status, last",
    [
        ("print('fine')", "passed", 0, []),
        ("raise SystemExit('three of them are wrong')", "failed", 1, ["three of them are wrong"]),
        ("import os; print('half', flush=True); os.kill(os.getpid(), 9)", "killed", -9, ["half"]),
        ("import time; print('waits', flush=True); time.sleep(60)", "timed out", None, ["waits"]),
    ],
)
def test_the_row_of_a_process(tmp_path, monkeypatch, code, outcome, status, last):
    monkeypatch.setattr(runner, "command_of", lambda name, words: [sys.executable, "-c", code])
    (tmp_path / "log.txt").write_text("of an earlier stage\n")
    began = time.monotonic()
    record = Record(tmp_path, "some", echo=False)
    assert runner.run_part("some", tmp_path, 2.0, [], record) == outcome
    assert time.monotonic() - began < 20
    (row,) = read_rows(tmp_path)
    assert (row["outcome"], row["exit"], row["last_lines"]) == (outcome, status, last)


@pytest.mark.slow
def test_what_a_hanging_stage_has_started_ends_with_it(tmp_path, monkeypatch):
    sleeps = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}])"
    child = f"import pathlib, time; time.sleep(4); pathlib.Path({str(tmp_path / 'lives')!r}).touch()"
    monkeypatch.setattr(runner, "command_of", lambda name, words: [sys.executable, "-c", sleeps.format(child)])
    assert runner.run_part("some", tmp_path, 1.0, [], Record(tmp_path, "some", echo=False)) == "timed out"
    time.sleep(5)
    assert not (tmp_path / "lives").exists()


def test_without_time_a_stage_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "command_of", lambda *_: pytest.fail("started"))
    assert runner.run_part("some", tmp_path, 0.0, [], Record(tmp_path, "some", echo=False)) == "not started"
    assert read_rows(tmp_path)[0]["outcome"] == "not started"


def test_a_row_is_written_at_once_and_half_a_row_is_passed_over(tmp_path, capsys):
    record = Record(tmp_path, "ops")
    record.row("one", us=1.5, position=f"{ROOT}/minibert/ops")
    path = tmp_path / RESULTS
    assert json.loads(path.read_text()) == {
        "stage": "ops",
        "name": "one",
        "us": 1.5,
        "position": "(minibert)/minibert/ops",
    }
    with open(path, "a") as file:
        file.write('{"stage": "ops", "name": "tw')
    assert [row["name"] for row in read_rows(tmp_path)] == ["one"]
    assert read_rows(tmp_path / "absent") == []


def test_a_row_after_half_a_row_is_not_lost(tmp_path):
    (tmp_path / RESULTS).write_text('{"stage": "ops", "name": "ki')
    Record(tmp_path, "kernels", echo=False).row("next")
    assert [row["name"] for row in read_rows(tmp_path)] == ["next"]


def test_the_report_of_nothing_says_so_in_every_section(tmp_path):
    text = report([tmp_path], NAMES)
    assert "device: not measured yet" in text and text.count("\nnot measured yet.\n") == 11
    assert text.endswith(f"## Not measured\n\n{', '.join(NAMES)}.\n")


def test_the_report_takes_each_figure_from_the_latest_visit_that_has_it(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    step = dict(ms=60.0, tokens_per_s=1000.0, tflops=200.0, host_ms=1.0, peak_gb=2.0)
    Record(first, "ceilings", echo=False).row("product", side=8192, precision="bfloat16", tflops=500.0)
    Record(first, "steps", echo=False).row("base, 256 x 128, bfloat16", precision="bfloat16", **step)
    Record(second, "steps", echo=False).row("base, 256 x 128, bfloat16", precision="bfloat16", **{**step, "ms": 50.0})
    text = report([first, second], NAMES)
    assert "| minibert base, 256 x 128, bfloat16 | 50 | 1,000 | 200 | 40% | 20% | 1 |  | 2 | second |" in text
    assert "| 60 |" not in text


def test_the_tables_in_the_docs_are_those_of_the_results_beside_them():
    folders = [ROOT / "docs" / "gpu" / f"h100-{visit}" for visit in ("first", "second", "third")]
    assert report(folders, NAMES) == (ROOT / "docs" / "gpu" / "h100.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--only", "stepps"], "there is no stage 'stepps'; choose from machine, compile, "),
        (["--skip", "all"], "there is no stage 'all'"),
        (["--seconds", "20"], "--seconds 20 is too little for the first stages; they need 60"),
        (["--seconds", "nan"], "--seconds nan"),
        (["--only", "steps", "--seconds", "-1"], "--seconds -1: expected more than 0"),
        (["--out", "/proc/visit"], "/proc/visit"),
        (["--report", "nowhere"], "nowhere: no results.jsonl there"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, said):
    got = command("--emulate", *words)
    assert got.returncode == 2 and said in got.stderr and got.stderr.count("\n") == 1 and not got.stdout


def test_without_a_gpu_there_is_nothing_to_visit(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("MINIBERT_EMULATE", raising=False)
    got = command("--out", tmp_path / "visit")
    assert got.returncode == 2 and got.stderr.startswith("benchmarks/gpu_visit.py: there is nothing to visit: ")
    assert got.stderr.count("\n") == 1


def test_a_driver_that_is_too_old():
    assert too_old(13000, 13) is None and too_old(13020, 12) is None
    assert too_old(12080, 13) == (
        "the driver supports CUDA 12.8 and CuPy is for CUDA 13: install a newer driver, or cupy-cuda12x"
    )


def test_with_little_time_the_last_stages_are_left_out(capsys):
    options = Namespace(only=[], skip=[], seconds=300.0, second=False)
    assert chosen(options, NAMES) == list(STAGES[:-LEFT_OUT])
    assert "left out, for lack of time: ncu, compiled, tests" in capsys.readouterr().out
    options.seconds = 440.0
    assert chosen(options, NAMES) == list(STAGES)
    options.second = True
    assert chosen(options, NAMES) == list(SECOND)
    assert [stage.name for stage in chosen(Namespace(**{**vars(options), "only": ["ops", "ragged"]}), NAMES)] == [
        "ops", "ragged"
    ]  # fmt: skip
