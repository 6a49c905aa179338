"""The command `minibert`: a table of subcommands, and the handling of their errors.

A subcommand is a dataclass, whose fields become the options and whose docstrings become the help, and a
function that takes an instance of it and returns an exit code (None means 0). Both are named in COMMANDS as
"module:name" and imported only when that subcommand runs, so that `minibert --help` answers at once.

To add one, write the dataclass and the function in their own package, and add a line to COMMANDS.
"""

import difflib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from minibert import __version__


@dataclass(frozen=True)
class Command:
    """One row of the table of subcommands."""

    summary: str
    """One line for `minibert --help`."""
    config: str
    """The dataclass of the subcommand's options, as "module:name"."""
    function: str
    """The function that takes that dataclass and returns an exit code or None, as "module:name"."""


COMMANDS = {
    "pretrain": Command(
        "learn a vocabulary and pre-train a BERT on text",
        "minibert.training.config:PretrainConfig",
        "minibert.training.pretraining:pretrain",
    ),
    "vocab": Command(
        "learn a WordPiece vocabulary from text",
        "minibert.commands.vocab:VocabConfig",
        "minibert.commands.vocab:vocab",
    ),
    "fill": Command(
        "fill in the blanks in a text with a trained model",
        "minibert.commands.fill:FillConfig",
        "minibert.commands.fill:fill",
    ),
    "finetune": Command(
        "fine-tune a pre-trained BERT on a task",
        "minibert.tasks.config:FinetuneConfig",
        "minibert.tasks.finetune:finetune",
    ),
    "predict": Command(
        "make predictions with a fine-tuned model",
        "minibert.tasks.predict:PredictConfig",
        "minibert.tasks.predict:predict",
    ),
    "encode": Command(
        "turn lines of text into vectors",
        "minibert.commands.encode:EncodeConfig",
        "minibert.commands.encode:encode_lines",
    ),
    "search": Command(
        "find the lines of text closest in meaning to a query",
        "minibert.commands.encode:SearchConfig",
        "minibert.commands.encode:search",
    ),
    "attention": Command(
        "show a model's attention as a web page",
        "minibert.commands.attention_page:AttentionConfig",
        "minibert.commands.attention_page:attention",
    ),
    "lessons": Command(
        "open the course in JupyterLab and list the exercises you have completed",
        "minibert.commands.lessons:LessonsConfig",
        "minibert.commands.lessons:lessons",
    ),
    "gradcheck": Command(
        "check every gradient against finite differences",
        "minibert.commands.gradcheck:GradcheckConfig",
        "minibert.commands.gradcheck:gradcheck",
    ),
    "bench": Command(
        "measure speed, memory and time per op, compared with PyTorch",
        "minibert.commands.bench:BenchConfig",
        "minibert.commands.bench:bench",
    ),
    "selftest": Command(
        "check and benchmark a backend on this machine, in one report",
        "minibert.commands.selftest:SelftestConfig",
        "minibert.commands.selftest:selftest",
    ),
    "info": Command(
        "show versions, backends, threads and optional packages",
        "minibert.commands.info:InfoConfig",
        "minibert.commands.info:info",
    ),
}

# Errors that tell the user something about the input or the machine. Anything else (TypeError, KeyError...)
# is a mistake in minibert and keeps its traceback.
USER_ERRORS = (ValueError, OSError, ImportError, MemoryError, FloatingPointError, RuntimeError)

EXIT_ERROR = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + 13  # SIGPIPE, as a shell reports a program that writes to a closed pipe

DEBUG_NOTE = "Add --debug to see the traceback when an error occurs."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name; default: sys.argv[1:]) and return the exit code.

    0: success. 1: a check failed. 2: an error, reported in one line on standard error. 130: interrupted.
    """
    argv, debug = _take_debug(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(argv)
        sys.stdout.flush()  # so that a closed pipe is noticed here rather than at exit
        return code
    except BrokenPipeError:
        # Nobody reads our output any more (`minibert info | head -1`). Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        if debug:
            traceback.print_exc()
        print(f"minibert: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return getattr(interrupt, "exit_code", EXIT_INTERRUPTED)  # such as the message of SIGTERM
    except USER_ERRORS as error:
        if debug:
            traceback.print_exc()
        print(f"minibert: error: {one_line(error)}", file=sys.stderr)
        return EXIT_ERROR


def one_line(error: BaseException) -> str:
    """The message of `error` on one line, without Python's own decorations."""
    if isinstance(error, OSError) and error.strerror:
        named = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        message = ": ".join([" -> ".join(named), error.strerror] if named else [error.strerror])
    else:
        message = str(error)
    message = " ".join(message.split())
    if isinstance(error, MemoryError):
        message = f"out of memory: {message}" if message else "out of memory"
    return message or type(error).__name__


def _take_debug(argv: Sequence[str]) -> tuple[list[str], bool]:
    """The command line without --debug, and whether --debug was present. Words after a `--` are left alone."""
    end = argv.index("--") if "--" in argv else len(argv)
    options = [word for word in argv[:end] if word != "--debug"]
    return [*options, *argv[end:]], len(options) < end


def _dispatch(argv: list[str]) -> int:
    """Find the subcommand, read its options, and run it."""
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"minibert {__version__}")
        return 0
    name, *words = argv
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "subcommand"
        raise ValueError(f"unknown {kind} {name!r}{_did_you_mean(name, COMMANDS)}; see minibert --help")
    config = _options(name, words)
    if config is None:  # the user asked for --help, which has been printed
        return 0
    return _load(COMMANDS[name].function)(config) or 0


def _options(name: str, words: list[str]) -> Any:
    """The subcommand's dataclass, filled from `words`, or None if they ask for --help, which is then printed."""
    from minibert.commands.options import read_options  # imported here because only a subcommand needs it

    return read_options(_load(COMMANDS[name].config), words, program=f"minibert {name}", note=DEBUG_NOTE)


def _overview() -> str:
    """The text of `minibert --help`."""
    width = max(map(len, COMMANDS))
    rows = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: minibert SUBCOMMAND [OPTIONS]",
            "",
            "BERT from scratch, with every forward and backward pass written by hand.",
            "",
            "subcommands:",
            *rows,
            "",
            "Run minibert SUBCOMMAND --help to see its options, minibert --version to see the version.",
            DEBUG_NOTE,
        ]
    )


def _load(path: str) -> Any:
    """Import what "module:name" names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _did_you_mean(word: str, candidates: dict[str, Command]) -> str:
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.7)
    return f" (did you mean {close[0]!r}?)" if close else ""
