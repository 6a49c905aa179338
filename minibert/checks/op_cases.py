"""Gradient-check cases for every op, made from the examples in the op's row of the table (minibert/ops/table.py)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from minibert.checks.cases import CASES
from minibert.checks.gradients import Case
from minibert.ops import Backend, Dropout
from minibert.ops.examples import Example
from minibert.ops.table import TABLE, Op


def op_case(backend: Backend, op: str, example: Example) -> Case:
    """The case of one call of an op, which checks the gradients of example.inputs.

    Floating-point arrays among the other arguments are converted to the dtype of the inputs.
    """
    fixed = {name: on(backend, value) for name, value in example.fixed.items()}

    def forward(values):
        on_backend = {name: backend.array(value) for name, value in values.items()}
        dtype = next(iter(values.values())).dtype
        others = {name: value.astype(dtype) if is_real(value) else value for name, value in fixed.items()}
        y, cache = getattr(backend, f"{op}_forward")(**on_backend, **others)
        return backend.numpy(y), cache

    def backward(d_y, cache):
        gradients = getattr(backend, f"{op}_backward")(backend.array(d_y), cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        return {name: backend.numpy(gradient) for name, gradient in zip(example.inputs, gradients, strict=True)}

    return Case(op, example.label, example.inputs, forward, backward)


def on(backend: Backend, value: Any) -> Any:
    """The argument `value` with its arrays, if any, moved to the backend."""
    if isinstance(value, Dropout):
        return replace(value, sequences=backend.array(value.sequences), positions=backend.array(value.positions))
    return backend.array(value) if hasattr(value, "dtype") else value


def is_real(value: object) -> bool:
    """Whether `value` is an array of floating-point numbers."""
    return hasattr(value, "dtype") and value.dtype.kind == "f"


def cases_of_op(op: Op) -> Callable:
    def generate(backend: Backend, random):
        if op.examples is not None:
            yield from (op_case(backend, op.name, example) for example in op.examples(random))

    return generate


CASES |= {op.name: cases_of_op(op) for op in TABLE if op.pair}
