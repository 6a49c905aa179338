"""Muon on the matrices inside the layers, AdamW on everything else.

AdamW divides each weight's average gradient by its own scale.  Muon looks at a matrix as a whole: of the average
gradient M = U S Vᵀ it keeps the directions, U Vᵀ, so that the weak ones move as far as the strong ones.  Instead of a
singular value decomposition, a few iterations of a polynomial bring all singular values close to 1.  Embeddings,
biases, layer norms, heads and output layers, whose rows or entries stand for themselves, stay with AdamW.

Sources: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks", here without Nesterov momentum;
the scale of an update: Liu et al. 2025, "Muon is scalable for LLM training" (arXiv 2502.16982), section 2.2.
"""

import math
from typing import Any

from minibert.base.arrays import Array, Scalar
from minibert.nn import Parameters
from minibert.nn.parameters import Parameter
from minibert.training.optimizer import AdamW, AdamWSettings

INSIDE_LAYERS = ".layer."  # in the names of the parameters of a model's layers
COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of x, x³ and x⁵: chosen by Jordan et al. to raise small values fast
ITERATIONS = 5  # after which singular values from 0.01 to 1 lie between 0.68 and 1.13
SCALE = 0.2  # the root mean square of an update of AdamW at learning rate 1 (Liu et al.)


class Muon(AdamW):
    """The optimizer of a model.  Its state is AdamW's, and so are its hyperparameters.

    The first moment of all gradients, which AdamW keeps anyway, is what is orthogonalised.
    """

    name = "Muon, and AdamW outside the layers' matrices"

    def __init__(self, parameters: Parameters, settings: AdamWSettings):
        super().__init__(parameters, settings)
        self.matrices = [(parameter, span) for parameter, span in parameters.spans() if is_inside_layers(parameter)]

    def step(self, number: int, learning_rate: float) -> Scalar:
        """Update the parameters from their gradients; arguments and result as of AdamW's step."""
        parameters, xp = self.parameters, self.parameters.backend.xp
        before = [parameters.masters[span].copy() for _, span in self.matrices]
        norm = super().step(number, learning_rate)
        kept = 1 - learning_rate * self.settings.weight_decay
        for old, (parameter, span) in zip(before, self.matrices, strict=True):
            direction = orthogonalised(self.first_moment[span].reshape(parameter.shape), xp).reshape(-1)
            new = old * kept - learning_rate * update_scale(parameter.shape) * direction
            if self.loss_scale is not None:  # a step with an overflow changes nothing
                new = xp.where(xp.isfinite(norm), new, old)
            parameters.masters[span] = new
        parameters.round()
        return norm


OPTIMIZERS: dict[str, type[AdamW]] = {"adamw": AdamW, "muon": Muon}


def is_inside_layers(parameter: Parameter) -> bool:
    """Whether Muon updates a parameter: a matrix of a layer."""
    return len(parameter.shape) == 2 and INSIDE_LAYERS in parameter.name


def update_scale(shape: tuple[int, ...]) -> float:
    """The factor that gives an orthogonal matrix the root mean square of an update of AdamW.

    An orthogonal matrix of r x c has min(r, c) singular values of 1, so its root mean square is 1 / sqrt(max(r, c)).
    """
    return SCALE * math.sqrt(max(shape))


def orthogonalised(matrix: Array, xp: Any) -> Array:
    """The matrix with the same singular vectors and singular values near 1, by a Newton-Schulz iteration.

    matrix: [r, c], float; xp: NumPy or CuPy.  The polynomial a x + b x³ + c x⁵ is applied to all singular values at
    once, since X Xᵀ X has the cubes of those of X.  Dividing by the Frobenius norm makes them at most 1.
    """
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (xp.linalg.norm(wide) + 1e-30)
    for _ in range(ITERATIONS):
        squares = x @ x.T
        x = a * x + (b * squares + c * (squares @ squares)) @ x
    return x if wide is matrix else x.T
