"""`minibert selftest`: the report, and that a wrong kernel makes it fail."""

import pytest

from minibert import cli
from minibert.commands.selftest import Report, checks, gradients, training
from minibert.ops import load_backend
from minibert.ops.devices import why_not_in
from minibert.training.config import PretrainConfig
from minibert.training.preparation import backend_of


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Two ops and one precision are enough to see how the command works."""
    monkeypatch.setattr("minibert.commands.selftest.PAIRS", ("gelu", "layernorm"))


@pytest.mark.slow
def test_the_report_of_an_emulated_gpu(gpu, tmp_path, capsys):
    path = tmp_path / "report.txt"
    assert cli.main(["selftest", "--emulate", "--out", str(path)]) == 0
    printed, written = capsys.readouterr().out, path.read_text()
    assert written in printed.replace(f"\nwritten to {path}\n", "")
    assert "device: emulated" in written and "speed: not measured" in written and "all checks passed" in written
    for precision in ("float64", "float32", "bfloat16", "float16"):
        assert f"in {precision}, beside the reference" in written and f"training twice in {precision}" in written


@pytest.mark.slow
def test_a_wrong_kernel_is_told(gpu, tmp_path, monkeypatch, capsys):
    honest = load_backend("gpu").gelu_backward
    monkeypatch.setattr("minibert.ops.gpu.gelu_backward", lambda d_y, cache: -honest(d_y, cache))
    path = tmp_path / "report.txt"
    assert cli.main(["selftest", "--emulate", "--out", str(path)]) == 1
    report = path.read_text()
    assert "WRONG gradients: gelu" in report and "right gradients: layernorm" in report
    assert "WRONG training: 8 steps in float64" in report and "of 10 checks failed" in report


@pytest.mark.slow
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
    assert "there is no folder" in printed.err and "gradients" not in printed.out


def test_bfloat16_is_left_out_on_old_devices(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu.xp.cuda.Device, "compute_capability", "75")
    titles = [title for title, _ in checks(gpu, whole=False)]
    assert not any("bfloat16" in title for title in titles) and any("float16" in title for title in titles)
    reason = why_not_in(gpu, "bfloat16")
    assert reason == "this GPU has compute capability 7.5 and bfloat16 needs 8.0: say --precision float16"
    with pytest.raises(RuntimeError, match="say --precision float16"):
        backend_of(PretrainConfig(backend="gpu", emulate=True, precision="bfloat16"))


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
