"""`minibert completion SHELL`: print a script with which a shell completes subcommands, options and their choices.

The script is complete in itself: completing a word does not run minibert.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Literal

from minibert.base.arguments import Argument
from minibert.commands.options import Option, options_of

EVERYWHERE = {"help": "show the options", "debug": "show the traceback when an error occurs"}

BASH = """\
_minibert() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" candidates=""
    if [[ "$word" == "=" ]]; then word=""
    elif [[ "$before" == "=" ]]; then before="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    if [[ $COMP_CWORD == 1 ]]; then
        candidates="{commands} --help --version"
    elif [[ "$word" == -* ]]; then
        case "${{COMP_WORDS[1]}}" in
{options}
        esac
    else
        case "${{COMP_WORDS[1]}} $before" in
{choices}
        esac
    fi
    COMPREPLY=($(compgen -W "$candidates" -- "$word"))
}}
complete -o default -F _minibert minibert
"""
ZSH = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"


@dataclass(frozen=True)
class CompletionConfig:
    """Print a script with which a shell completes minibert's subcommands, options and choices."""

    shell: Annotated[Literal["bash", "zsh", "fish"], Argument(positional=True)]
    """The shell: bash, zsh or fish."""


def completion(config: CompletionConfig) -> None:
    """Print the script for a shell, on standard output."""
    cli = import_module("minibert.cli")  # not imported above, since it is the module that runs the subcommands
    options = {name: options_of(cli._load(command.config)) for name, command in cli.COMMANDS.items()}
    if config.shell == "fish":
        print(fish_script({name: command.summary for name, command in cli.COMMANDS.items()}, options), end="")
    else:
        print((ZSH if config.shell == "zsh" else "") + bash_script(options), end="")


def flags_of(option: Option) -> list[str]:
    """The names of an option, such as ["-o", "--out"]; those of a switch include --no-NAME; [] for a positional one."""
    if option.note.positional:
        return []
    negative = [f"--no-{option.flag.removeprefix('--')}"] if option.kind.element is bool else []
    return [*option.note.aliases, option.flag, *negative]


def bash_script(options: dict[str, list[Option]]) -> str:
    """The script for bash, and for zsh's emulation of it."""
    choices, flags = [], []
    for name, its in options.items():
        names = [flag for option in its for flag in flags_of(option)] + [f"--{extra}" for extra in EVERYWHERE]
        flags.append(f'            {name}) candidates="{" ".join(names)}" ;;')
        for option in its:
            if not option.kind.choices:
                continue
            befores = flags_of(option) or [name]  # a positional argument follows the subcommand
            pattern = "|".join(f'"{name} {flag}"' for flag in befores)
            choices.append(f'            {pattern}) candidates="{" ".join(option.kind.choices)}" ;;')
    return BASH.format(commands=" ".join(options), choices="\n".join(choices), options="\n".join(flags))


def fish_script(summaries: dict[str, str], options: dict[str, list[Option]]) -> str:
    """The script for fish, which also shows the first sentence of each option's help."""
    lines = ["complete -c minibert -e"]
    for name, summary in summaries.items():
        lines.append(f"complete -c minibert -n __fish_use_subcommand -xa {name} -d {fish_quoted(summary)}")
    for name, its in options.items():
        here = f"complete -c minibert -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{here} -l {extra} -d {fish_quoted(doc)}" for extra, doc in EVERYWHERE.items()]
        for option in its:
            doc = fish_quoted(option.doc.partition(". ")[0].removesuffix("."))
            value = ""
            if option.kind.choices:
                value = f" -xa {fish_quoted(' '.join(option.kind.choices))}"
            elif option.kind.element is not bool:
                value = " -x" if option.kind.element in (int, float) else " -r"
            if option.note.positional and option.kind.choices:
                lines.append(f"{here}{value} -d {doc}")
            for flag in flags_of(option):
                kind = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                lines.append(f"{here} {kind}{value} -d {doc}")
    return "\n".join(lines) + "\n"


def fish_quoted(text: str) -> str:
    backslash = "\\"
    return "'" + text.replace(backslash, 2 * backslash).replace("'", backslash + "'") + "'"
