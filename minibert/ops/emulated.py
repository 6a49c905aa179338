"""The gpu backend's interface to the emulator: the only module that imports it, apart from the course."""

from types import ModuleType


def compiler_status() -> str | None:
    """None if the emulator can compile kernels here, otherwise the reason, in one line."""
    from minibert.emulator import compiler_status

    return compiler_status()


def stand_in() -> ModuleType:
    """The module that takes the place of `cupy`."""
    from minibert.emulator import cupy

    return cupy
