"""The command line: what it prints, and what it exits with, on good and on bad input."""

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from minibert import __version__, cli
from minibert.base.arguments import Argument
from minibert.commands.options import field_docs, read_options

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class ExampleConfig:
    """An example of a subcommand."""

    name: Annotated[str, Argument(metavar="NAME", positional=True)]
    """A name that must be given."""
    files: Annotated[tuple[str, ...], Argument(metavar="FILE ...", positional=True)] = ()
    """Any number of files."""
    steps: int = 100
    """Number of steps."""
    rate: float = 2e-3
    """Learning rate."""
    backend: Literal["reference", "cpu"] = "cpu"
    """Where to compute."""
    lengths: tuple[int, ...] = (32, 64)
    """Lengths in tokens."""
    resume: bool = False
    """Go on with the run."""

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, given {self.steps}")


RAISES: dict[str, BaseException | int | None] = {
    "nothing": None,
    "one": 1,
    "value": ValueError("the corpus\nis too small"),
    "missing": FileNotFoundError(2, "No such file or directory", "corpus.txt"),
    "full": OSError(28, "No space left on device"),
    "memory": MemoryError(),
    "interrupt": KeyboardInterrupt(),
    "told": KeyboardInterrupt("stopped at step 7, --resume goes on"),
    "bug": KeyError("a mistake of ours"),
}


def example(config: ExampleConfig) -> int | None:
    """Do what config.name says: return a code or raise an error."""
    outcome = RAISES[config.name]
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


@pytest.fixture
def example_command(monkeypatch):
    """The command `minibert example` beside the real ones."""
    monkeypatch.setitem(cli.COMMANDS, "example", cli.Command("an example", "example:Config", "example:function"))
    real, ours = cli._load, {"example:Config": ExampleConfig, "example:function": example}
    monkeypatch.setattr(cli, "_load", lambda path: ours[path] if path in ours else real(path))


def run(capsys, *argv: str) -> tuple[int, str, str]:
    """Run `minibert argv` in this process: exit code, standard output, standard error."""
    code = cli.main(argv)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing", "--stesp", "3"], "unknown option '--stesp' (did you mean '--steps'?)"),
        (["nothing", "--zzz"], "unknown option '--zzz'"),
        (["nothing", "-q"], "unknown option '-q'"),
        (["nothing", "--steps", "many"], "--steps is 'many'; expected a whole number"),
        (["nothing", "--steps", "1.5"], "--steps is '1.5'; expected a whole number"),
        (["nothing", "--rate", "fast"], "--rate is 'fast'; expected a number"),
        (["nothing", "--steps", "a_long/" * 30], f"--steps is {'a_long/' * 30!r}; expected a whole number"),
        (["nothing", "--steps"], "--steps requires a value"),
        (["nothing", "--steps", "--resume"], "--steps requires a value"),
        (["nothing", "--step", "5"], "unknown option '--step' (did you mean '--steps'?)"),
        (["nothing", "--resume=7"], "--resume/--no-resume: ignored explicit argument '7'"),
        (["nothing", "--steps", "0"], "steps must be at least 1, given 0"),
        (["nothing", "--backend", "abacus"], "--backend is 'abacus'; expected one of reference, cpu"),
        (["nothing", "--lengths", "32", "x"], "--lengths is 'x'; expected a whole number"),
        ([], "missing NAME"),
    ],
)
def test_nonsense_options_are_told_in_one_line(capsys, words, message):
    with pytest.raises(ValueError) as error:
        read_options(ExampleConfig, words, program="minibert example")
    assert str(error.value) == f"{message}; see minibert example --help"
    assert capsys.readouterr() == ("", "")  # nothing is printed on the way


def test_help_joins_the_lines_of_a_docstring_and_names_what_may_be_left_out(capsys):
    @dataclass(frozen=True)
    class Config:
        """Two
        lines."""

        out: str | None = None
        """Folder for the
        Run."""

    assert read_options(Config, ["--help"], program="minibert example", note="A note.") is None
    out = " ".join(capsys.readouterr().out.split())
    assert "Two lines. A note." in out
    assert "--out STR Folder for the Run. (default: None)" in out


def test_a_dataclass_may_say_what_options_are_when_left_out():
    @dataclass(frozen=True)
    class Config:
        steps: int = 10
        seed: int = 0

        @classmethod
        def defaults(cls, words):
            return cls(steps=len(words))

    assert read_options(Config, ["--seed", "5"], program="minibert example") == Config(steps=2, seed=5)


