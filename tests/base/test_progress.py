"""What a terminal's encoding cannot show is written as an escape; it never ends a run."""

import io
import subprocess
import sys

import pytest

from minibert import cli
from minibert.base.progress import printable, say, write_line


class Terminal(io.TextIOWrapper):
    """A text stream with an encoding; what was written can be read from `shown`."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)

    @property
    def shown(self):
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp1252", "utf-8", "utf-16"])
def test_any_text_can_be_written_to_any_terminal(monkeypatch, encoding):
    text = "naïve “猫” … \ud800 \U0001f63a"
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    write_line(text)
    say("what", text)
    assert terminal.shown.count("\n") == 2 and "na" in terminal.shown
    assert "\\ud800" in terminal.shown
    assert ("猫" in terminal.shown) == encoding.startswith("utf")
    assert ("\\u732b" in terminal.shown) != encoding.startswith("utf")


def test_text_that_can_be_shown_is_left_alone():
    assert printable("naïve", Terminal("latin-1")) == "naïve"
    assert printable("猫", io.StringIO()) == "猫"  # no encoding


def test_the_command_line_never_fails_to_print(monkeypatch, tmp_path):
    """An error about a file whose name the terminal cannot show, and a table with such characters."""
    out, err = Terminal("ascii"), Terminal("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert cli.main(["vocab", str(tmp_path / "猫.txt")]) == 2
    assert "no such corpus" in err.shown and "\\u732b.txt" in err.shown
    (tmp_path / "猫.txt").write_text("猫 坐 在 窗 边\n" * 3, encoding="utf-8")
    assert cli.main(["vocab", str(tmp_path / "猫.txt"), "--size", "40", "--out", str(tmp_path / "out")]) == 0
    assert "for example: \\u732b" in out.shown


@pytest.mark.slow
def test_in_a_process_of_its_own(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "minibert", "vocab", str(tmp_path / "猫.txt")],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 2 and b"no such corpus" in done.stderr and b"Traceback" not in done.stderr
