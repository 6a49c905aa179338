"""All parameters of a model as views into one flat buffer, and all gradients as views into another.

An optimiser step is therefore one kernel, the gradient norm one dot product, and a checkpoint one pass over memory.

16-bit weights are too coarse to update: adding a change of a thousandth of a weight leaves it unchanged.  With float16
and bfloat16 there is therefore a second buffer, the masters, in float32.  The optimiser updates the masters, and
rounds them into the values that the layers compute with.  (Source: Micikevicius et al. 2018, "Mixed precision
training", section 3.1.)
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from minibert.base.arrays import Array, DTypeLike
from minibert.ops.backend import Backend

ALIGNMENT = 64  # each parameter begins at a multiple of this many elements, where GPU reads are fastest
HALF_PRECISION = "float16", "bfloat16"
Initializer: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""Makes the initial values of a parameter from a random generator and the parameter's shape."""


class Parameter:
    """One named tensor of a model.

    name        as in the Hugging Face file, such as "encoder.layer.0.output.dense.weight"
    shape       its shape
    decayed     True where weight decay applies: weights, but not biases or layer norms
    init        its initializer: a function of (random generator, shape) that returns a float64 NumPy array
    value, gradient   views into the flat buffers, once `Parameters.allocate` has run
    """

    def __init__(self, name: str, shape: tuple[int, ...], init: Initializer, decayed: bool):
        self.name, self.shape, self.init, self.decayed = name, shape, init, decayed
        self.value: Any = None
        self.gradient: Any = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {self.shape})"


class Parameters:
    """The parameters of one model, in the order in which its layers added them.

    Layers call `add` while they are built; then `allocate` makes the buffers, and `initialise` fills them.

    backend     the minibert.ops.Backend that performs the computation
    values      [P], all parameters end to end, layer by layer, with small gaps; what the layers compute with
    masters     [P], the same parameters in float32 if `values` has 16 bits, otherwise `values` itself
    gradients   [P], to which backward passes add; reset by `zero_gradients` before each step; never 16-bit
    decayed     bool [P], True where weight decay applies
    """

    def __init__(self, backend: Backend, dtype: DTypeLike = "float32") -> None:
        """dtype: "float32" or "float64", on a GPU also "float16" or "bfloat16".  Raises ValueError for any other."""
        self.backend = backend
        choices = "float32", "float64", *(HALF_PRECISION if backend.has_half_precision else ())
        if str(dtype) not in choices and not any(dtype == np.dtype(name) for name in ("float32", "float64")):
            raise ValueError(f"dtype {dtype} is not supported by the {backend.name} backend; choose {either(choices)}")
        self.dtype = as_dtype(dtype)
        self.master_dtype = np.dtype(np.float64 if self.dtype == np.float64 else np.float32)
        self.all: dict[str, Parameter] = {}
        self.values: Any = None  # the flat buffers, arrays of the backend that `allocate` makes
        self.masters: Any = None
        self.gradients: Any = None
        self.decayed: Any = None

    def add(self, name: str, shape: tuple[int, ...], init: Initializer, decayed: bool = True) -> Parameter:
        """Register a parameter.  Raises ValueError when the name is already taken."""
        if name in self.all:
            raise ValueError(f"two parameters are named {name!r}; give each layer a unique name")
        parameter = self.all[name] = Parameter(name, tuple(shape), init, decayed)
        return parameter

    def allocate(self) -> None:
        """Make the flat buffers and give every parameter its views."""
        size = round_up(max((span.stop for _, span in self.spans()), default=0))
        zeros = self.backend.xp.zeros
        self.values, self.gradients = zeros(size, dtype=self.dtype), zeros(size, dtype=self.master_dtype)
        self.masters = self.values if self.dtype == self.master_dtype else zeros(size, dtype=self.master_dtype)
        decayed = np.zeros(size, dtype=bool)
        for parameter, span in self.spans():
            parameter.value = self.values[span].reshape(parameter.shape)
            parameter.gradient = self.gradients[span].reshape(parameter.shape)
            decayed[span] = parameter.decayed
        self.decayed = self.backend.array(decayed)

    def spans(self) -> Iterator[tuple[Parameter, slice]]:
        """Yield each parameter with its slice of the flat buffers."""
        begin = 0
        for parameter in self.all.values():
            yield parameter, slice(begin, begin + parameter.size)
            begin = round_up(begin + parameter.size)

    def initialise(self, seed: int, names: Sequence[str] | None = None) -> None:
        """Fill all parameters, or the named ones, with initial values that depend only on the seed and the name."""
        chosen = self.all if names is None else names
        tensors = {}
        for name in chosen:
            key = [seed, *name.encode()]
            tensors[name] = self.all[name].init(np.random.default_rng(key), self.all[name].shape)
        self.assign(tensors)

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Assign new values to parameters: name -> NumPy array of the parameter's shape."""
        for parameter, span in self.spans():
            if parameter.name in tensors:
                tensor = np.ascontiguousarray(tensors[parameter.name]).reshape(-1)
                self.masters[span] = self.backend.array(tensor, dtype=self.master_dtype)
        self.round()

    def tensors(self, flat: Array) -> dict[str, np.ndarray]:
        """Split a flat buffer [P] into tensors by parameter name, copied to the host: the inverse of `assign`."""
        host = self.backend.numpy(flat)
        return {parameter.name: host[span].reshape(parameter.shape) for parameter, span in self.spans()}

    def round(self) -> None:
        """Round the masters into the values, in the values' dtype."""
        if self.values is not self.masters:
            self.values[...] = self.masters.astype(self.dtype)

    @property
    def count(self) -> int:
        """The total number of elements of all parameters."""
        return sum(parameter.size for parameter in self.all.values())

    def zero_gradients(self) -> None:
        self.gradients.fill(0)

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, name: str) -> Parameter:
        return self.all[name]


def as_dtype(name: DTypeLike) -> np.dtype:
    """The dtype called `name`, including bfloat16, which NumPy itself lacks."""
    if str(name) == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def round_up(size: int) -> int:
    """The size rounded up to a multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def either(choices: Sequence[str]) -> str:
    """The choices as a phrase, such as "a, b or c"."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]])


def zeros(_random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape)


def ones(_random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape)


def truncated_normal(std: float) -> Initializer:
    """An initializer: a normal distribution of standard deviation `std`, cut off at 2 * std (as in BERT's release)."""

    def init(random, shape):
        values = random.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = random.standard_normal(outside.sum())
        return values * std

    return init


def sinusoids(std: float) -> Initializer:
    """An initializer: sines and cosines of falling frequency, so that neighbouring positions start out similar.

    std: the root mean square of the values.

    Source: Vaswani et al. 2017, section 3.5.  There the sinusoids are fixed; here they are only the initial values.
    """

    def init(_random, shape):
        positions, width = shape
        frequencies = 10000.0 ** (-2 * (np.arange(width) // 2) / width)  # [H]
        angles = np.arange(positions)[:, None] * frequencies  # [positions, H]
        even = np.arange(width) % 2 == 0
        return np.where(even, np.sin(angles), np.cos(angles)) * (std * np.sqrt(2))

    return init
