"""AdamW as BERT has it, over the flat buffer of a model's parameters, and the learning rate's schedule."""

from minibert.nn import Parameters


class AdamW:
    """The moments of one model, and a step.

    bias_correction: divide the moments by 1 - beta ** step (Kingma and Ba 2015); BERT's release leaves that out.
    max_norm: gradients are scaled down to this Euclidean norm.
    """

    def __init__(self, parameters: Parameters, *, beta1, beta2, eps, weight_decay, bias_correction, max_norm):
        self.parameters = parameters
        self.betas, self.eps, self.weight_decay = (beta1, beta2), eps, weight_decay
        self.bias_correction, self.max_norm = bias_correction, max_norm
        self.first_moment = parameters.backend.xp.zeros_like(parameters.values)  # [P]
        self.second_moment = parameters.backend.xp.zeros_like(parameters.values)  # [P]

    def step(self, number: int, learning_rate: float):
        """Update the parameters from their gradients.  number counts from 1.  Returns the gradients' norm (0-d)."""
        parameters, ops = self.parameters, self.parameters.backend
        beta1, beta2 = self.betas
        norm = ops.global_norm(parameters.gradients)
        ops.adamw(
            parameters.values,
            parameters.gradients,
            self.first_moment,
            self.second_moment,
            parameters.decayed,
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            eps=self.eps,
            weight_decay=self.weight_decay,
            correction1=1 - beta1**number if self.bias_correction else 1.0,
            correction2=1 - beta2**number if self.bias_correction else 1.0,
            gradient_norm=norm,
            max_norm=self.max_norm,
        )
        return norm


def learning_rate_at(step: int, *, steps: int, highest: float, warmup: float) -> float:
    """The rate of a step (from 0): up to `highest` over the share `warmup` of the steps, then down to 0, linearly.

    Source: BERT paper, appendix A.2.
    """
    rising = max(int(steps * warmup), 1)
    if step < rising:
        return highest * (step + 1) / rising
    return highest * (steps - step) / max(steps - rising, 1)
