"""The AdamW optimiser step, the gradient norm and dynamic loss scaling; the kernels are in optimizer.cu.

They work on the flat buffers that hold all of a model's parameters.
"""

import numpy as np

from minibert.base.arrays import Array, Scalar
from minibert.ops.gpu.kernels import CudaFile, sum_type
from minibert.ops.gpu.layout import THREADS, contiguous, grid_stride_blocks, starts_at_vector, vector_size
from minibert.ops.gpu.library import cp
from minibert.ops.gpu.losses import on_device
from minibert.ops.optimizer import AdamWStep

OPTIMIZER = CudaFile(
    "optimizer.cu",
    "adamw<{T}>",
    "squares_of_part<sum_t<{T}>>",
    "finish_norm<sum_t<{T}>>",
    "update_scale",
    headers=("packs.cuh", "grid_stride.cuh", "sums.cuh"),
)


def adamw(
    values: Array,
    gradients: Array,
    first_moment: Array,
    second_moment: Array,
    decayed: Array,
    step: AdamWStep,
    gradient_norm: Scalar | None = None,
    *,
    copy: Array | None = None,
    gradient_scale: Array | None = None,
) -> None:
    """One step of AdamW, in place; see minibert.ops.reference.optimizer for the arguments not described here.

    Two arguments are for 16-bit training.  copy: a 16-bit array [P] that receives the new values, rounded;
    gradient_scale: a 0-d array, the factor by which the loss was multiplied, and by which the gradients are divided
    here.  gradient_norm is the norm of the gradients before that division; if a scale is given and the norm is not
    finite, nothing changes (`update_scale` then lowers the scale).
    Raises TypeError or ValueError for buffers whose dtypes, shapes or layouts do not match.
    """
    arrays = values, gradients, first_moment, second_moment
    check_buffers(*arrays, decayed, *(() if copy is None else (copy,)))
    number = values.dtype.type
    target = values if copy is None else copy
    if any(array.dtype != values.dtype for array in arrays) or sum_type(values.dtype) != number:
        raise TypeError("adamw expects buffers that are all float32 or all float64")
    if copy is not None and (copy.itemsize != 2 or sum_type(copy.dtype) != number):
        raise TypeError(
            f"adamw can round only float32 values to a float16 or bfloat16 copy, not {values.dtype} to {copy.dtype}"
        )
    wide = starts_at_vector(target, vector_size(number) * target.itemsize) and starts_at_vector(decayed, 4)
    numbers = (
        np.inf if step.max_norm is None else step.max_norm,
        step.learning_rate,
        1 - step.beta1,
        1 - step.beta2,
        step.eps,
        step.weight_decay,
        step.correction1,
        step.correction2,
    )
    OPTIMIZER.launch(
        "adamw<{T}>",
        target.dtype,
        grid_stride_blocks(values.size, number),
        THREADS,
        *arrays,
        decayed,
        target,
        np.int64(values.size),
        on_device(0.0 if gradient_norm is None else gradient_norm, values.dtype),
        on_device(1.0 if gradient_scale is None else gradient_scale, values.dtype),
        np.int32(gradient_scale is not None),
        *(number(n) for n in numbers),
        np.int32(wide and all(starts_at_vector(array) for array in arrays)),
    )


def check_buffers(*buffers: Array) -> None:
    """Raise ValueError unless all buffers are contiguous vectors of the same length."""
    if any(b.shape != (buffers[0].size,) or not b.flags.c_contiguous for b in buffers):
        shapes = ", ".join(str(buffer.shape) for buffer in buffers)
        raise ValueError(f"adamw expects contiguous vectors of equal length, got shapes {shapes}")


def global_norm(gradients: Array) -> Scalar:
    """The Euclidean norm of all gradients together: gradients [P] -> 0-d array.

    The squares are always added up in the same order.
    """
    (gradients,) = contiguous(gradients)
    dtype = gradients.dtype
    blocks = grid_stride_blocks(gradients.size, dtype)
    partial, norm = cp.empty(blocks, dtype), cp.empty((), dtype)  # [blocks], 0-d
    arrays = gradients, partial
    OPTIMIZER.launch("squares_of_part<sum_t<{T}>>", dtype, blocks, THREADS, *arrays, np.int64(gradients.size))
    OPTIMIZER.launch("finish_norm<sum_t<{T}>>", dtype, 1, THREADS, partial, norm, np.int32(blocks))
    return norm


def update_scale(
    gradient_scale: Array,
    good_steps: Array,
    gradient_norm: Scalar | None,
    growth_interval: int = 2000,
    lowest: float = 1.0,
    most: float = 2.0**24,
) -> None:
    """Update the scale for dynamic loss scaling, in place and without waiting for the device; call it after `adamw`.

    gradient_scale: 0-d float32, the factor by which the loss is multiplied; good_steps: 0-d int32, the number of steps
    with a finite norm since the scale last changed; gradient_norm: 0-d float32.  If the norm is not finite, the scale
    is halved (but not below `lowest`); after growth_interval steps in a row with a finite norm, it is doubled (but not
    above `most`).  Source: Micikevicius et al. 2018, section 3.2.
    """
    numbers = np.int32(growth_interval), np.float32(lowest), np.float32(most)
    OPTIMIZER.launch("update_scale", np.float32, 1, 1, gradient_scale, good_steps, gradient_norm, *numbers)
