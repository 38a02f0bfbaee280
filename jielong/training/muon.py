"""Muon: momentum whose every matrix step is made orthogonal (Jordan et al., 2024).

`torch.optim.Muon` multiplies in bfloat16, one matrix at a time; where the processor has no such
arithmetic that is many times slower than training itself. Here matrices of one shape are stacked
and multiplied together, in float32 at least.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from jielong.core.sharded import local, own_part, whole

# Quintic Newton-Schulz coefficients, chosen by Jordan for the steepest slope at zero: five rounds
# bring all singular values into about [0.7, 1.2], which serves as well as exact orthogonality.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = (3, 2)
"""Five in two bouts: factors multiplied up over all five would lose a decimal or two of a gradient
whose rank is low."""


def orthogonalise(matrices: Float[Tensor, "N R C"]) -> Float[Tensor, "N R C"]:
    """The nearest semi-orthogonal matrices, roughly, of a stack (N, rows, columns).

    A round takes x to (a + b G + c G^2) x with G = x x^T. The factors of one bout are polynomials
    of its first G and commute, so they are multiplied up on the small square, and x is touched once
    a bout. That needs float32 at least: rounding in bfloat16 would leave the positive matrices.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.to(torch.promote_types(matrices.dtype, torch.float32))
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for rounds in ROUNDS:
        gram, product = x @ x.mT, None
        for left in reversed(range(rounds)):
            factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
            factor.diagonal(dim1=-2, dim2=-1).add_(a)
            product = factor if product is None else product @ factor
            if left:
                gram = factor @ gram @ factor
        assert product is not None, "a bout has a round"
        x = product @ x
    x = x.to(matrices.dtype)
    return x.mT if tall else x


class Muon(Optimizer):
    """Nesterov momentum, orthogonalised, times sqrt(max(1, rows / columns)); decoupled decay."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                self._step_shape(shape, parameters, group)

    def _step_shape(self, shape: torch.Size, parameters: list[Tensor], group: dict) -> None:
        momentum, lr = group["momentum"], group["lr"]
        directions = []
        for parameter in parameters:
            state, gradient = self.state[parameter], parameter.grad
            assert gradient is not None, "step() passes on parameters with a gradient only"
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(gradient, 1 - momentum)
            # An orthogonal matrix is no matter of its parts: each process makes the whole one.
            directions.append(whole(gradient.lerp(state["momentum"], momentum)))
        steps = orthogonalise(torch.stack(directions))
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, step in zip(parameters, steps, strict=True):
            part = local(parameter).mul_(1 - lr * group["weight_decay"])
            part.add_(own_part(step, parameter), alpha=-lr * scale)
