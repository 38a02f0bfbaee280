"""The exponential moving average of the weights: smoother than the last step's, often better."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from jielong.core.sharded import local


class WeightAverage:
    """mean_t = sum over i <= t of d^(t-i) w_i, divided by the sum of d^(t-i); d is the decay.

    The division is Adam's correction of its own averages (arXiv:1412.6980, section 3): the weights
    that training began with are in no mean, and a short run has as good a one as a long run.
    (Averages of weights: Polyak and Juditsky 1992; with decay arXiv:1703.01780, section 2.)
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._weights = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._means = {n: p.detach().clone() for n, p in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as a step left them."""
        self.updates += 1
        share = (1 - self.decay) / (1 - self.decay**self.updates)
        means, weights = self._means.values(), self._weights.values()
        torch._foreach_lerp_([*map(local, means)], [*map(local, weights)], share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the module's weights are the means; after it they are as before."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, weight in self._weights.items():
            kept = weight.clone()
            weight.copy_(self._means[name])
            self._means[name].copy_(kept)

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything, for a checkpoint."""
        return {"updates": torch.tensor(self.updates), **self._means}

    @torch.no_grad()
    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `to_tensors` gave."""
        self.updates = int(tensors["updates"])
        for name, mean in self._means.items():
            mean.copy_(tensors[name])
