"""`minibert selftest`: the report, and that a wrong kernel makes it fail."""

import pytest

from minibert import cli
from minibert.commands.selftest import Report, checks, gradients, training
from minibert.ops import load_backend


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Two ops and one precision are enough to see how the command works."""
    monkeypatch.setattr("minibert.commands.selftest.PAIRS", ("gelu", "layernorm"))


def test_the_report_of_an_emulated_gpu(gpu, tmp_path, capsys):
    path = tmp_path / "report.txt"
    assert cli.main(["selftest", "--emulate", "--out", str(path)]) == 0
    printed, written = capsys.readouterr().out, path.read_text()
    assert written in printed.replace(f"\nwritten to {path}\n", "")
    assert "device: emulated" in written and "speed: not measured" in written and "all checks passed" in written
    for precision in ("float64", "float32", "bfloat16", "float16"):
        assert f"in {precision}, beside the reference" in written and f"training twice in {precision}" in written


def test_a_wrong_kernel_is_told(gpu, tmp_path, monkeypatch, capsys):
    honest = load_backend("gpu").gelu_backward
    monkeypatch.setattr("minibert.ops.gpu.gelu_backward", lambda d_y, cache: -honest(d_y, cache))
    path = tmp_path / "report.txt"
    assert cli.main(["selftest", "--emulate", "--out", str(path)]) == 1
    report = path.read_text()
    assert "WRONG gradients: gelu" in report and "right gradients: layernorm" in report
    assert "WRONG training: 3 steps in float64" in report and "of 10 checks failed" in report


def test_an_error_in_a_check_is_a_failure_and_the_others_run():
    report = Report()

    def broken():
        raise ZeroDivisionError("in a kernel")

    report.check("one", broken)
    report.check("other", lambda: (True, "fine"))
    assert (report.checked, report.failed) == (2, 1)
    assert report.lines == [f"WRONG {'one':52}ZeroDivisionError: in a kernel", f"right {'other':52}fine"]


def test_the_cpu_backend_passes_its_checks():
    cpu = load_backend("cpu")
    assert gradients(cpu, "layernorm")[0] and training(cpu, "float32", 5)[0]
    assert not any("16" in title for title, _ in checks(cpu, whole=False))  # it has no 16-bit numbers
