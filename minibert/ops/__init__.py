"""The mathematics of BERT: every op as a pair of pure functions, `x_forward` and `x_backward`.

Each op exists once per backend under the same name:

    reference   NumPy: the readable version, which defines the correct results.  Read this one first.
    cpu         Numba: the same mathematics in fused, parallel kernels.
    gpu         CuPy, launching hand-written CUDA kernels.

`load_backend(name)` returns one of them as a `Backend`; layers and models call its ops as attributes, in the same
way for every backend.
"""

from minibert.ops.backend import BACKENDS, DEFAULT, OPS, Backend, backend_status, load_backend
from minibert.ops.dropout import Dropout
from minibert.ops.optimizer import AdamWStep

__all__ = ["BACKENDS", "DEFAULT", "OPS", "AdamWStep", "Backend", "Dropout", "backend_status", "load_backend"]
