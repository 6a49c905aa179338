"""Which of the three is missing for a GPU: CuPy, the driver or the device."""

import pytest

from minibert.ops import devices
from minibert.ops.devices import EMULATE, gpu_status, real_gpu_status


@pytest.mark.parametrize(
    ("cupy", "found", "words"),
    [
        (None, 1, "CuPy is not installed: pip install"),
        ("spec", None, "no NVIDIA driver was found: install it"),
        ("spec", 0, "the NVIDIA driver found no GPU"),
        ("spec", 2, None),
    ],
)
@pytest.mark.parametrize("emulated", ["0", "1"])
def test_what_is_missing_is_told_in_one_line(monkeypatch, cupy, found, words, emulated):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: cupy)
    monkeypatch.setattr(devices, "count_devices", lambda: found)
    monkeypatch.setenv(EMULATE, emulated)
    status = real_gpu_status()
    assert status is None if words is None else (status.startswith(words) and "\n" not in status)
    if emulated == "0":
        assert gpu_status() == status


def test_an_emulated_gpu_needs_a_compiler_only(monkeypatch):
    monkeypatch.setenv(EMULATE, "1")
    monkeypatch.setattr("minibert.emulator.compiler_status", lambda: "no compiler")
    assert gpu_status() == "no compiler"
    assert real_gpu_status() != "no compiler"
