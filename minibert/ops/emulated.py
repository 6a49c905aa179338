"""The gpu backend's interface to the emulator; apart from the course, only this module imports the emulator."""

from types import ModuleType


def compiler_status() -> str | None:
    """None if the emulator can compile kernels on this machine, otherwise a one-line reason why not."""
    from minibert.emulator import compiler_status

    return compiler_status()


def stand_in() -> ModuleType:
    """The emulator's module that replaces `cupy`."""
    from minibert.emulator import cupy

    return cupy
