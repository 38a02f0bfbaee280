"""Everything that a training step changes, and the step itself.

What a `Learner` holds is exactly what a checkpoint holds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from jielong.core.errors import DataError, TrainingDivergedError
from jielong.core.processes import rank
from jielong.core.seeds import derive
from jielong.core.sharded import local, rejoined
from jielong.objectives.loss import Loss
from jielong.training.average import WeightAverage
from jielong.training.distributed import (
    is_sharded,
    largest_across,
    shares,
    sum_across,
    sum_gradients,
)
from jielong.training.optimizers import Schedule
from jielong.training.precision import precision_on
from jielong.training.settings import TrainingConfig

Objective = Callable[[Any, Any], Loss]


@dataclass(frozen=True)
class Part:
    """One term of a step: its micro-batches, their loss, and the term's weight in the gradient.

    Each part is divided by its own count, so "SFT plus half a unit of pretraining" means the same
    whatever the sizes of the two batches. `veto` looks at the part's metrics before anything moves;
    when it says True the step is skipped whole: no weight, no momentum changes.
    """

    micro_batches: Sequence[Any]
    objective: Objective
    weight: float = 1.0
    name: str = ""
    veto: Callable[[dict[str, float]], bool] | None = None


class Learner:
    """A module, the optimizers that move it, their schedule, and how many steps were made."""

    def __init__(
        self,
        module: nn.Module,
        optimizers: Sequence[Optimizer],
        schedule: Schedule,
        clip: float = 1.0,
        networks: Mapping[str, nn.Module] | None = None,
        training: TrainingConfig | None = None,
    ) -> None:
        """`networks` are clipped each by its own norm; the first one's is the norm that is logged
        without a name. By default the module is one network."""
        training = training or TrainingConfig()
        self.module = module
        self.optimizers = list(optimizers)
        self.schedule = schedule
        self.clip = clip
        self.step = 0
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._micro_batch = training.micro_batch
        self._is_sharded = is_sharded(module)
        self._seed = torch.initial_seed()
        self.precision = precision_on(training.precision, next(module.parameters()).device)
        self.average = WeightAverage(module, training.ema_decay) if training.ema_decay else None
        places = {id(parameter): i for i, parameter in enumerate(self._parameters)}
        self._networks = {
            name: [places[id(p)] for p in network.parameters() if p.requires_grad]
            for name, network in (networks or {"": module}).items()
        }
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group.setdefault("peak_lr", group["lr"])

    def update(self, *parts: Part) -> dict[str, float]:
        """One optimizer step on the weighted sum of the parts' mean losses.

        Backward on each micro-batch of this process's share; sum gradients and counts over
        processes; divide once
        by the part's count; add the parts; clip; step. Returns each part's mean loss and metrics,
        its gradient norm when there are several, the norm before clipping, and the rate. A step
        without parts, or with a part that vetoes it, counts but changes nothing ("skipped"); one
        whose gradient overflows in float16 does so too, and halves the scale of the loss.

        Raises `TrainingDivergedError` when the gradient is not finite (no weight is changed then)
        and `DataError` when a part has nothing to learn from.
        """
        self._draw_apart()
        metrics: dict[str, float] = {}
        total: list[Tensor] | None = None
        for part in parts:
            gradients, part_metrics = self._gradients(part)
            if part.veto is not None and part.veto(part_metrics):
                self.step += 1
                return part_metrics | {"skipped": 1.0}
            if len(parts) > 1:
                part_metrics["own_gradient_norm"] = next(iter(self._norms(gradients).values()))
            if part.weight != 1:
                torch._foreach_mul_(gradients, part.weight)
            prefix = f"{part.name}_" if part.name else ""
            metrics |= {prefix + name: value for name, value in part_metrics.items()}
            if total is None:
                total = gradients
            else:
                torch._foreach_add_(total, gradients)
        if total is None:
            self.step += 1
            return {"skipped": 1.0}
        norms = self._norms(total)
        for norm in norms.values():
            if not math.isfinite(norm):
                if self.precision.absorb_overflow():
                    self.step += 1
                    finite = {name: v for name, v in metrics.items() if math.isfinite(v)}
                    return finite | {"skipped": 1.0, "loss_scale": self.precision.scale}
                raise TrainingDivergedError(
                    f"step {self.step + 1}: the gradient's norm is {norm}: lower the learning rate "
                    "or look at this step's batch; the last checkpoint is intact"
                )
        self._clip(total, norms)
        self._apply(total)
        metrics |= {f"{name}_gradient_norm".lstrip("_"): norm for name, norm in norms.items()}
        return metrics | {"lr": self.optimizers[0].param_groups[0]["lr"]}

    def _gradients(self, part: Part) -> tuple[list[Tensor], dict[str, float]]:
        """The gradient of one part's mean loss, and its metrics."""
        self.module.zero_grad(set_to_none=True)
        losses, scale = [], self.precision.scale
        for batch in part.micro_batches:
            for micro_batch, counts in shares(batch, self._micro_batch):
                with self.precision.autocast():
                    loss = part.objective(self.module, micro_batch)
                if counts == 0:
                    loss = loss.as_nothing()
                if loss.total.requires_grad:
                    (loss.total * scale if scale != 1 else loss.total).backward()
                losses.append(loss)
        sums = sum_across(
            torch.stack([_sum(x.items for x in losses), _sum(x.total for x in losses)])
        )
        items, loss_total = sums.tolist()
        if items == 0:
            raise DataError(
                f"step {self.step + 1}: no target in the whole batch ({part.name or 'training'}): "
                "check the loss mask, or the context is too short for the data"
            )
        gradients = [
            local(torch.zeros_like(p) if p.grad is None else p.grad) for p in self._parameters
        ]
        if not self._is_sharded:
            sum_gradients(gradients)
        torch._foreach_div_(gradients, items * scale)
        metrics = {"loss": loss_total / items, "items": items}
        for name in losses[0].metrics:
            values = torch.stack([loss.metrics[name].float() for loss in losses])
            if name.endswith("_max"):
                metrics[name] = largest_across(values.max()).item()
            else:
                metrics[name] = sum_across(values.sum()).item() / items
        self.module.zero_grad(set_to_none=True)
        return gradients, metrics

    def _draw_apart(self) -> None:
        """Let no other process drop out what the first one does.

        Their random numbers begin anew in each step, so no checkpoint has to hold them.
        """
        if rank():
            torch.manual_seed(derive(self._seed, "rank", rank(), self.step))

    def _norms(self, gradients: list[Tensor]) -> dict[str, float]:
        """The gradient's norm over each network."""
        return {
            name: _norm([gradients[place] for place in places], self._is_sharded)
            for name, places in self._networks.items()
        }

    def _clip(self, gradients: list[Tensor], norms: Mapping[str, float]) -> None:
        for name, places in self._networks.items():
            if self.clip and norms[name] > self.clip:
                own = [gradients[place] for place in places]
                torch._foreach_mul_(own, self.clip / (norms[name] + 1e-6))

    def _apply(self, gradients: list[Tensor]) -> None:
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = rejoined(gradient, parameter)
        multiplier = self.schedule(self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * multiplier
            optimizer.step()
        self.module.zero_grad(set_to_none=True)
        self.precision.step_was_good()
        if self.average is not None:
            self.average.update()
        self.step += 1

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block the module has the weights that the run is for: the average, if one is
        kept, or else the last."""
        return nullcontext() if self.average is None else self.average.in_place()

    def to_tensors(self) -> dict[str, Tensor]:
        """What a step changes beside weights, optimizers and the count, for a checkpoint."""
        tensors = {}
        if self.average is not None:
            tensors |= {f"average.{n}": t for n, t in self.average.to_tensors().items()}
        if self.precision.scales:
            moving = [self.precision.scale, self.precision.good_steps]
            tensors["loss_scale"] = torch.tensor(moving, dtype=torch.float64)
        return tensors

    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `to_tensors` gave."""
        if self.average is not None:
            begins = "average."
            self.average.from_tensors(
                {n.removeprefix(begins): t for n, t in tensors.items() if n.startswith(begins)}
            )
        if self.precision.scales:
            scale, good_steps = tensors["loss_scale"].tolist()
            self.precision.scale, self.precision.good_steps = scale, int(good_steps)


def _sum(tensors: Any) -> Tensor:  # noqa: ANN401 - any iterable of scalars
    return torch.stack([tensor.detach().double() for tensor in tensors]).sum()


def _norm(gradients: list[Tensor], is_sharded: bool) -> float:
    square = torch.stack(torch._foreach_norm(gradients)).double().square().sum()
    return (sum_across(square) if is_sharded else square).sqrt().item()
