"""The array library of the gpu backend: CuPy, or the emulator's replacement for it.

The choice is made once per process, when this module is first imported (see minibert.ops.devices).  The other modules
in this folder import the library by `from minibert.ops.gpu.library import cp`.
"""

from importlib import import_module
from typing import Any

from minibert.ops.devices import emulating
from minibert.ops.emulated import stand_in

emulated = emulating()

cp: Any = stand_in() if emulated else import_module("cupy")

__all__ = ["cp", "emulated"]
