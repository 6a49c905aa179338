"""Standard streams that are closed or broken: output is discarded, missing input is one line, never a traceback."""

import subprocess
import sys

import pytest

from minibert import cli
from minibert.base import progress, streams

CLOSINGS = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "| head -1", "2>&1 >&- | head -1", "> /dev/full", "2> /dev/full"]
COMMANDS = list(cli.COMMANDS)


def shell(command, cwd=None):
    program = f"{sys.executable} -m minibert"
    return subprocess.run(
        ["bash", "-c", command.replace("minibert", program, 1)], capture_output=True, text=True, cwd=cwd, timeout=300
    )


@pytest.mark.parametrize("closing", CLOSINGS)
def test_help_and_errors(tmp_path, closing):
    """A command that prints, and one that fails."""
    done = shell(f"minibert --help {closing}; echo $? >&2", tmp_path)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    done = shell(f"minibert nonsense {closing}", tmp_path)
    assert "Traceback" not in done.stdout + done.stderr and "Exception ignored" not in done.stdout + done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("closing", CLOSINGS)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command(tmp_path, name, closing):
    """With and without --help: without, most commands end with the error that they lack an argument."""
    (tmp_path / "text.txt").write_text("The cat sees a tree. It is good.\n\nA dog likes it. It is bad.\n" * 20)
    words = {"vocab": "vocab - --size 60", "pretrain": "pretrain - --steps 1", "encode": "encode . - --out x.npy"}
    quick = {"bench", "selftest", "gradcheck", "experiment", "lessons"}  # take minutes
    for command in (f"{name} --help", words.get(name, name) if name not in quick else f"{name} --nonsense"):
        done = shell(f"minibert {command} {closing}", tmp_path)
        assert "Traceback" not in done.stdout + done.stderr and "Exception ignored" not in done.stdout + done.stderr
        assert done.stderr.count("\n") <= 2, done.stderr


def test_a_closed_standard_input_is_said(tmp_path):
    done = shell("minibert vocab - --out v <&-", tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "minibert: error: standard input is closed; expected text on it, or the name of a file instead of -\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_does_not_take_the_place_of_a_closed_stream(tmp_path):
    """Otherwise a print, or a process that is started, would write into the vocabulary."""
    (tmp_path / "text.txt").write_text("the cat sees a tree and the dog sees a cat\n" * 20)
    done = shell("minibert vocab text.txt --size 40 --out v <&- >&- 2>&-", tmp_path)
    assert done.returncode == 0
    again = shell("minibert vocab text.txt --size 40 --out w", tmp_path)
    assert again.returncode == 0 and again.stdout
    assert (tmp_path / "v" / "vocab.txt").read_bytes() == (tmp_path / "w" / "vocab.txt").read_bytes()


def test_streams_that_are_none(monkeypatch):
    """As under pythonw: printing is nothing, and there is no progress bar."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    progress.say("model", "text")
    progress.progress_bar(range(3)).close()
    with pytest.raises(ValueError, match="standard input is closed"):
        streams.standard_input()
    assert cli.main(["--help"]) == 0
    assert cli.main(["nonsense"]) == 2
