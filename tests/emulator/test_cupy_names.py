"""Every name that the stand-in for CuPy has, the real CuPy has too, with the same parameters.

CuPy can be imported without a GPU or its driver.
"""

import inspect
import re

import pytest

from minibert.emulator import cupy as ours
from minibert.emulator.cupy.arrays import Pointer

cupy = pytest.importorskip("cupy", reason="CuPy is not installed: pip install -e '.[cuda-check]'")

CLASSES = [
    (ours.ndarray, cupy.ndarray, ours.zeros(3)),
    (Pointer, cupy.cuda.MemoryPointer, ours.zeros(3).data),
    (ours.RawModule, cupy.RawModule, None),
    (ours.RawKernel, cupy.RawKernel, None),
    (ours.cuda.Device, cupy.cuda.Device, ours.cuda.Device()),
    (ours.cuda.Stream, cupy.cuda.Stream, ours.cuda.Stream()),
    (ours.cuda.Event, cupy.cuda.Event, ours.cuda.Event()),
    (ours.cuda.MemoryPool, cupy.cuda.MemoryPool, ours.cuda.MemoryPool()),
    (ours.cuda.PinnedMemoryPointer, cupy.cuda.PinnedMemoryPointer, ours.cuda.alloc_pinned_memory(1)),
    (ours.cuda.memory.OutOfMemoryError, cupy.cuda.memory.OutOfMemoryError, ours.cuda.memory.OutOfMemoryError(1, 2)),
]
MODULES = [
    (ours, cupy, [name for name in ours.__all__ if name not in ours.OURS]),
    # CuPy looks for the library cuBLAS when it is asked for its names
    (ours.cuda, cupy.cuda, [name for name in ours.cuda.__all__ if name != "cublas"]),
    (ours.cuda.device, cupy.cuda.device, ours.cuda.device.__all__),
    (ours.cuda.memory, cupy.cuda.memory, ["OutOfMemoryError", "MemoryPool"]),
    (ours.cuda.runtime, cupy.cuda.runtime, ours.cuda.runtime.__all__),
    (ours._core, cupy._core, ours._core.__all__),
    (ours._core._routines_linalg, cupy._core._routines_linalg, vars(ours._core._routines_linalg)),
]


def public(cls, instance=None):
    """What a class of the stand-in offers: names of its own, of its bases, and of an instance, but not Python's."""
    names = {name for base in cls.__mro__ if base.__module__.startswith("minibert") for name in vars(base)}
    names |= getattr(instance, "__dict__", {}).keys()
    return sorted(name for name in names if not name.startswith("_") or name in OPERATORS)


OPERATORS = {
    f"__{name}__"
    for name in "add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv pow neg abs matmul "
    "eq ne lt le gt ge len iter getitem setitem float int bool array enter exit call".split()
}


@pytest.mark.parametrize("mine, real, names", MODULES, ids=lambda module: getattr(module, "__name__", "names"))
def test_each_name_is_one_of_cupys(mine, real, names):
    assert [name for name in names if not hasattr(real, name)] == []
    assert all(hasattr(mine, name) for name in names)


def test_gemm_ex_takes_what_cupys_takes():
    try:
        real = cupy.cuda.cublas
    except ImportError:
        pytest.skip("the library cuBLAS is not installed")
    assert parameters(ours.cuda.cublas.gemmEx) == parameters(real.gemmEx)


@pytest.mark.parametrize("mine, real, instance", CLASSES, ids=lambda cls: getattr(cls, "__name__", ""))
def test_each_attribute_is_one_of_cupys(mine, real, instance):
    assert [name for name in public(mine, instance) if not hasattr(real, name)] == []


def parameters(function):
    """The names of a function's parameters; of a compiled one, as its documentation writes them; None if unknown."""
    try:
        found = inspect.signature(function).parameters
        if not any(parameter.kind == parameter.VAR_POSITIONAL for parameter in found.values()):
            return list(found)
    except (ValueError, TypeError):
        pass
    text = re.match(r"(?:\w+\.)*\w+\((.*)\)", (inspect.getdoc(function) or "").replace("\\*", "*"))
    if text is None:
        return None
    parts = [part.strip().split("=")[0].split(" ")[-1] for part in re.sub(r"\([^)]*\)", "", text[1]).split(",")]
    return [part for part in parts if part not in ("*", "/")]


def functions():
    for name in ours.__all__:
        if inspect.isfunction(getattr(ours, name)) and name not in ours.OURS:
            yield name, getattr(ours, name), getattr(cupy, name)
    for name in ("get_elapsed_time", "alloc_pinned_memory", "get_current_stream"):
        yield f"cuda.{name}", getattr(ours.cuda, name), getattr(cupy.cuda, name)
    for mine, real, _ in CLASSES:
        for name in public(mine):
            if inspect.isfunction(vars(mine).get(name)) and name not in OPERATORS:
                yield f"{mine.__name__}.{name}", getattr(mine, name), getattr(real, name)


@pytest.mark.parametrize("name, mine, real", list(functions()), ids=lambda each: each if type(each) is str else "")
def test_each_parameter_is_one_of_cupys_and_in_its_position(name, mine, real):
    theirs = [each.lstrip("*") for each in parameters(real) if each != "**kwargs"]
    own = inspect.signature(mine).parameters
    assert set(own) <= set(theirs), f"{name}: CuPy has {', '.join(theirs)}"
    by_position = [each for each, parameter in own.items() if parameter.kind != parameter.KEYWORD_ONLY]
    assert isinstance(real, cupy.ufunc) or by_position == theirs[: len(by_position)], name


@pytest.mark.parametrize("name", ["RawModule", "RawKernel"])
def test_kernels_are_made_with_cupys_parameters(name):
    theirs = parameters(getattr(cupy, name))
    mine = list(inspect.signature(getattr(ours, name)).parameters)
    assert set(mine) <= set(theirs), theirs


def test_the_bfloat16_that_the_stand_in_takes():
    """CuPy knows it by ml_dtypes, element by element; what the stand-in computes must be among its functions."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert cupy.dtype(ml_dtypes.bfloat16).name == "bfloat16"
    for name in ("add", "subtract", "multiply", "true_divide", "minimum", "maximum"):
        assert "EE->E" in getattr(cupy, name).types, name
    assert "E->E" in cupy.sqrt.types and "E->?" in cupy.isfinite.types and "EE->?" in cupy.less.types


def test_what_is_raised_without_memory_is_a_memory_error():
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
