"""The table of ops, one row each: the op's name, and what it takes to check and measure it.

To add an op, write `x_forward` and `x_backward` in reference/, cpu/ and gpu/, a row here, and in examples.py the
arguments that its gradients are checked on.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from minibert.ops import examples
from minibert.ops.dropout import Dropout
from minibert.ops.examples import Example
from minibert.ops.optimizer import AdamWStep

# the arguments of warm-up calls: float32, eight by eight
X, ROW = np.ones((8, 8), np.float32), np.ones(8, np.float32)
IDS, WHOLE = np.zeros(8, np.int32), np.array([0, 8], np.int32)


@dataclass(frozen=True)
class Op:
    """One op.

    name            a pair is called name_forward and name_backward
    examples        the arguments for its gradient check; None for an op without a gradient
    pair            False for an op without a gradient
    on_every_gpu    False if a GPU backend may lack it
    loss            True if the result is a loss, which stays in float32 when activations are 16-bit
    activations     how many of its gradients, counted from the first, are those of activations; None for all
    products        the FLOPs of its matrix products, from its arguments by name: a product of [n, k] and [k, m]
                    takes 2 n k m; None if it has no matrix products
    backward        the backward pass's products, as a multiple of the forward pass's
    operations      other arithmetic, forward and backward: operations per element of the larger of input and
                    output, counted in the reference's formulas, with exp, erf, tanh and sqrt as one each (rough)
    rows_moved      for ops that touch a few rows of a large table, forward and backward: how many rows are moved per
                    row of the result, or of its gradient
    warm_up         the arguments of a small call that compiles what a training step needs; None for other ops
    """

    name: str
    examples: Callable[[np.random.Generator], Iterator[Example]] | None = None
    pair: bool = True
    on_every_gpu: bool = True
    loss: bool = False
    activations: int | None = None
    products: Callable[[Mapping], float] | None = None
    backward: float = 0.0
    operations: tuple[float, float] = (0, 0)
    rows_moved: tuple[int, int] | None = None
    warm_up: Callable[[], tuple] | None = None


def products_of_linear(arguments: Mapping) -> float:
    outputs, inputs = arguments["weight"].shape
    return 2.0 * len(arguments["x"]) * inputs * outputs


def products_of_attention(arguments: Mapping) -> float:
    """scores = q @ k.T and context = p @ v, for each sequence: 2 Tq Tk D each in each of the A heads, A D = H."""
    queries, keys = np.diff(arguments["cu_seqlens_q"]), np.diff(arguments["cu_seqlens_k"])  # [B] both
    return 4.0 * arguments["key"].shape[1] * float(np.dot(queries.astype(float), keys))


def arguments_of_adamw() -> tuple:
    step = AdamWStep(learning_rate=0.1, beta1=0.9, beta2=0.9, eps=1.0, weight_decay=0.0)
    return ROW.copy(), ROW, ROW.copy(), ROW.copy(), ROW > 0, step


TABLE = (
    # d_x = d_y @ weight and d_weight = d_y.T @ x: two products, against one in the forward pass
    Op(
        "linear", examples.linear, activations=1, products=products_of_linear, backward=2.0, warm_up=lambda: (X, X, ROW)
    ),
    # forward, three rows are read and their sum is written; backward, one is read and added to rows of three tables
    Op("embedding", examples.embedding, activations=0, rows_moved=(4, 7), warm_up=lambda: (IDS, IDS, IDS, X, X, X)),
    Op("layernorm", examples.layernorm, activations=1, operations=(8, 11)),
    # with the residual and dropout
    Op(
        "add_layernorm",
        examples.add_layernorm,
        activations=2,
        operations=(11, 13),
        warm_up=lambda: (X, X, ROW, ROW, 1e-12),
    ),
    Op("gelu", examples.activation, operations=(4, 8), warm_up=lambda: (X,)),
    Op("gelu_tanh", examples.activation, operations=(9, 15)),
    Op("tanh", examples.activation, operations=(1, 3), warm_up=lambda: (X,)),
    Op("dropout", examples.dropout, operations=(1, 1), warm_up=lambda: (X, Dropout(0.5, (0, 0), 0, IDS, IDS))),
    # five products, against two: scores (recomputed, since they were not kept), d_p, d_v, d_q, d_k
    Op(
        "attention",
        examples.attention,
        products=products_of_attention,
        backward=2.5,
        warm_up=lambda: (X, X, X, 2, WHOLE, WHOLE, IDS),
    ),
    Op("gather_rows", examples.gather_rows, rows_moved=(2, 3), warm_up=lambda: (X, IDS)),
    Op("mean_pool", examples.mean_pool, operations=(1, 1)),
    Op("lstm", examples.lstm, on_every_gpu=False),
    Op("cross_entropy", examples.cross_entropy, loss=True, operations=(4, 3), warm_up=lambda: (X, IDS, 8)),
    Op("mse", examples.mse, loss=True),
    Op("kl_divergence", examples.kl_divergence, loss=True),
    Op("cosine", examples.cosine, loss=True),
    Op("count_correct", pair=False, warm_up=lambda: (X, IDS)),
    Op("adamw", pair=False, operations=(14, 0), warm_up=arguments_of_adamw),
    Op("global_norm", pair=False, operations=(2, 0), warm_up=lambda: (ROW,)),
)
BY_NAME = {op.name: op for op in TABLE}
PAIRS = tuple(op.name for op in TABLE if op.pair)
SINGLE = tuple(op.name for op in TABLE if not op.pair)
OPS = tuple(f"{op}_{way}" for op in PAIRS for way in ("forward", "backward")) + SINGLE
OPTIONAL = tuple(f"{op.name}_{way}" for op in TABLE if not op.on_every_gpu for way in ("forward", "backward"))
FOR_HALF_PRECISION = ("update_scale",)  # only in backends with 16-bit dtypes


def row_of(name: str) -> tuple[Op | None, int]:
    """The row of an op, and 1 if the name is that of its backward pass, else 0; (None, 0) for an unknown name."""
    for way, ending in enumerate(("_forward", "_backward")):
        if name.endswith(ending) and name.removesuffix(ending) in PAIRS:
            return BY_NAME[name.removesuffix(ending)], way
    return BY_NAME.get(name), 0
