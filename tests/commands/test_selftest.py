"""`minibert selftest`: the report, that a wrong kernel makes it fail, and that one group's end costs no other group."""

import sys
import time

import pytest

from minibert import cli
from minibert.commands import selftest
from minibert.commands.selftest import Report, SelftestConfig, command_of, run_group
from minibert.commands.selftest_checks import Group, checks_of, gradients, groups, training
from minibert.ops import load_backend
from minibert.ops.devices import why_not_in
from minibert.ops.table import PAIRS
from minibert.training.config import PretrainConfig
from minibert.training.preparation import backend_of

WORKER = "from minibert.commands import selftest_checks as checks\n"


@pytest.fixture
def few_groups(monkeypatch):
    """Two groups of two ops, and one precision, are enough to see how the command works."""
    few = [Group("machine", 60), Group("ops:2:4", 120), Group("ops:4:6", 120), Group("training:float64", 120)]
    monkeypatch.setattr("minibert.commands.selftest_checks.groups", lambda *_: few)


def planted(monkeypatch, code: str, group: str | None = None) -> None:
    """Run some Python code at the beginning of each group's process, or of one group's."""
    honest = command_of

    def command(config, of_group):
        arguments = honest(config, of_group)[-2:]
        bug = code if group in (None, of_group.name) else ""
        return [sys.executable, "-c", f"{WORKER}{bug}\nimport sys\nsys.exit(checks.main({arguments}))"]

    monkeypatch.setattr(selftest, "command_of", command)


@pytest.mark.thorough
def test_the_report_of_an_emulated_gpu(gpu, tmp_path, capsys):
    path = tmp_path / "report.txt"
    assert cli.main(["selftest", "--emulate", "--out", str(path)]) == 0
    printed, written = capsys.readouterr().out, path.read_text()
    assert written in printed.replace(f"\nwritten to {path}\n", "")
    assert "device: emulated" in written and "speed: not measured" in written and "all checks passed" in written
    for precision in ("float64", "float32", "bfloat16", "float16"):
        assert f"in {precision}, beside the reference" in written and f"training twice in {precision}" in written
    assert written.count("pass  gradients: ") == len(PAIRS)


@pytest.mark.slow
def test_a_wrong_kernel_is_told(gpu, few_groups, tmp_path, monkeypatch):
    code = """
import os
os.environ["MINIBERT_EMULATE"] = "1"
import minibert.ops.gpu as ops
honest = ops.gelu_backward
ops.gelu_backward = lambda d_y, cache: -honest(d_y, cache)
"""
    planted(monkeypatch, code)
    path = tmp_path / "report.txt"
    assert cli.main(["selftest", "--emulate", "--out", str(path)]) == 1
    report = path.read_text()
    assert "FAIL  gradients: gelu " in report and "pass  gradients: layernorm" in report
    assert "FAIL  training: 8 steps in float64" in report and "2 of 6 checks failed" in report


@pytest.mark.slow
@pytest.mark.parametrize(
    "code, told",
    [
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("import time; time.sleep(100)", "timed out after 6 s"),
        ("import os; os._exit(3)", "exit code 3"),
    ],
)
def test_a_group_that_ends_badly_costs_its_own_lines_only(gpu, few_groups, tmp_path, monkeypatch, code, told):
    """The second check of a group kills its process, or hangs: the first one's line is there, and all other groups'."""
    bug = f"""
honest = checks.gradients
def gradients(backend, name):
    if name == "add_layernorm":
        {code}
    return honest(backend, name)
checks.gradients = gradients
"""
    planted(monkeypatch, bug, "ops:2:4")
    few = [Group("machine", 60), Group("ops:2:4", 6), Group("ops:4:6", 120)]
    monkeypatch.setattr("minibert.commands.selftest_checks.groups", lambda *_: few)
    path = tmp_path / "report.txt"
    assert cli.main(["selftest", "--emulate", "--out", str(path)]) == 1
    report = path.read_text()
    assert "pass  gradients: layernorm" in report and "1 of 4 checks failed" in report
    (line,) = (line for line in report.splitlines() if line.startswith("FAIL"))
    assert "gradients: add_layernorm" in line and told in line
    assert "pass  gradients: gelu " in report and "pass  gradients: gelu_tanh" in report


def test_after_an_error_of_cuda_the_rest_of_a_group_is_not_run(tmp_path):
    """Every later call of that process would fail too."""
    code = """
class CUDARuntimeError(RuntimeError):
    pass
def broken():
    raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access")
checks.checks_of = lambda *_, **__: [("one", lambda: (True, "fine")), ("two", broken), ("three", broken)]
import sys
sys.exit(checks.main(["reference", "ops"]))
"""
    report = Report(tmp_path / "report.txt")
    run_group(Group("ops", 60), [sys.executable, "-c", WORKER + code], report)
    assert (report.checked, report.failed) == (3, 2)
    lines = report.path.read_text().splitlines()
    assert lines[0] == f"pass  {'one':52}fine"
    assert "two" in lines[1] and "an illegal memory access" in lines[1] and "not run" in lines[2]


