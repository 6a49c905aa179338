"""The array library of this backend: CuPy, or the emulator's stand-in for it if there is no GPU.

Which one is decided once per process, when this module is first imported (see minibert.ops.devices).  Everything else
in this folder says `from minibert.ops.gpu.library import cp`.
"""

from importlib import import_module
from typing import Any

from minibert.ops.devices import emulating
from minibert.ops.emulated import stand_in

emulated = emulating()

cp: Any = stand_in() if emulated else import_module("cupy")

__all__ = ["cp", "emulated"]
