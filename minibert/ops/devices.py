"""Check whether a GPU or the emulator is available, without the slow import of CuPy."""

import ctypes
import importlib.util
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minibert.ops.backend import Backend
from minibert.ops.emulated import compiler_status

EMULATE = "MINIBERT_EMULATE"  # =1: the gpu backend runs its kernels on the CPU, with minibert.emulator
DRIVERS = {"win32": ("nvcuda.dll",)}
LEAST_CAPABILITY = {"float16": 70, "tf32": 80, "bfloat16": 80}  # precision -> compute capability, times ten
LIBRARY = "minibert.ops.gpu.library"  # decides, when first imported, whether this process uses the GPU or the emulator


def emulating() -> bool:
    """Whether the environment says to run the gpu backend on the emulator."""
    return os.environ.get(EMULATE) == "1"


def emulate_gpu(wanted: bool) -> None:
    """Make this process's gpu backend run on the emulator (True), or leave that to the environment (False).

    Raises RuntimeError if the gpu backend is already in use on the real device.
    """
    if not wanted:
        return
    if LIBRARY in sys.modules and not sys.modules[LIBRARY].emulated:
        raise RuntimeError("the gpu backend is already in use on the GPU; start a new process to emulate it")
    os.environ[EMULATE] = "1"


def gpu_status() -> str | None:
    """None if the gpu backend can be used, otherwise one line that says what is missing and how to get it."""
    if emulating():
        return compiler_status()
    return real_gpu_status()


def real_gpu_status() -> str | None:
    """The same as `gpu_status`, but for a real GPU, even if this process emulates the gpu backend."""
    if importlib.util.find_spec("cupy") is None:
        return (
            'CuPy is not installed: pip install -e ".[cuda13]" (or cuda12 for an older driver; nvidia-smi shows '
            "the CUDA version); --backend gpu --emulate requires no GPU"
        )
    devices = count_devices()
    if devices is None:
        return "no NVIDIA driver was found: install it (nvidia.com/drivers) and check that nvidia-smi lists the GPU"
    if devices == 0:
        return "the NVIDIA driver found no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"
    return None


def count_devices() -> int | None:
    """The number of GPUs that the NVIDIA driver finds; None if there is no working driver."""
    for name in DRIVERS.get(sys.platform, ("libcuda.so.1", "libcuda.so")):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        status, count = driver.cuInit(0), ctypes.c_int(0)
        if status == 0:
            driver.cuDeviceGetCount(ctypes.byref(count))
            return count.value
        return 0 if status == 100 else None  # CUDA_ERROR_NO_DEVICE; other errors mean that the driver does not work
    return None


def why_not_in(backend: "Backend", precision: str) -> str | None:
    """None if a backend can compute in a given precision on this machine, otherwise a one-line reason why not.

    backend: a minibert.ops.Backend; precision: "float64", "float32", "tf32", "bfloat16" or "float16".
    """
    needed = LEAST_CAPABILITY.get(precision)
    if needed is None:
        return None
    if not backend.has_half_precision:
        return f"{precision} requires a GPU (--backend gpu); the {backend.name} backend supports only float32"
    capability = int(backend.xp.cuda.Device().compute_capability)
    if capability < needed:
        have, need = (f"{number // 10}.{number % 10}" for number in (capability, needed))
        return f"this GPU has compute capability {have}, but {precision} requires {need}; use --precision float16"
    return None
