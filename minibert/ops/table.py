"""The table of ops, with one row per op: its name, and the information needed to check and measure it.

To add an op, write `x_forward` and `x_backward` in reference/, cpu/ and gpu/, add a row to this table, and add the
arguments for its gradient check to examples.py.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from minibert.ops import examples
from minibert.ops.dropout import Dropout
from minibert.ops.examples import Example
from minibert.ops.optimizer import AdamWStep

# the arrays for warm-up calls: float32 [8, 8] and [8]; int32 ids [8] and the cu_seqlens of one sequence of eight tokens
X, ROW = np.ones((8, 8), np.float32), np.ones(8, np.float32)
IDS, WHOLE = np.zeros(8, np.int32), np.array([0, 8], np.int32)


@dataclass(frozen=True)
class Op:
    """The description of one op.

    name            the op's name; the two functions of a pair are name_forward and name_backward
    examples        the arguments for its gradient check; None for an op without a gradient
    pair            False for an op without a gradient
    loss            True if the result is a loss, which stays in float32 when activations are 16-bit
    activations     how many of the op's gradients, counted from the first, are gradients of activations rather than
                    of parameters; None for all
    products        a function that takes the arguments by name and returns the FLOPs of the forward pass's matrix
                    products, where a product of [n, k] and [k, m] takes 2 n k m; None if there are no matrix products
    backward        the FLOPs of the backward pass's matrix products, as a multiple of the forward pass's
    operations      all other arithmetic, in the forward and in the backward pass: approximate number of operations per
                    element of the input or output, whichever is larger, counted in the reference's formulas, with exp,
                    erf, tanh and sqrt as one operation each
    rows_moved      for ops that access a few rows of a large table: how many rows the forward pass moves per row of
                    the result, and the backward pass per row of the result's gradient
    warm_up         a function that returns the arguments of a small call, which compiles the kernels that a training
                    step needs; None for ops that a training step does not need
    """

    name: str
    examples: Callable[[np.random.Generator], Iterator[Example]] | None = None
    pair: bool = True
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
    """The FLOPs of attention's products, scores = q @ k.T and context = p @ v: 4 Tq Tk H for each sequence.

    Each of the two products takes 2 Tq Tk D in each of the A heads, and A D = H.
    """
    queries, keys = np.diff(arguments["cu_seqlens_q"]), np.diff(arguments["cu_seqlens_k"])  # [B] both
    return 4.0 * arguments["key"].shape[1] * float(np.dot(queries.astype(float), keys))


def products_of_lstm(arguments: Mapping) -> float:
    """The FLOPs of an LSTM's products: gates = x @ weight_input.T + h_before @ weight_hidden.T.

    The first token of each sequence has no state before it.
    """
    gates, inputs = arguments["weight_input"].shape
    tokens, sequences = len(arguments["x"]), len(arguments["cu_seqlens"]) - 1
    return 2.0 * gates * (tokens * inputs + (tokens - sequences) * gates / 4)


def arguments_of_adamw() -> tuple:
    step = AdamWStep(learning_rate=0.1, beta1=0.9, beta2=0.9, eps=1.0, weight_decay=0.0)
    return ROW.copy(), ROW, ROW.copy(), ROW.copy(), ROW > 0, step


TABLE = (
    # backward, two products, d_x = d_y @ weight and d_weight = d_y.T @ x; forward, one
    Op(
        "linear", examples.linear, activations=1, products=products_of_linear, backward=2.0, warm_up=lambda: (X, X, ROW)
    ),
    # forward, three rows are read and their sum is written; backward, one is read and added to rows of three tables
    Op("embedding", examples.embedding, activations=0, rows_moved=(4, 7), warm_up=lambda: (IDS, IDS, IDS, X, X, X)),
    Op("layernorm", examples.layernorm, activations=1, operations=(8, 11)),
    # these counts include the residual addition and dropout
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
    # backward, five products: scores (recomputed, since they were not stored), d_p, d_v, d_q, d_k; forward, two
    Op(
        "attention",
        examples.attention,
        products=products_of_attention,
        backward=2.5,
        warm_up=lambda: (X, X, X, 2, WHOLE, WHOLE, IDS),
    ),
    Op("gather_rows", examples.gather_rows, rows_moved=(2, 3), warm_up=lambda: (X, IDS)),
    Op("mean_pool", examples.mean_pool, operations=(1, 1)),
    # backward, each product of the forward pass has two, as in linear; operations are those of a cell
    Op("lstm", examples.lstm, activations=1, products=products_of_lstm, backward=2.0, operations=(23, 32)),
    Op("cross_entropy", examples.cross_entropy, loss=True, operations=(4, 3), warm_up=lambda: (X, IDS, 8)),
    Op("mse", examples.mse, loss=True),
    Op("kl_divergence", examples.kl_divergence, loss=True),
    Op("cosine", examples.cosine, loss=True),
    Op("count_correct", pair=False, warm_up=lambda: (X, IDS)),
    Op("adamw", pair=False, operations=(14, 0), warm_up=arguments_of_adamw),
    Op("orthogonalise", pair=False, warm_up=lambda: ([X],)),
    Op("global_norm", pair=False, operations=(2, 0), warm_up=lambda: (ROW,)),
)
BY_NAME = {op.name: op for op in TABLE}
PAIRS = tuple(op.name for op in TABLE if op.pair)
SINGLE = tuple(op.name for op in TABLE if not op.pair)
OPS = tuple(f"{op}_{way}" for op in PAIRS for way in ("forward", "backward")) + SINGLE
FOR_HALF_PRECISION = ("update_scale",)  # only in backends with 16-bit dtypes


def row_of(name: str) -> tuple[Op | None, int]:
    """The table row for a function name, and 1 if that is a backward pass, otherwise 0; (None, 0) if it is unknown."""
    for way, ending in enumerate(("_forward", "_backward")):
        if name.endswith(ending) and name.removesuffix(ending) in PAIRS:
            return BY_NAME[name.removesuffix(ending)], way
    return BY_NAME.get(name), 0
