"""AdamW as in BERT, on the flat buffer of a model's parameters, and the learning-rate schedule."""

from dataclasses import dataclass

import numpy as np

from minibert.base.arrays import Array, Scalar
from minibert.nn import Parameters
from minibert.ops import AdamWStep
from minibert.ops.backend import Backend


@dataclass(frozen=True)
class AdamWSettings:
    """The hyperparameters that stay the same from step to step."""

    beta1: float = 0.9
    """decay of the first moment"""
    beta2: float = 0.999
    """decay of the second moment"""
    eps: float = 1e-6
    weight_decay: float = 0.01
    bias_correction: bool = True
    """whether to divide the moments by 1 - beta ** step (Kingma and Ba 2015), which BERT's release does not"""
    max_norm: float | None = 1.0
    """gradients are scaled down to this Euclidean norm; None: never"""


class LossScale:
    """The factor by which a float16 loss is multiplied, so that its gradients are not too small for 16 bits.

    The scale is stored and adjusted on the device: a step whose gradients overflow changes no parameter and
    halves the scale; after `interval` consecutive good steps the scale doubles.  The host never waits for the scale.
    Source: Micikevicius et al. 2018, "Mixed precision training", section 3.2.

    value         float32 (0-d array)
    good_steps    int32 (0-d array), steps since the scale last changed
    """

    START, INTERVAL = 2.0**16, 2000

    def __init__(self, backend: Backend, start: float = START, interval: int = INTERVAL) -> None:
        self.backend, self.interval = backend, interval
        self.value = backend.array(np.array(start, np.float32))
        self.good_steps = backend.array(np.array(0, np.int32))

    def update(self, norm: Array) -> None:
        """Adjust the scale after a step; norm: the norm of the step's scaled gradients (0-d array)."""
        self.backend.update_scale(self.value, self.good_steps, norm, self.interval)

    def state(self) -> dict[str, float]:
        """The state that a checkpoint stores."""
        return {
            "value": float(self.backend.numpy(self.value)),
            "good_steps": int(self.backend.numpy(self.good_steps)),
        }

    def restore(self, state: dict[str, float]) -> None:
        """Restore a state saved by `state`; missing entries get their initial values.

        Raises ValueError or TypeError for a scale that is not finite and above 0, or a number of steps below 0.
        """
        value, good_steps = float(state.get("value", self.START)), int(state.get("good_steps", 0))
        if not 0 < value < np.inf or not 0 <= good_steps < 2**31:
            raise ValueError(f"{value} after {good_steps} good steps; expected a number above 0, and 0 or more steps")
        self.value[...] = self.backend.array(np.array(value, np.float32))
        self.good_steps[...] = self.backend.array(np.array(good_steps, np.int32))


class AdamW:
    """AdamW for one model: the moment estimates and the update step.

    loss_scale: the LossScale of a float16 model, whose gradients are those of `loss_scale.value * loss`; or None.
    """

    name = "AdamW"

    def __init__(self, parameters: Parameters, settings: AdamWSettings):
        self.parameters, self.settings = parameters, settings
        self.first_moment = parameters.backend.xp.zeros_like(parameters.masters)  # [P]
        self.second_moment = parameters.backend.xp.zeros_like(parameters.masters)  # [P]
        self.loss_scale = LossScale(parameters.backend) if parameters.dtype == np.float16 else None
        self.half_precision = {}  # further arguments of the op: the buffer for rounded parameters, the gradients' scale
        if parameters.values is not parameters.masters:
            self.half_precision["copy"] = parameters.values
        if self.loss_scale is not None:
            self.half_precision["gradient_scale"] = self.loss_scale.value

    def step(self, number: int, learning_rate: float) -> Scalar:
        """Update the parameters from their gradients.

        number: the number of the step, counted from 1.
        Returns the gradients' norm (0-d array); with a loss scale, infinity or nan if the step was skipped.
        """
        parameters, ops, settings = self.parameters, self.parameters.backend, self.settings
        norm = ops.global_norm(parameters.gradients)
        corrected = settings.bias_correction
        step = AdamWStep(
            learning_rate,
            settings.beta1,
            settings.beta2,
            settings.eps,
            settings.weight_decay,
            correction1=1 - settings.beta1**number if corrected else 1.0,
            correction2=1 - settings.beta2**number if corrected else 1.0,
            max_norm=settings.max_norm,
        )
        moments = self.first_moment, self.second_moment
        ops.adamw(
            parameters.masters, parameters.gradients, *moments, parameters.decayed, step, norm, **self.half_precision
        )
        if self.loss_scale is None:
            return norm
        unscaled = norm / self.loss_scale.value  # computed before the scale changes
        self.loss_scale.update(norm)
        return unscaled


def learning_rate_at(step: int, *, steps: int, peak: float, warmup: float) -> float:
    """The learning rate of a step (from 0): a linear rise to `peak`, then a linear fall to 0.

    warmup: the share of the steps during which the rate rises.

    Source: BERT paper, appendix A.2.
    """
    rising = max(int(steps * warmup), 1)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - step) / max(steps - rising, 1)
