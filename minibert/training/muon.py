"""Muon on the matrices inside the layers, AdamW on everything else.

AdamW divides each weight's average gradient by its own scale.  Muon looks at a matrix as a whole: of the average
gradient M = U S Vᵀ it keeps the directions, U Vᵀ, so that the weak ones move as far as the strong ones.  Instead of a
singular value decomposition, a few iterations of a polynomial bring all singular values close to 1.  Embeddings,
biases, layer norms, heads and output layers, whose rows or entries stand for themselves, stay with AdamW.

Sources: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks", here without Nesterov momentum;
the scale of an update: Liu et al. 2025, "Muon is scalable for LLM training" (arXiv 2502.16982), section 2.2.
"""

import math

from minibert.base.arrays import Scalar
from minibert.nn import Parameters
from minibert.nn.parameters import Parameter
from minibert.training.optimizer import AdamW, AdamWSettings

INSIDE_LAYERS = ".layer."  # in the names of the parameters of a model's layers
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
        parameters, ops = self.parameters, self.parameters.backend
        before = [parameters.masters[span].copy() for _, span in self.matrices]
        norm = super().step(number, learning_rate)
        kept = 1 - learning_rate * self.settings.weight_decay
        moments = [self.first_moment[span].reshape(parameter.shape) for parameter, span in self.matrices]
        for old, (parameter, span), direction in zip(before, self.matrices, ops.orthogonalise(moments), strict=True):
            step = learning_rate * update_scale(parameter.shape)
            new = old * kept - step * direction.reshape(-1)
            if self.loss_scale is not None:  # a step with an overflow changes nothing
                new = ops.xp.where(ops.xp.isfinite(norm), new, old)
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
