"""Emulates CUDA runtime functions: the properties and memory of the emulated device, its version, synchronisation."""

from minibert.emulator.cupy.cuda.limits import most_shared
from minibert.emulator.cupy.cuda.memory import TOTAL, pool
from minibert.emulator.cupy.synchronising import synchronise

__all__ = [
    "CUDARuntimeError",
    "deviceSynchronize",
    "driverGetVersion",
    "getDevice",
    "getDeviceCount",
    "getDeviceProperties",
    "is_hip",
    "memGetInfo",
    "runtimeGetVersion",
]

is_hip = False
VERSION = 13000  # CUDA 13.0


class CUDARuntimeError(RuntimeError):
    """An error that the CUDA runtime, or its emulation, reports."""


def getDeviceCount() -> int:
    return 1


def getDevice() -> int:
    return 0


def deviceSynchronize() -> None:
    synchronise("cuda.runtime.deviceSynchronize")


def memGetInfo() -> tuple[int, int]:
    """Return the free bytes and the total bytes of device memory."""
    return TOTAL - pool.total_bytes(), TOTAL


def getDeviceProperties(device: int) -> dict:
    from minibert.emulator.cupy.cuda import Device

    capability = Device(device).compute_capability
    major, minor = divmod(int(capability), 10)
    return {
        "name": b"none: minibert's emulator",
        "major": major,
        "minor": minor,
        "multiProcessorCount": 1,
        "totalGlobalMem": TOTAL,
        "sharedMemPerBlock": 48 << 10,
        "sharedMemPerBlockOptin": most_shared(capability),
        "warpSize": 32,
    }


def runtimeGetVersion() -> int:
    return VERSION


def driverGetVersion() -> int:
    return VERSION
