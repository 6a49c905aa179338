"""Uploads that overlap with computation: all integers of a batch in one copy, on a separate stream.

A copy overlaps with kernels only if its source is pinned memory, which the system never moves, and if it does not wait
for kernels that have yet to run.  So its target must not be memory that a queued kernel still reads.  Memory from
CuPy's pool may be: the pool tracks the order of one stream only.  Therefore a `Slot`, with its memory on both
sides, is reused only after its owner has called `release`, and the copy waits for what was queued before that and
nothing else.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.ops.backend import Upload
from minibert.ops.gpu.library import cp

STEP = 64  # elements: each array begins at a multiple of this, 256 bytes


class Slot:
    """Buffers for one upload: int32 [size] on the host, pinned, and the same on the device."""

    def __init__(self, size: int):
        self.size = size
        self.pinned = cp.cuda.alloc_pinned_memory(size * 4)  # held, since `host` is a view of it
        self.host = np.frombuffer(self.pinned, dtype=np.int32, count=size)
        self.device = cp.empty(size, dtype=np.int32)
        # the device memory may just have been freed by kernels that are still queued: the first copy waits for them
        self.free = cp.cuda.get_current_stream().record()
        self.copied: Any = None  # an event, once something has been copied


class Uploader:
    """The stream for copies, and the free slots."""

    def __init__(self):
        self.stream = cp.cuda.Stream(non_blocking=True)
        self.slots: list[Slot] = []

    def upload(self, arrays: Sequence[np.ndarray]) -> Upload:
        """int32 arrays on the host, of any shapes -> an Upload with the same arrays on the device, in this order."""
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
        cp.cuda.get_current_stream().wait_event(slot.copied)
        on_device = [slot.device[span].reshape(a.shape) for span, a in zip(spans, arrays, strict=True)]
        return Upload(on_device, lambda: self.give_back(slot))

    def take(self, size: int) -> Slot:
        """The smallest free slot that is large enough, or a new one."""
        for slot in sorted(self.slots, key=lambda slot: slot.size):
            if slot.size >= size:
                self.slots.remove(slot)
                slot.copied.synchronize()  # done long ago; the host must not overwrite what is still being copied
                return slot
        return Slot(1 << (size - 1).bit_length())

    def give_back(self, slot: Slot) -> None:
        """Free a slot: nothing more that reads it will be launched."""
        slot.free = cp.cuda.get_current_stream().record()
        self.slots.append(slot)


uploaders: dict[int, Uploader] = {}


def upload(arrays: Sequence[np.ndarray]) -> Upload:
    """Copy int32 arrays from the host to the current device: see Uploader.upload."""
    device = cp.cuda.Device().id
    if device not in uploaders:
        uploaders[device] = Uploader()
    return uploaders[device].upload(arrays)
