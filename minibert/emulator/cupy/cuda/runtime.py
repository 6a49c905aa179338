"""What the CUDA runtime reports about devices and itself: here, about a device that does not exist."""

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
    """An error from the CUDA runtime."""


def getDeviceCount() -> int:
    return 1


def getDevice() -> int:
    return 0


def deviceSynchronize() -> None:
    synchronise("cuda.runtime.deviceSynchronize")


def memGetInfo() -> tuple[int, int]:
    """Free bytes, and total bytes."""
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
