"""From the host to the device while the device computes: all integers of a batch in one copy, on a stream of its own.

A copy runs beside the kernels only if it starts in pinned memory, which the system never moves, and if it waits for
nothing that they have yet to do.  So its target must not be memory that a queued kernel still reads.  Memory that
CuPy's pool hands out may be: the pool knows the order of one stream only.  Therefore a `Slot`, its memory on both
sides, is used again only after its owner has called `release`, and the copy waits for what was queued until then, no
more.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.ops.backend import Upload
from minibert.ops.gpu.library import cp

STEP = 64  # numbers: each array begins at such a multiple, 256 bytes


class Slot:
    """Buffers for one upload: int32 [size] on the host, pinned, and as much on the device."""

    def __init__(self, size: int):
        self.size = size
        self.pinned = cp.cuda.alloc_pinned_memory(size * 4)  # held, since `host` is a view of it
        self.host = np.frombuffer(self.pinned, dtype=np.int32, count=size)
        self.device = cp.empty(size, dtype=np.int32)
        # the device memory may just have been freed by kernels that are still queued: the first copy waits for them
        self.free = cp.cuda.get_current_stream().record()
        self.copied: Any = None  # an event, once something was copied


class Uploader:
    """The stream of the copies, and the slots that are free."""

    def __init__(self):
        self.stream = cp.cuda.Stream(non_blocking=True)
        self.slots: list[Slot] = []

    def upload(self, arrays: Sequence[np.ndarray]) -> Upload:
        """int32 arrays of the host, of any shapes -> an Upload with the same on the device, in this order."""
        spans, size = [], 0
        for array in arrays:
            spans.append(slice(size, size + array.size))
            size += -(-array.size // STEP) * STEP
        slot = self.take(max(size, STEP))
        for span, array in zip(spans, arrays, strict=True):
            if array.dtype != np.int32:
                raise TypeError(f"upload takes int32 arrays, given {array.dtype}")
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
                slot.copied.synchronize()  # over long ago; the host must not write what is still being copied
                return slot
        return Slot(1 << (size - 1).bit_length())

    def give_back(self, slot: Slot) -> None:
        """Nothing that reads the slot will be launched any more."""
        slot.free = cp.cuda.get_current_stream().record()
        self.slots.append(slot)


uploaders: dict[int, Uploader] = {}


def upload(arrays: Sequence[np.ndarray]) -> Upload:
    """int32 arrays of the host on the current device: see Uploader.upload."""
    device = cp.cuda.Device().id
    if device not in uploaders:
        uploaders[device] = Uploader()
    return uploaders[device].upload(arrays)
