"""The work of one call of an op: the floating-point operations of its matrix products, and the bytes it moves.

Both are computed from the shapes of the arguments, so they are what the mathematics needs, not what a particular kernel
happens to do.  The formulas that are specific to an op are in the op's row of minibert.ops.table.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from minibert.ops.table import BY_NAME, row_of


def product_flops(name: str, arguments: Mapping) -> float:
    """The operations of the matrix products of an op's forward pass; 0 for ops without any.

    name: the name of a row of minibert.ops.table; arguments: by their names in the reference.
    """
    products = BY_NAME[name].products
    return 0.0 if products is None else products(arguments)


def elementwise_operations(name: str, arguments: tuple, result: Any) -> float:
    """A rough estimate of the number of a call's other operations, for the plot."""
    largest = max((array.size for array in (*arrays_in(arguments)[:1], *arrays_in(result)[:1])), default=0)
    op, way = row_of(name)
    return float(op.operations[way] * largest) if op else 0.0


def bytes_moved(name: str, arguments: Any, result: Any) -> float:
    """An estimate of the traffic with memory: each array among arguments and results moves once.

    The estimate is too low if an op passes twice over arrays that do not fit into the cache, and too high if the arrays
    are already in the cache.
    """
    op, way = row_of(name)
    if op is not None and op.rows_moved is not None:
        rows = arrays_in(arguments)[0] if way else arrays_in(result)[0]
        return float(op.rows_moved[way] * rows.nbytes)
    distinct = {id(array): array for array in (*arrays_in(arguments), *arrays_in(result))}
    return float(sum(array.nbytes for array in distinct.values()))


def arrays_in(value: Any) -> list:
    """All arrays in nested tuples, lists, dictionaries and dataclasses, in order."""
    if hasattr(value, "nbytes") and hasattr(value, "shape"):
        return [value] if value.shape else []  # a 0-d array causes no traffic
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return []
