"""Emulates devices, streams and events; each kernel finishes before its launch returns, so nothing ever waits."""

import time
from typing import Any

from minibert.emulator.cupy.cuda import cublas, device, memory, runtime
from minibert.emulator.cupy.cuda.memory import MemoryPool
from minibert.emulator.cupy.cuda.pinned import PinnedMemoryPointer, alloc_pinned_memory
from minibert.emulator.cupy.synchronising import synchronise, wait_for_event

__all__ = [
    "Device",
    "Event",
    "MemoryPool",
    "PinnedMemoryPointer",
    "Stream",
    "alloc_pinned_memory",
    "cublas",
    "device",
    "get_current_stream",
    "get_elapsed_time",
    "memory",
    "runtime",
]


class Device:
    """The emulated GPU; tests can set Device.compute_capability to select the kernels chosen for other GPUs."""

    compute_capability = "80"

    def __init__(self, device: int | None = None) -> None:
        self.id = 0 if device is None else int(device)
        if self.id != 0:
            raise runtime.CUDARuntimeError(f"cudaErrorInvalidDevice: the only device is 0, got {self.id}")

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def use(self) -> None:
        return None

    def synchronize(self) -> None:
        synchronise("cuda.Device.synchronize")

    @property
    def mem_info(self) -> tuple[int, int]:
        return runtime.memGetInfo()


class Event:
    """A point in a stream, with the time at which it was recorded."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self._timed = not disable_timing
        self._when: float | None = None

    def record(self, stream: Any = None) -> None:
        self._when = time.perf_counter()

    @property
    def done(self) -> bool:
        return True

    def synchronize(self) -> None:
        wait_for_event("cuda.Event.synchronize")


class Stream:
    """A queue of work on the device; `with stream:` makes it the current stream."""

    null: "Stream"

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self._before: list[Stream] = []

    def __enter__(self) -> "Stream":
        self._before.append(current[0])
        current[0] = self
        return self

    def __exit__(self, *_: object) -> None:
        current[0] = self._before.pop()

    def use(self) -> "Stream":
        current[0] = self
        return self

    @property
    def done(self) -> bool:
        return True

    def synchronize(self) -> None:
        synchronise("cuda.Stream.synchronize")

    def record(self, event: Any = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Make later work in this stream, but not the host, wait for an event.

        Raises ValueError if the event was never recorded.
        """
        if not isinstance(event, Event):
            raise TypeError(f"expected an Event, got {type(event).__name__}")
        if event._when is None:
            raise ValueError("the event was never recorded, so nothing would wait")


Stream.null = Stream(null=True)
current = [Stream.null]


def get_current_stream() -> Stream:
    return current[0]


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return the time between two events in milliseconds."""
    if start_event._when is None or end_event._when is None or not (start_event._timed and end_event._timed):
        raise runtime.CUDARuntimeError(
            "cudaErrorInvalidResourceHandle: both events must have been recorded, with timing enabled"
        )
    return 1000 * (end_event._when - start_event._when)
