"""The array library of this backend: CuPy, or the emulator's stand-in for it where there is no GPU.

Which one is settled once in a process, when this module is first imported (see minibert.ops.devices).  Everything else
in this folder says `from minibert.ops.gpu.library import cp`.
"""

from minibert.ops.devices import emulating
from minibert.ops.emulated import stand_in

emulated = emulating()

if emulated:
    cp = stand_in()
else:
    import cupy as cp

__all__ = ["cp", "emulated"]
