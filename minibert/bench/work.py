"""What one call of an op has to do: the floating-point operations of its matrix products, and the bytes it moves.

Both are worked out from the shapes of the arguments, so they are what the mathematics needs and not what some kernel
happens to do.  A product of [n, k] and [k, m] takes 2 n k m operations: a multiplication and an addition each.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

# a backward pass, as a multiple of its forward pass
BACKWARD = {
    "linear": 2.0,  # d_x = d_y @ weight and d_weight = d_y.T @ x, for the one product of the forward pass
    "attention": 2.5,  # five products for two: scores (again, since they were not kept), d_p, d_v, d_q, d_k
}

# Other arithmetic: operations for each number of the largest of input and output, counted in the reference's formulas,
# with exp, erf, tanh and sqrt as one each.  Rough, and only for the picture; ops that look up rows have none.
ELEMENTWISE = {
    "layernorm_forward": 8,
    "layernorm_backward": 11,
    "add_layernorm_forward": 11,  # with the residual and dropout
    "add_layernorm_backward": 13,
    "gelu_forward": 4,
    "gelu_backward": 8,
    "gelu_tanh_forward": 9,
    "gelu_tanh_backward": 15,
    "tanh_forward": 1,
    "tanh_backward": 3,
    "dropout_forward": 1,
    "dropout_backward": 1,
    "mean_pool_forward": 1,
    "mean_pool_backward": 1,
    "cross_entropy_forward": 4,
    "cross_entropy_backward": 3,
    "adamw": 14,
    "global_norm": 2,
}

# Ops that touch a few rows of a large table, and how many rows move for each row of their result or upstream gradient
ROWS_MOVED = {
    "embedding_forward": 4,  # three are read, their sum is written
    "embedding_backward": 7,  # one is read, and added to rows of three tables
    "gather_rows_forward": 2,
    "gather_rows_backward": 3,
}


def product_flops(op: str, arguments: Mapping) -> float:
    """The operations of the matrix products of a forward pass; 0 for ops without any.

    op: "linear" or another name of minibert.ops.backend.PAIRS; arguments: by the names that they have in the reference.
    """
    if op == "linear":
        outputs, inputs = arguments["weight"].shape
        return 2.0 * len(arguments["x"]) * inputs * outputs
    if op == "attention":
        # scores = q @ k.T and context = p @ v, for each sequence: 2 Tq Tk D each in each of the A heads, A D = H
        queries, keys = np.diff(arguments["cu_seqlens_q"]), np.diff(arguments["cu_seqlens_k"])  # [B] both
        return 4.0 * arguments["key"].shape[1] * float(np.dot(queries.astype(float), keys))
    return 0.0


def elementwise_operations(name: str, arguments, result) -> float:
    """A rough number of the other operations of a call, for the picture."""
    largest = max((array.size for array in (*arrays_in(arguments)[:1], *arrays_in(result)[:1])), default=0)
    return float(ELEMENTWISE.get(name, 0) * largest)


def bytes_moved(name: str, arguments, result) -> float:
    """An estimate of the traffic with memory: each array among arguments and results moves once.

    Too low where an op goes over its arrays twice and they do not fit the cache; too high where they are in the cache
    already.
    """
    if name in ROWS_MOVED:
        rows = arrays_in(result)[0] if name.endswith("_forward") else arrays_in(arguments)[0]
        return float(ROWS_MOVED[name] * rows.nbytes)
    distinct = {id(array): array for array in (*arrays_in(arguments), *arrays_in(result))}
    return float(sum(array.nbytes for array in distinct.values()))


def arrays_in(value) -> list:
    """All arrays in nested tuples, lists, dictionaries and dataclasses, in their order."""
    if hasattr(value, "nbytes") and hasattr(value, "shape"):
        return [value] if value.shape else []  # a 0-d array is no traffic
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return []
