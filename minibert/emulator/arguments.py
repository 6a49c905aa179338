"""Reads a kernel's parameters, and checks that the arguments of a launch match them.

Python numbers are converted as in CuPy.  CuPy would also pass a number of the wrong type or a non-contiguous array,
from which the kernel would compute wrong results; here, each of these is an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.emulator.errors import ArgumentError
from minibert.emulator.launch import KernelEntry
from minibert.emulator.staging import Argument


@dataclass(frozen=True)
class Parameter:
    """A kernel parameter; dtype: the dtype of the number or of the pointer's target, or None for other types."""

    type: str
    bytes: int
    is_pointer: bool
    dtype: np.dtype | None
    is_constant: bool

    def __iter__(self) -> Iterator[Any]:
        return iter((self.type, self.bytes, self.is_pointer, self.dtype))


def read_parameters(entry: KernelEntry) -> list[Parameter]:
    return [
        Parameter(
            type_name(entry.parameters[number].type.decode()),
            entry.parameters[number].bytes,
            bool(entry.parameters[number].is_pointer),
            find_dtype(entry.parameters[number].dtype.decode()),
            bool(entry.parameters[number].is_constant),
        )
        for number in range(entry.count)
    ]


def type_name(text: str) -> str:
    """Extract T from a compiler's name of type_text: "type_text() [with T = const float*]" -> "const float*"."""
    name = text.rpartition("T = ")[2].rstrip("]").split(";")[0]
    return name.replace(" *", "*").replace("long long int", "long long")


def find_dtype(name: str) -> np.dtype | None:
    if name == "":
        return None
    if name != "bfloat16":
        return np.dtype(name)
    try:
        from ml_dtypes import bfloat16
    except ImportError:  # without ml_dtypes, there are no bfloat16 arrays
        return None
    return np.dtype(bfloat16)


class Fitting:
    """Matches the arguments of one launch to a kernel's parameters; raises ArgumentError if they do not match."""

    def __init__(self, kernel: str, parameters: list[Parameter], arguments: tuple):
        self.kernel = kernel
        self.arrays: list[Argument] = []
        self.values: list[np.ndarray] = []  # the value of each parameter; for an array, its address
        if len(arguments) != len(parameters):
            declared = ", ".join(parameter.type for parameter in parameters)
            raise ArgumentError(
                f"{kernel}: expected {len(parameters)} arguments ({declared}), got {len(arguments)}",
                kernel=kernel,
            )
        for number, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
            if parameter.is_pointer:
                self.fit_pointer(number, parameter, argument)
            else:
                self.fit_value(number, parameter, argument)

    def error(self, number: int, parameter: Parameter, message: str) -> ArgumentError:
        return ArgumentError(f"{self.kernel}: argument {number} ({parameter.type}): {message}", kernel=self.kernel)

    def fit_pointer(self, number: int, parameter: Parameter, argument: Any) -> None:
        if argument is None or (isinstance(argument, np.uintp) and argument == 0):
            self.values.append(np.zeros(1, np.uintp))
            return
        if not isinstance(argument, np.ndarray):
            kind = type(argument).__name__
            raise self.error(number, parameter, f"expected an array (or np.uintp(0)), got {kind} {argument!r}")
        if parameter.dtype is not None and argument.dtype != parameter.dtype:
            raise self.error(number, parameter, f"expected an array of {parameter.dtype}, got {argument.dtype}")
        if not argument.flags.c_contiguous:
            raise self.error(
                number, parameter, f"the array of shape {argument.shape} is not contiguous, but a pointer "
                                   f"carries no strides; pass np.ascontiguousarray(array)"
            )  # fmt: skip
        if not parameter.is_constant and not argument.flags.writeable:
            raise self.error(number, parameter, "the array is read-only, but the parameter is not a pointer to const")
        self.arrays.append(Argument(number, argument, parameter.is_constant))
        self.values.append(np.zeros(1, np.uintp))  # the launch fills in the address after staging

    def fit_value(self, number: int, parameter: Parameter, argument: Any) -> None:
        if isinstance(argument, np.ndarray):
            raise self.error(number, parameter, f"expected a value, got an array of shape {argument.shape}")
        value, remark = as_scalar(argument)
        if value is None:
            raise self.error(number, parameter, f"{type(argument).__name__} {argument!r} cannot be passed to a kernel")
        fits = value.dtype == parameter.dtype if parameter.dtype else value.dtype.kind == "V"
        if not fits or value.dtype.itemsize != parameter.bytes:
            wanted = parameter.dtype or f"a structured scalar of {parameter.bytes} bytes"
            raise self.error(number, parameter, f"expected {wanted}, got {value.dtype}{remark}")
        self.values.append(np.asarray(value).reshape(1))


def as_scalar(argument: Any) -> tuple[np.generic | None, str]:
    """Convert a Python number to the NumPy scalar that CuPy would pass, with a remark for error messages."""
    if isinstance(argument, np.generic):
        return argument, ""
    if isinstance(argument, bool):
        return np.bool_(argument), ""
    if isinstance(argument, int) and -(2**63) <= argument < 2**63:
        return np.int64(argument), " (a Python int is passed in 64 bits)"
    if isinstance(argument, float):
        return np.float64(argument), " (a Python float is passed in 64 bits)"
    return None, ""
