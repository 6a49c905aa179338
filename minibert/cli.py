"""The `minibert` command: the table of subcommands, their dispatch and their error handling.

A subcommand consists of a dataclass, whose fields become its options and whose docstrings become its help text,
and a function that takes an instance of that dataclass and returns an exit code (None means 0). COMMANDS names both
in the form "module:name"; they are imported only when that subcommand runs, so that `minibert --help` starts quickly.

To add a subcommand, write its dataclass and function in the package they belong to, and add an entry to COMMANDS.
"""

import difflib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from minibert import __version__
from minibert.base.progress import escape_unprintable
from minibert.base.streams import discard_output_of_broken_streams, open_closed_streams


@dataclass(frozen=True)
class Command:
    """One subcommand, as listed in COMMANDS."""

    summary: str
    """The one-line summary shown by `minibert --help`."""
    config: str
    """The dataclass that defines the subcommand's options, in the form "module:name"."""
    function: str
    """The function that takes an instance of that dataclass and returns an exit code or None; also "module:name"."""


COMMANDS = {
    "pretrain": Command(
        "learn a vocabulary and pre-train a BERT, or another model, on text",
        "minibert.training.config:PretrainConfig",
        "minibert.training.pretraining:pretrain",
    ),
    "distill": Command(
        "pre-train a DistilBERT that learns from a trained BERT",
        "minibert.commands.distill:DistillConfig",
        "minibert.commands.distill:distill",
    ),
    "compare": Command(
        "draw a run over a reference run, and say whether it is on track",
        "minibert.commands.compare:CompareConfig",
        "minibert.commands.compare:compare",
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
    "generate": Command(
        "continue a text with a trained left-to-right model",
        "minibert.commands.generate:GenerateConfig",
        "minibert.commands.generate:generate_text",
    ),
    "finetune": Command(
        "fine-tune a pre-trained BERT on a task",
        "minibert.tasks.config:FinetuneConfig",
        "minibert.tasks.finetune:finetune",
    ),
    "experiment": Command(
        "rerun a comparison from the papers, as a table and a picture",
        "minibert.commands.experiment:ExperimentConfig",
        "minibert.commands.experiment:experiment",
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
    "grade": Command(
        "grade the answers in students' notebooks (for teachers)",
        "minibert.commands.grade:GradeConfig",
        "minibert.commands.grade:grade",
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
    "completion": Command(
        "print a script that completes subcommands and options in bash, zsh or fish",
        "minibert.commands.completion:CompletionConfig",
        "minibert.commands.completion:completion",
    ),
    "info": Command(
        "show versions, backends, threads and optional packages",
        "minibert.commands.info:InfoConfig",
        "minibert.commands.info:info",
    ),
}

# Exceptions that report a problem with the input or the machine. Any other exception, such as TypeError or KeyError,
# is a bug in minibert and keeps its traceback.
USER_ERRORS = (ValueError, OSError, ImportError, MemoryError, FloatingPointError, RuntimeError)

EXIT_ERROR = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + 13  # what a shell reports for a program killed by SIGPIPE, signal 13

DEBUG_NOTE = "Add --debug to see the traceback when an error occurs."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name; default: sys.argv[1:]) and return the exit code.

    Exit codes: 0 for success, 1 if a check failed, 2 for an error (reported in one line on standard error), 130 if
    interrupted.
    """
    open_closed_streams()
    escape_unprintable(sys.stdout, sys.stderr)
    ended = argv is None  # the program ends with this function
    argv, debug = _take_debug(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(argv)
        sys.stdout.flush()  # so that a closed pipe raises BrokenPipeError here rather than at exit
        return code
    except BrokenPipeError:
        discard_output_of_broken_streams()  # the reader has closed the pipe, as in `minibert info | head -1`
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        if ended:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would only print a traceback
        report(f"minibert: {str(interrupt) or 'interrupted'}", debug)
        return getattr(interrupt, "exit_code", EXIT_INTERRUPTED)  # the exception for SIGTERM has its own
    except USER_ERRORS as error:
        report(f"minibert: error: {one_line(error)}", debug)
        return EXIT_ERROR


def report(line: str, debug: bool) -> None:
    """Print an error on standard error, if that can be written; debug: print the traceback first."""
    with suppress(OSError):
        if debug:
            traceback.print_exc()
        print(line, file=sys.stderr)
    discard_output_of_broken_streams()


def one_line(error: BaseException) -> str:
    """The message of `error` on one line, without the error number that Python adds to an OSError."""
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
    """`argv` without --debug, and whether --debug was present; arguments after `--` are left unchanged."""
    end = argv.index("--") if "--" in argv else len(argv)
    options = [word for word in argv[:end] if word != "--debug"]
    return [*options, *argv[end:]], len(options) < end


def _dispatch(argv: list[str]) -> int:
    """Find the subcommand, parse its options, run it, and return its exit code."""
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
    """The subcommand's options parsed from `words`; if these include --help, print the help and return None."""
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
    """Import and return the object that `path`, in the form "module:name", refers to."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _did_you_mean(word: str, candidates: dict[str, Command]) -> str:
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.7)
    return f" (did you mean {close[0]!r}?)" if close else ""
