"""The `Backend` class, a set of ops with their array library, and functions to load backends and check for them."""

import ast
import importlib
import importlib.util
import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.base.arrays import Array, DTypeLike
from minibert.ops.blas import find_blas
from minibert.ops.devices import emulate_gpu, gpu_status
from minibert.ops.table import FOR_HALF_PRECISION, OPS, PAIRS, SINGLE

BACKENDS = ("reference", "cpu", "gpu")
DEFAULT = "cpu"
OWN = "mine"  # the backend that a reader writes, in a file


@dataclass(frozen=True)
class Upload:
    """The result of an upload: arrays of a backend, copied from arrays on the host.

    arrays     the uploaded arrays, in the order in which they were given
    release    call this once all work that reads the arrays has been launched; a later upload may then reuse their
               memory
    """

    arrays: list
    release: Callable[[], None]


CANNOT_EMULATE = "the {} backend cannot be emulated, only gpu can; use --backend gpu --emulate"


class Backend:
    """The ops of one backend as attributes (`backend.linear_forward(x, weight, bias)`), and its array library.

    name        "reference", "cpu" or "gpu", or any other name for a backend of your own
    xp          the array library: the module `numpy`, or `cupy` on the GPU
    borrowed    the names of the ops that the backend's module does not define; with NumPy arrays they are taken from
                the reference backend; other array libraries require that there are none

    To make a backend of your own, pass a module, or any object, that defines some of the ops: Backend("mine", module).
    """

    def __init__(self, name: str, module: ModuleType):
        """Collect the ops from `module`.

        Raises ValueError if only one op of a pair is defined, and NotImplementedError if an op is missing and the
        array library is not NumPy.
        """
        self.name = name
        self.xp = getattr(module, "xp", np)
        self.borrowed = tuple(op for op in OPS if not hasattr(module, op))
        for pair in PAIRS:
            if (f"{pair}_forward" in self.borrowed) != (f"{pair}_backward" in self.borrowed):
                raise ValueError(
                    f"backend {name!r} defines only one of {pair}_forward and {pair}_backward; define both"
                )
        if self.borrowed and self.xp is not np:
            raise NotImplementedError(f"backend {name!r} lacks the ops {', '.join(self.borrowed)}")
        for op in OPS:
            setattr(self, op, getattr(module, op, None) or of_reference(op))
        for op in FOR_HALF_PRECISION:
            setattr(self, op, getattr(module, op, None))
        self._upload = getattr(module, "upload", None)

    if TYPE_CHECKING:  # the ops are attributes that __init__ sets

        def __getattr__(self, op: str) -> Callable[..., Any]: ...

    @property
    def has_half_precision(self) -> bool:
        """Whether the backend supports float16 and bfloat16 tensors."""
        return self.update_scale is not None

    def __repr__(self) -> str:
        return f"Backend({self.name!r})"

    def array(self, host: Any, dtype: DTypeLike | None = None) -> Array:
        """Convert a NumPy array (or a list) on the host to an array of this backend."""
        return self.xp.asarray(host, dtype=dtype)

    def upload(self, arrays: Sequence[np.ndarray]) -> Upload:
        """Upload int32 host arrays to this backend; on the GPU, in a single copy that overlaps with computation."""
        return self._upload(arrays) if self._upload else Upload(list(arrays), lambda: None)

    def numpy(self, array: Array) -> np.ndarray:
        """Convert an array of this backend to a NumPy array on the host."""
        return array.get() if hasattr(array, "get") else np.asarray(array)  # CuPy's arrays have a `get`


def of_reference(op: str) -> Callable:
    return getattr(importlib.import_module("minibert.ops.reference"), op)


def lacking_ops(name: str) -> list[str]:
    """The pairs and single ops that a backend's `__init__.py` does not import, found by parsing that file."""
    path = Path(__file__).parent / name / "__init__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return [op for op in (*PAIRS, *SINGLE) if op not in names and f"{op}_forward" not in names]


def load_backend(name: str = DEFAULT, *, emulate: bool = False, tf32: bool = False) -> Backend:
    """Load a backend by name; its modules are not imported until this is called.

    emulate: run the gpu backend's kernels on the CPU with minibert.emulator, which is slow but runs the same code.
    tf32: let the gpu backend multiply float32 matrices on tensor cores, with inputs rounded to 11 significant bits.
    Raises ValueError for an unknown name, or for a backend that cannot be emulated; RuntimeError for a backend
    that is not available on this machine.
    """
    if name not in (*BACKENDS, OWN):
        raise ValueError(f"unknown backend {name!r}; choose one of {', '.join((*BACKENDS, OWN))}")
    if emulate and name != "gpu":
        raise ValueError(CANNOT_EMULATE.format(name))
    emulate_gpu(emulate)
    reason = why_not(name)
    if reason:
        raise RuntimeError(f"backend {name!r} is not available: {reason}")
    module = own_module() if name == OWN else importlib.import_module(f"minibert.ops.{name}")
    if hasattr(module, "prepare"):  # slow one-time work, such as compiling
        module.prepare()
    if hasattr(module, "use_tf32"):
        module.use_tf32(tf32)
    return Backend(name, module)


def backend_status() -> dict[str, str | None]:
    """For each backend, None if it can be used on this machine, otherwise a one-line reason why not."""
    return {name: why_not(name) for name in BACKENDS}


def own_file() -> Path:
    """The file of the backend of one's own: MINIBERT_MINE, or mine.py beside the record of progress."""
    if os.environ.get("MINIBERT_MINE"):
        return Path(os.environ["MINIBERT_MINE"])
    if os.environ.get("MINIBERT_PROGRESS"):
        return Path(os.environ["MINIBERT_PROGRESS"]).with_name("mine.py")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "minibert" / "mine.py"


def own_module() -> ModuleType:
    """The module in `own_file`, which is executed.

    Raises RuntimeError, with the line, if the file is no valid Python, or does not make a backend.
    """
    path = own_file()
    spec = importlib.util.spec_from_file_location("minibert_mine", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RuntimeError(f"{path}{line_in(path, error)}: {type(error).__name__}: {error}; mend that line") from error
    if not hasattr(module, "own"):
        line = "globals().update(vars(assemble(globals())))"
        raise RuntimeError(f"{path} must end with {line}, which makes the backend; write that line again")
    return module


def line_in(path: Path, error: BaseException) -> str:
    """Where in a file an error occurred, as ", line 3", or ""."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    return "" if line is None else f", line {line}"


def why_not(name: str) -> str | None:
    """None if the backend can be used on this machine, otherwise a one-line reason why not."""
    if name == OWN and not own_file().is_file():
        return f"there is no {own_file()} yet; in the lessons, check() collects your right answers there"
    if name == "cpu":
        if importlib.util.find_spec("numba") is None:
            return "Numba is not installed: pip install numba"
        try:
            find_blas()
        except OSError as error:
            return str(error)
    return gpu_status() if name == "gpu" else None