def test_options_are_read_into_the_dataclass():
    words = ["nothing", "a.txt", "b.txt", "--steps", "7", "--lengths", "8", "16", "--resume"]
    expected = ExampleConfig("nothing", ("a.txt", "b.txt"), steps=7, lengths=(8, 16), resume=True)
    assert read_options(ExampleConfig, words, program="minibert example") == expected


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["nothing", "a.txt", "--steps", "7", "b.txt"], ("a.txt", "b.txt")),
        (["--steps=7", "nothing", "-"], ("-",)),
        (["--steps", "7", "nothing", "--", "--a", "-b"], ("--a", "-b")),
        (["nothing", "- a line of a list", "--steps", "7"], ("- a line of a list",)),
    ],
)
def test_arguments_may_stand_anywhere_and_behind_a_double_dash_nothing_is_an_option(words, files):
    options = read_options(ExampleConfig, words, program="minibert example")
    assert (options.name, options.files, options.steps) == ("nothing", files, 7)


def test_underscores_are_hyphens_in_the_name_of_an_option_only():
    @dataclass(frozen=True)
    class Config:
        """An example."""

        save_every: int = 0
        """Steps."""
        out: str = ""
        """Folder."""

    words = ["--save_every", "3", "--out=a_b"]
    assert read_options(Config, words, program="minibert example") == Config(3, "a_b")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["pretrian"], "unknown subcommand 'pretrian' (did you mean 'pretrain'?); see minibert --help"),
        (["paint"], "unknown subcommand 'paint'; see minibert --help"),
        (["--steps", "3"], "unknown option '--steps'; see minibert --help"),
        (["info", "--jsno"], "unknown option '--jsno' (did you mean '--json'?); see minibert info --help"),
        (["info", "here", "there"], "unexpected arguments: 'here', 'there'; see minibert info --help"),
    ],
)
def test_unknown_subcommands_and_options_exit_with_2(capsys, argv, message):
    assert run(capsys, *argv) == (2, "", f"minibert: error: {message}\n")


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("nothing", 0, ""),
        ("one", 1, ""),
        ("value", 2, "minibert: error: the corpus is too small\n"),
        ("missing", 2, "minibert: error: corpus.txt: No such file or directory\n"),
        ("full", 2, "minibert: error: No space left on device\n"),
        ("memory", 2, "minibert: error: out of memory\n"),
        ("interrupt", 130, "minibert: interrupted\n"),
        ("told", 130, "minibert: stopped at step 7, --resume goes on\n"),
    ],
)
def test_errors_of_a_command_become_one_line_and_an_exit_code(capsys, example_command, name, code, line):
    assert run(capsys, "example", name) == (code, "", line)


@pytest.mark.parametrize("argv", [["--debug", "example", "value"], ["example", "value", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(capsys, example_command, argv):
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert err.startswith("Traceback") and "raise outcome" in err
    assert err.endswith("minibert: error: the corpus is too small\n")


def test_debug_after_a_double_dash_is_text(capsys, example_command):
    with pytest.raises(KeyError, match="--debug"):
        cli.main(["example", "--", "--debug"])


def test_a_mistake_of_ours_keeps_its_traceback(example_command):
    with pytest.raises(KeyError, match="a mistake of ours"):
        cli.main(["example", "bug"])


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_help_lists_every_subcommand(capsys, argv):
    code, out, err = run(capsys, *argv)
    assert (code, err) == (0, "")
    for name, command in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", out, re.MULTILINE)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_a_subcommand_explains_every_option_with_its_default(capsys, name):
    code, out, err = run(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: minibert {name} ")
    assert "--debug" in out
    text = " ".join(out.split())
    config = cli._load(cli.COMMANDS[name].config)
    docs = field_docs(config)
    assert set(docs) == {field.name for field in dataclasses.fields(config)}, "a field has no docstring"
    for doc in docs.values():
        assert re.search(rf"{re.escape(doc)} \((default: .*?|(at least one )?required)\)", text), doc


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"minibert {__version__}\n", "")


def minibert(*argv: str, **options) -> subprocess.CompletedProcess:
    """Run `minibert argv` in a process of its own."""
    command = [sys.executable, "-m", "minibert", *argv]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE, timeout=60, **options)


def test_the_process_exits_with_the_code_and_one_line():
    done = minibert("info", "--jsno", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = minibert("--help", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_readme_and_ci_run_the_same_test_command():
    readme, ci = (ROOT / "README.md").read_text("utf-8"), (ROOT / ".ci/run").read_text("utf-8")
    install = re.search(r'\.venv/bin/pip (install -e "\.\[.*?\]") && \.venv/bin/python -m pytest -n auto\n', readme)[1]
    assert f'"$venv/bin/pip" {install}'.replace(" install", " install --quiet") in ci
    assert '"$venv/bin/python" -m pytest -n auto\n' in ci


def test_readme_names_only_extras_and_subcommands_that_exist():
    readme = (ROOT / "README.md").read_text("utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = {extra for group in re.findall(r'"\.\[(.*?)\]"', readme) for extra in group.split(",")}
    assert named <= set(extras)
    assert set(re.findall(r"`minibert ([a-z]+)", readme)) <= set(cli.COMMANDS)
    assert "pip install minibert" not in readme  # an older, unrelated package has that name
