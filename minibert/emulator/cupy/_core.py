"""Emulates the part of cupy._core that sets the compute type of matrix products."""

from types import SimpleNamespace

from minibert.emulator.cupy.products import (
    COMPUTE_TYPE_DEFAULT,
    COMPUTE_TYPE_TF32,
    get_compute_type,
    set_compute_type,
)

__all__ = ["get_compute_type", "set_compute_type"]

_routines_linalg = SimpleNamespace(COMPUTE_TYPE_DEFAULT=COMPUTE_TYPE_DEFAULT, COMPUTE_TYPE_TF32=COMPUTE_TYPE_TF32)
