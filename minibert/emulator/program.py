"""Runs a whole .cu program, with its main(): `python -m minibert.emulator run FILE.cu`."""

import ctypes
import re
import signal
import sys
from pathlib import Path

from minibert.emulator.compiler import build_library
from minibert.emulator.errors import CompileError, CudaError, SourceError
from minibert.emulator.launch import Launch, Library, Report, raise_report
from minibert.emulator.launches import translate_with_host
from minibert.emulator.modes import ORDERS, Mode
from minibert.emulator.source import Source, read_source
from minibert.emulator.source_lines import look_up
from minibert.emulator.unsupported import explain_refusal

MAIN = re.compile(r"\bmain\s*\(")
ENTRY = """
extern "C" __attribute__((visibility("default"))) int emulator_program(int count, char** arguments) {
    return reinterpret_cast<int (*)(int, char**)>(&main)(count, arguments);
}
"""


def translate_program(source: Source) -> str:
    """Translate a program to C++; raises SourceError, also if it has no main()."""
    if not MAIN.search(source.code):
        raise SourceError("the program has no main(); to launch single kernels, use minibert.emulator.Module in Python")
    return translate_with_host(source, []) + ENTRY


def run_program(path: Path, arguments: list[str], mode: Mode) -> int:
    """Compile a program and run its main() in this process, with `arguments` after the program's name.

    Prints a diagnosis of each kernel that fails on standard error; later CUDA calls then return an error, as on a GPU.
    Returns the exit code.  Raises SourceError or CompileError if the program cannot be compiled, and OSError if the
    file cannot be read.  May end the process, since the program may call exit().
    """
    source = read_source(path.read_text(encoding="utf-8"), path.name, (path.parent,))
    try:
        library = build_library(translate_program(source), mode.checked)
    except CompileError as failure:
        explanation = explain_refusal(str(failure), source)
        raise CompileError(f"{explanation}\n{failure}") if explanation else failure from None
    loaded = Library(library).loaded
    loaded.emulator_describe_array.restype = ctypes.c_char_p

    @ctypes.CFUNCTYPE(None, ctypes.POINTER(Report), ctypes.c_char_p)
    def diagnose(report, kernel):
        try:
            raise_report(
                report.contents,
                kernel.decode(),
                lambda counter: look_up(library, [counter]).get(counter, []),
                lambda number: loaded.emulator_describe_array(number).decode(),
            )
        except CudaError as error:
            print(error, file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr, flush=True)

    order, seed = ORDERS.index(mode.order), mode.seed % 2**32
    defaults = Launch(order=order, seed=seed, seconds=mode.seconds, stacks=loaded.emulator_make_stacks())
    if not defaults.stacks:
        raise MemoryError("not enough address space for the call stacks of a block of 1024 threads")
    values = [str(path).encode(), *(argument.encode() for argument in arguments)]
    argv = (ctypes.c_char_p * (len(values) + 1))(*values, None)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would wait for the program to end
    sys.stdout.flush()
    return loaded.emulator_run_program(
        ctypes.byref(defaults), diagnose, loaded.emulator_program, len(values), ctypes.byref(argv)
    )
