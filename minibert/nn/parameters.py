"""All parameters of a model as views into one flat buffer, and all gradients as views into another.

So the optimiser is one kernel, the gradient's norm one dot product, and a checkpoint one pass over memory.
"""

from collections.abc import Callable

import numpy as np


class Parameter:
    """One named tensor of a model.

    name        as in the Hugging Face file, "encoder.layer.0.output.dense.weight"
    shape       its shape
    decayed     True where weight decay applies: weights, but no biases and no layer norms
    start       how it begins: a function of (random generator, shape) that returns a float64 NumPy array
    value, gradient   views into the flat buffers, once `Parameters.allocate` has run
    """

    def __init__(self, name: str, shape: tuple[int, ...], start: Callable, decayed: bool):
        self.name, self.shape, self.start, self.decayed = name, shape, start, decayed
        self.value = self.gradient = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {self.shape})"


class Parameters:
    """The parameters of one model, in the order in which its layers asked for them.

    Layers call `add` while they are built; then `allocate` makes the buffers, and `initialise` fills them.

    backend     the minibert.ops.Backend that computes
    values      [P], all parameters end to end, layer by layer
    gradients   [P], where the backward passes add what they find; `zero_gradients` before each step
    decayed     bool [P], the mask of weight decay
    """

    def __init__(self, backend, dtype="float32"):
        self.backend = backend
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype {dtype} is not supported; choose float32 or float64")
        self.dtype = np.dtype(dtype)
        self.all: dict[str, Parameter] = {}
        self.values = self.gradients = self.decayed = None

    def add(self, name: str, shape: tuple[int, ...], start: Callable, decayed: bool = True) -> Parameter:
        """Register a parameter.  Raises ValueError when the name is taken."""
        if name in self.all:
            raise ValueError(f"two parameters are named {name!r}; give each layer a name of its own")
        parameter = self.all[name] = Parameter(name, tuple(shape), start, decayed)
        return parameter

    def allocate(self) -> None:
        """Make the flat buffers and give every parameter its views."""
        size = sum(parameter.size for parameter in self.all.values())
        self.values = self.backend.xp.zeros(size, dtype=self.dtype)
        self.gradients = self.backend.xp.zeros(size, dtype=self.dtype)
        decayed = np.zeros(size, dtype=bool)
        for parameter, span in self.spans():
            parameter.value = self.values[span].reshape(parameter.shape)
            parameter.gradient = self.gradients[span].reshape(parameter.shape)
            decayed[span] = parameter.decayed
        self.decayed = self.backend.array(decayed)

    def spans(self):
        """Each parameter with the slice of the flat buffers that it owns."""
        begin = 0
        for parameter in self.all.values():
            yield parameter, slice(begin, begin + parameter.size)
            begin += parameter.size

    def initialise(self, seed: int, names=None) -> None:
        """Fill parameters (all, or those named) with their start values: functions of the seed and the name alone."""
        for parameter in self.all.values() if names is None else [self.all[name] for name in names]:
            key = [seed, *parameter.name.encode()]
            start = parameter.start(np.random.default_rng(key), parameter.shape)
            parameter.value[...] = self.backend.array(start, dtype=self.dtype)

    def zero_gradients(self) -> None:
        self.gradients.fill(0)

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, name: str) -> Parameter:
        return self.all[name]


def zeros(_random, shape):
    return np.zeros(shape)


def ones(_random, shape):
    return np.ones(shape)


def truncated_normal(std: float) -> Callable:
    """A normal distribution of that standard deviation without what lies beyond two of them (BERT's release)."""

    def start(random, shape):
        values = random.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = random.standard_normal(outside.sum())
        return values * std

    return start


def sinusoids(std: float) -> Callable:
    """Sines and cosines of falling frequency, scaled to that root mean square: neighbours begin as neighbours.

    Source: Vaswani et al. 2017, section 3.5 (there fixed; here only where training starts).
    """

    def start(_random, shape):
        positions, width = shape
        frequencies = 10000.0 ** (-2 * (np.arange(width) // 2) / width)  # [H]
        angles = np.arange(positions)[:, None] * frequencies  # [positions, H]
        even = np.arange(width) % 2 == 0
        return np.where(even, np.sin(angles), np.cos(angles)) * (std * np.sqrt(2))

    return start