def test_other_errors_are_failures_and_the_rest_runs(tmp_path):
    code = """
checks.checks_of = lambda *_, **__: [("one", lambda: 1 / 0), ("two", lambda: (True, "fine"))]
import sys
sys.exit(checks.main(["reference", "ops"]))
"""
    report = Report(tmp_path / "report.txt")
    run_group(Group("ops", 60), [sys.executable, "-c", WORKER + code], report)
    assert report.path.read_text().splitlines() == [
        f"FAIL  {'one':52}ZeroDivisionError: division by zero",
        f"pass  {'two':52}fine",
    ]


def test_the_report_is_written_as_it_grows(tmp_path):
    """A line is in the file while the check after it still runs."""
    code = """
import pathlib, time
def wait():
    for _ in range(200):
        if "one" in pathlib.Path("report.txt").read_text():
            return True, "seen"
        time.sleep(0.05)
    return False, "not there"
checks.checks_of = lambda *_, **__: [("one", lambda: (True, "fine")), ("two", wait)]
import os, sys
os.chdir(FOLDER)
sys.exit(checks.main(["reference", "ops"]))
""".replace("FOLDER", repr(str(tmp_path)))
    report = Report(tmp_path / "report.txt")
    run_group(Group("ops", 60), [sys.executable, "-c", WORKER + code], report)
    assert (report.checked, report.failed) == (2, 0)


def test_a_process_that_does_not_start_is_one_line(tmp_path):
    report = Report(tmp_path / "report.txt")
    began = time.monotonic()
    run_group(Group("speed:tf32", 60), [sys.executable, "-c", "raise SystemExit('no such card')"], report)
    assert report.path.read_text() == f"FAIL  {'speed:tf32':52}exit code 1: no such card\n"
    assert time.monotonic() - began < 30


def test_an_interrupt_ends_the_report(gpu, few_groups, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(selftest, "run_group", interrupted)
    path = tmp_path / "report.txt"
    assert cli.main(["selftest", "--emulate", "--out", str(path)]) == 130
    assert path.read_text() == "interrupted: the report ends here\n"


@pytest.mark.thorough
def test_a_slightly_wrong_kernel_is_told_in_sixteen_bits(gpu, monkeypatch):
    """The rounding of sixteen bits does not hide products that are a twentieth too large."""
    honest = gpu.linear_forward

    def wrong(x, weight, bias):
        y, cache = honest(x, weight, bias)
        return y + y * y.dtype.type(0.05), cache

    monkeypatch.setattr(gpu, "linear_forward", wrong)
    for precision in ("bfloat16", "float16"):
        assert not training(gpu, precision, 8)[0]


def test_a_report_that_cannot_be_written_is_told_before_anything_runs(gpu, tmp_path, capsys):
    assert cli.main(["selftest", "--emulate", "--out", str(tmp_path / "nowhere" / "report.txt")]) == 2
    printed = capsys.readouterr()
    assert "does not exist; create it" in printed.err and "gradients" not in printed.out


def titles(backend, name, emulate):
    """Of all checks that the groups of a backend have together."""
    found = [checks_of(group.name, backend, whole=not emulate) for group in groups(name, emulate, speed=True)]
    return [title for checks in found for title, _ in checks]


def test_bfloat16_is_left_out_on_old_devices(gpu, monkeypatch):
    monkeypatch.setattr(gpu.xp.cuda.Device, "compute_capability", "75")
    found = titles(gpu, "gpu", True)
    assert not any("bfloat16" in title for title in found) and any("float16" in title for title in found)
    reason = why_not_in(gpu, "bfloat16")
    assert reason == "this GPU has compute capability 7.5, but bfloat16 requires 8.0; use --precision float16"
    with pytest.raises(RuntimeError, match="use --precision float16"):
        backend_of(PretrainConfig(backend="gpu", emulate=True, precision="bfloat16"))


def test_the_groups_have_each_check_once():
    from minibert.checks import CASES

    cpu = load_backend("cpu")
    found = titles(cpu, "cpu", False)
    assert sorted(title for title in found if "gradients" in title) == sorted(f"gradients: {name}" for name in CASES)
    assert len(found) == len(set(found)) and not any("16" in title for title in found)  # it has no 16-bit numbers


def test_the_cpu_backend_passes_its_checks():
    cpu = load_backend("cpu")
    assert gradients(cpu, "layernorm")[0] and training(cpu, "float32", 5)[0]
    assert SelftestConfig().backend == "gpu"
