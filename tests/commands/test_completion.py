"""`minibert completion`: what bash completes with the script, and that each shell's script is complete and valid."""

import contextlib
import io
import shutil
import subprocess

import pytest

from minibert import cli
from minibert.commands.options import options_of

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture(scope="module")
def scripts():
    texts = {}
    for shell in ("bash", "zsh", "fish"):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert cli.main(["completion", shell]) == 0
        texts[shell] = out.getvalue()
    return texts


def completed(script, *words):
    """What bash offers for the last word of a command line."""
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _minibert; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-u", "-c", f"{script}\n{ask}"], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


@needs_bash
@pytest.mark.parametrize(
    "words, expected",
    [
        (["pretr"], ["pretrain"]),
        ([""], [*cli.COMMANDS, "--help", "--version"]),
        (["pretrain", "--backend", ""], ["reference", "cpu", "gpu", "mine"]),
        (["pretrain", "--steps", "3", "--backend", "c"], ["cpu"]),
        (["pretrain", "--backend", "=", "g"], ["gpu"]),
        (["pretrain", "--backend", "="], ["reference", "cpu", "gpu", "mine"]),
        (["selftest", "--backend", ""], ["cpu", "gpu"]),
        (["pretrain", "--res"], ["--resume"]),
        (["pretrain", "--no-res"], ["--no-resume"]),
        (["attention", "-o"], ["-o"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["pretrain", "--de"], ["--debug"]),
        (["pretrain", "corp"], []),  # bash then completes names of files
        (["pretrain", "--steps", ""], []),
        (["no-such-command", "--"], []),
    ],
)
def test_bash_completes_commands_options_and_choices(scripts, words, expected):
    assert completed(scripts["bash"], "minibert", *words) == expected


@needs_bash
@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_of_every_command_is_completed(scripts, name):
    offered = set(completed(scripts["bash"], "minibert", name, "--"))
    fields = options_of(cli._load(cli.COMMANDS[name].config))
    expected = {option.flag for option in fields if not option.note.positional}
    switches = {f"--no-{option.flag[2:]}" for option in fields if option.kind.element is bool}
    assert offered == expected | switches | {"--help", "--debug"}
    in_fish = {line for line in scripts["fish"].splitlines() if f"_from {name}'" in line}
    for flag in expected | switches:
        assert any(f" -l {flag[2:]} " in line for line in in_fish), flag
    for option in fields:
        if option.kind.choices:
            choices = f"-xa '{' '.join(option.kind.choices)}'"
            assert any(choices in line for line in in_fish), option.name


def test_zsh_reads_the_script_of_bash_and_fish_one_of_its_own(scripts):
    assert scripts["zsh"].endswith(scripts["bash"]) and "bashcompinit" in scripts["zsh"].splitlines()[0]
    for line in scripts["fish"].splitlines():
        assert line.startswith("complete -c minibert ") and line.replace("\\'", "").count("'") % 2 == 0


def test_another_shell_is_refused_in_one_line(capsys):
    assert cli.main(["completion", "csh"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'csh'; expected one of bash, zsh, fish" in error
