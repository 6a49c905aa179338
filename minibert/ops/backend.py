"""A backend: one table of ops, and the array library in which its arrays live."""

import importlib
import importlib.util
from types import ModuleType

import numpy as np

from minibert.ops.blas import find_blas

BACKENDS = ("reference", "cpu", "gpu")
DEFAULT = "cpu"

# Every op of the house.  A backend is complete when its module has all of them.  The last three have no
# backward, all others are pairs.
PAIRS = (
    "linear",
    "embedding",
    "layernorm",
    "add_layernorm",
    "gelu",
    "gelu_tanh",
    "tanh",
    "dropout",
    "attention",
    "gather_rows",
    "mean_pool",
    "cross_entropy",
    "mse",
    "kl_divergence",
    "cosine",
)
OPS = tuple(f"{op}_{way}" for op in PAIRS for way in ("forward", "backward")) + (
    "count_correct",
    "adamw",
    "global_norm",
)


class Backend:
    """The ops of one backend as attributes (`backend.linear_forward(x, weight, bias)`), and its array library.

    name    "reference", "cpu" or "gpu"
    xp      the array library: the module `numpy`, or `cupy` on the GPU
    """

    def __init__(self, name: str, module: ModuleType):
        missing = [op for op in OPS if not hasattr(module, op)]
        if missing:
            raise NotImplementedError(f"backend {name!r} lacks the ops {', '.join(missing)}")
        self.name = name
        self.xp = module.xp
        for op in OPS:
            setattr(self, op, getattr(module, op))

    def __repr__(self) -> str:
        return f"Backend({self.name!r})"

    def array(self, host, dtype=None):
        """A NumPy array (or a list) of the host as an array of this backend."""
        return self.xp.asarray(host, dtype=dtype)

    def numpy(self, array) -> np.ndarray:
        """An array of this backend as a NumPy array of the host."""
        return array.get() if hasattr(array, "get") else np.asarray(array)  # CuPy's arrays have a `get`


def load_backend(name: str = DEFAULT) -> Backend:
    """The backend of that name, its modules imported only now.

    Raises ValueError for a name that is no backend, RuntimeError for one that this machine or version lacks.
    """
    if name not in BACKENDS:
        raise ValueError(f"there is no backend {name!r}; choose one of {', '.join(BACKENDS)}")
    reason = backend_status()[name]
    if reason:
        raise RuntimeError(f"backend {name!r} is not available: {reason}")
    module = importlib.import_module(f"minibert.ops.{name}")
    if hasattr(module, "prepare"):  # what takes time and is needed once: compiling, say
        module.prepare()
    return Backend(name, module)


def backend_status() -> dict[str, str | None]:
    """For each backend None if it can be used here, otherwise the reason why not, in one line."""
    status = {}
    for name in BACKENDS:
        written = importlib.util.find_spec(f"minibert.ops.{name}") is not None
        status[name] = None if written else "not part of this version of minibert yet; use --backend cpu"
    if importlib.util.find_spec("numba") is None:
        status["cpu"] = "Numba is not installed: pip install numba"
    else:
        try:
            find_blas()
        except OSError as error:
            status["cpu"] = str(error)
    return status
