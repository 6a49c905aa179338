"""The work of one op call: the floating-point operations of its matrix products, and the bytes it moves.

Both are computed from the shapes of the arguments and results, so they describe what the mathematics requires, not what
a particular kernel does.  Formulas specific to an op are in its row of minibert.ops.table.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from minibert.ops.table import BY_NAME, row_of


def product_flops(name: str, arguments: Mapping) -> float:
    """The number of floating-point operations in the matrix products of an op's forward pass; 0 if it has none.

    name: the op's name in minibert.ops.table; arguments: the call's arguments, keyed by their names in the reference
    backend.
    """
    products = BY_NAME[name].products
    return 0.0 if products is None else products(arguments)


def elementwise_operations(name: str, arguments: tuple, result: Any) -> float:
    """A rough estimate, used in the roofline plot, of the number of operations in a call outside matrix products."""
    largest = max((array.size for array in (*arrays_in(arguments)[:1], *arrays_in(result)[:1])), default=0)
    op, way = row_of(name)
    return float(op.operations[way] * largest) if op else 0.0


def bytes_moved(name: str, arguments: Any, result: Any) -> float:
    """An estimate of a call's memory traffic in bytes, which assumes that each argument and result moves once.

    The estimate is too low if an op reads arrays twice that do not fit in the cache, and too high if the arrays are
    already in the cache.
    """
    op, way = row_of(name)
    if op is not None and op.rows_moved is not None:
        rows = arrays_in(arguments)[0] if way else arrays_in(result)[0]
        return float(op.rows_moved[way] * rows.nbytes)
    distinct = {id(array): array for array in (*arrays_in(arguments), *arrays_in(result))}
    return float(sum(array.nbytes for array in distinct.values()))


def arrays_in(value: Any) -> list:
    """All arrays with at least one dimension in nested tuples, lists, dictionaries and dataclasses, in order."""
    if hasattr(value, "nbytes") and hasattr(value, "shape"):
        return [value] if value.shape else []  # the traffic of a 0-d array is negligible
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return []
