"""The ctypes interface to the C++ runtime: its structures (as in runtime/state.h), and the call that runs a kernel."""

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.emulator import errors
from minibert.emulator.counters import Count
from minibert.emulator.errors import CudaError
from minibert.emulator.modes import ORDERS, Mode
from minibert.emulator.source_lines import look_up
from minibert.emulator.trace import Record


class Parameter(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("bytes", ctypes.c_size_t),
        ("is_pointer", ctypes.c_int),
        ("is_constant", ctypes.c_int),
    ]


class KernelEntry(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("call", ctypes.c_void_p),
        ("function", ctypes.c_void_p),
        ("count", ctypes.c_int),
        ("parameters", ctypes.POINTER(Parameter)),
    ]


class Array(ctypes.Structure):
    _fields_ = [
        ("begin", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("element_bytes", ctypes.c_size_t),
        ("initialised", ctypes.c_void_p),
        ("argument", ctypes.c_int),
    ]


class Launch(ctypes.Structure):
    _fields_ = [
        ("kernel", ctypes.POINTER(KernelEntry)),
        ("arguments", ctypes.c_void_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("dynamic_bytes", ctypes.c_size_t),
        ("most_shared", ctypes.c_size_t),
        ("stacks", ctypes.c_void_p),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("seconds", ctypes.c_uint),
        ("array_count", ctypes.c_int),
        ("arrays", ctypes.POINTER(Array)),
        ("counting", ctypes.c_int),
        ("tracing", ctypes.c_int),
        ("most_records", ctypes.c_size_t),
    ]


class Report(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int),
        ("text", ctypes.c_char * 1024),
        ("file", ctypes.c_char_p),
        ("line", ctypes.c_int),
        ("has_thread", ctypes.c_int),
        ("block", ctypes.c_uint * 3),
        ("thread", ctypes.c_uint * 3),
        ("counter", ctypes.c_size_t),
        ("other_counter", ctypes.c_size_t),
        ("argument", ctypes.c_int),
    ]


# the exception for each `Kind` in runtime/warps.h, in the same order
KINDS = [
    None,
    errors.RaceError,
    errors.OutOfBoundsError,
    errors.UninitialisedError,
    errors.DivergenceError,
    errors.MisalignedError,
    errors.LaunchError,
    errors.NumberError,
    errors.EndlessError,
    KeyboardInterrupt,
    errors.AssertionFailedError,
    errors.TrapError,
]


class Library:
    """A shared library of compiled kernels, loaded with ctypes."""

    one_at_a_time = threading.Lock()  # Python threads take turns, because a library has only one scheduler
    stacks = None  # the call stacks of the kernels' threads, shared by all libraries

    def __init__(self, path: Path):
        self.path = path
        self.loaded = ctypes.CDLL(str(path))
        self.loaded.emulator_launch.restype = ctypes.POINTER(Report)
        self.loaded.emulator_make_stacks.restype = ctypes.c_void_p
        self.entries = {}
        first = KernelEntry.in_dll(self.loaded, "emulator_kernels")
        table = ctypes.cast(ctypes.pointer(first), ctypes.POINTER(KernelEntry))
        for entry in iter_until_unnamed(table):
            self.entries[entry.name.decode()] = entry

    def source_lines(self, counter: int) -> list[tuple[str, int]]:
        """Return a program counter's source lines: the line itself, then the calls through which it was inlined."""
        return look_up(self.path, [counter]).get(counter, [])

    def run(self, launch: Launch, mode: Mode) -> "Outcome":
        """Run a launch in the order and with the time limit that the mode sets."""
        launch.order, launch.seed, launch.seconds = ORDERS.index(mode.order), mode.seed % 2**32, mode.seconds
        with Library.one_at_a_time:
            if Library.stacks is None:
                Library.stacks = self.loaded.emulator_make_stacks()
                if not Library.stacks:
                    raise MemoryError("not enough address space for the call stacks of a block of 1024 threads")
            launch.stacks = Library.stacks
            sys.stdout.flush()  # before what the kernel prints
            report = self.loaded.emulator_launch(ctypes.byref(launch)).contents
            return Outcome(
                Report.from_buffer_copy(report),
                self.copy_list("emulator_records", Record) if launch.tracing else [],
                self.copy_list("emulator_counts", Count) if launch.counting else [],
            )

    def copy_list(self, function: str, structure: Any) -> list:
        """Copy a list of records or counts out of the library, before the next launch overwrites it."""
        count, call = ctypes.c_size_t(), getattr(self.loaded, function)
        call.restype = ctypes.POINTER(structure)
        first = call(ctypes.byref(count))
        copy = ctypes.string_at(first, ctypes.sizeof(structure) * count.value)
        return list((structure * count.value).from_buffer_copy(copy))


@dataclass(frozen=True)
class Outcome:
    """The outcome of a launch: the error report, and the records and counts if they were requested."""

    report: Report
    records: list[Record]  # empty unless the launch was traced
    counts: list[Count]  # empty unless the launch was counted


def iter_until_unnamed(table: Any) -> Iterator[Any]:
    number = 0
    while table[number].name:
        yield table[number]
        number += 1


def raise_report(report: Report, kernel: str, lines: Callable, describe_argument: Callable) -> None:
    """Raise the exception that a report describes, or do nothing if the launch succeeded.

    lines              a function that returns the source lines of a program counter of the library
    describe_argument  a function that returns a description of an argument, given its number
    """
    if report.kind == 0:
        return
    kind = KINDS[report.kind]
    if kind is KeyboardInterrupt:
        raise KeyboardInterrupt
    text = report.text.decode(errors="replace")
    if report.argument >= 0:
        text = text.replace("{argument}", describe_argument(report.argument))
    calls = []
    if report.file:
        file, line = report.file.decode(), report.line
    else:
        (file, line), *calls = lines(report.counter) or [(None, None)]
    other = lines(report.other_counter)
    if other:
        text = text.replace("{other}", " at {}:{}".format(*other[0]))
    text = text.replace("{other}", "")
    where = [f"{file}:{line}"] if file else []
    where += [f"called at {call[0]}:{call[1]}" for call in calls]
    where += [f"block {tuple(report.block)}, thread {tuple(report.thread)}"] if report.has_thread else []
    error: type[CudaError] = kind
    raise error(
        f"{kernel}: {error.kind}: {text} [{'; '.join(where)}]" if where else f"{kernel}: {error.kind}: {text}",
        kernel=kernel,
        file=file,
        line=line,
        block=tuple(report.block) if report.has_thread else None,
        thread=tuple(report.thread) if report.has_thread else None,
    )
