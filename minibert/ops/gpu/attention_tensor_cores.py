"""Attention for 16-bit tensors on tensor cores: which kernel, how large its grid, and how much shared memory it needs.

`attention.py` calls this where `use_tensor_cores` says so; arguments and results are those of its own kernels.
"""

import numpy as np

from minibert.ops.gpu.kernels import CudaFile
from minibert.ops.gpu.library import cp

WIDTHS = (32, 64, 128)  # features of a head that kernels are compiled for; others are padded to the next of them
WARP = 32  # threads
WARPS, SIDE, TILE = 4, 16, 32  # as in tensor_cores.cuh
ROWS = WARPS * SIDE  # that a block owns
HELD = 64  # up to this width the backward pass keeps the rows of a block in registers
PAD = 16  # bytes, between rows in shared memory: `pitch` in tensor_cores.cuh
NEEDED = {"float16": 70, "bfloat16": 80}  # compute capability from which on tensor cores take a dtype
HEADERS = ("dropout.cuh", "tensor_cores.cuh", "attention_tensor_cores.cuh")
