"""Upload a batch's integer arrays to the GPU in one copy, on a separate stream, so that it overlaps with computation.

A copy overlaps with kernels only if its source is pinned memory, which the operating system never moves, and if the
copy does not wait for kernels that have yet to run.  So its target must not be memory that a queued kernel still reads.
Newly allocated memory from CuPy's pool might be such memory, since the pool tracks the order of work only within one
stream.  Therefore uploads use a `Slot`, which holds memory on the host and on the device.  A slot is reused only after
its user has called `release`, and the next copy into it waits only for the work that was queued before that call.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.ops.backend import Upload
from minibert.ops.gpu.library import cp

STEP = 64  # elements (256 bytes): each array begins at a multiple of this


class Slot:
    """The buffers for one upload: int32 [size] in pinned memory on the host, and int32 [size] on the device."""

    def __init__(self, size: int):
        self.size = size
        self.pinned = cp.cuda.alloc_pinned_memory(size * 4)  # kept here because `host` is a view of it
        self.host = np.frombuffer(self.pinned, dtype=np.int32, count=size)
        self.device = cp.empty(size, dtype=np.int32)
        # the pool may return memory that queued kernels still use; the first copy waits for them
        self.free = cp.cuda.get_current_stream().record()
        self.copied: Any = None  # the event that marks the end of the last copy; None before the first copy


class Uploader:
    """Uploads arrays to one device; holds the stream for copies, and the free slots."""

    def __init__(self):
        self.stream = cp.cuda.Stream(non_blocking=True)
        self.slots: list[Slot] = []
        self.copying: list[Slot] = []  # slots whose copies may still run, even if their users have dropped them

    def upload(self, arrays: Sequence[np.ndarray]) -> Upload:
        """Copy int32 host arrays, of any shapes, to the device; the Upload holds them in the same order."""
        spans, size = [], 0
        for array in arrays:
            spans.append(slice(size, size + array.size))
            size += -(-array.size // STEP) * STEP
        slot = self.take(max(size, STEP))
        for span, array in zip(spans, arrays, strict=True):
            if array.dtype != np.int32:
                raise TypeError(f"upload expects int32 arrays, got {array.dtype}")
            slot.host[span] = array.reshape(-1)
        self.stream.wait_event(slot.free)
        slot.device.set(slot.host, stream=self.stream)
        slot.copied = self.stream.record()
        self.copying = [*(other for other in self.copying if not other.copied.done), slot]
        cp.cuda.get_current_stream().wait_event(slot.copied)
        on_device = [slot.device[span].reshape(a.shape) for span, a in zip(spans, arrays, strict=True)]
        return Upload(on_device, lambda: self.give_back(slot))

    def take(self, size: int) -> Slot:
        """Remove and return the smallest free slot of at least `size` elements, or return a new slot."""
        for slot in sorted(self.slots, key=lambda slot: slot.size):
            if slot.size >= size:
                self.slots.remove(slot)
                slot.copied.synchronize()  # usually done long ago; the host must not overwrite memory during a copy
                return slot
        return Slot(1 << (size - 1).bit_length())

    def give_back(self, slot: Slot) -> None:
        """Mark a slot as free, once all work that reads it has been launched."""
        slot.free = cp.cuda.get_current_stream().record()
        self.slots.append(slot)


uploaders: dict[int, Uploader] = {}


def upload(arrays: Sequence[np.ndarray]) -> Upload:
    """Copy int32 arrays from the host to the current device; see Uploader.upload."""
    device = cp.cuda.Device().id
    if device not in uploaders:
        uploaders[device] = Uploader()
    return uploaders[device].upload(arrays)
