"""In which numbers a step is computed; the weights themselves are float32 always.

With bfloat16 or float16 the large products run in half the width, the sums and the loss in float32
(mixed precision, arXiv:1710.03740). Small gradients vanish in float16, so the loss is scaled up
before the backward pass and the gradients down after it (ibid., section 3.2).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from jielong.core.errors import ConfigError

Name = Literal["fp32", "bf16", "fp16"]
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

FIRST_SCALE, LEAST_SCALE = 2.0**16, 1.0
GROWTH, BACKOFF, INTERVAL = 2.0, 0.5, 2000
"""The scale as `torch.amp.GradScaler` moves it: half after an overflow, twice after that many steps
without one."""


class Precision:
    """The type of the products of one run, on one device, and float16's moving scale."""

    def __init__(self, name: Name, device: torch.device | str) -> None:
        self.device = torch.device(device).type
        self.dtype = _TYPES.get(name)
        self.scales = name == "fp16"
        self.scale = FIRST_SCALE if self.scales else 1.0
        self.good_steps = 0

    def autocast(self) -> AbstractContextManager[object]:
        """What a forward pass runs in."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device, self.dtype)

    def absorb_overflow(self) -> bool:
        """Halve the scale for a gradient that is not finite; False when the scale cannot be why."""
        if not self.scales or self.scale <= LEAST_SCALE:
            return False
        self.scale, self.good_steps = max(LEAST_SCALE, self.scale * BACKOFF), 0
        return True

    def step_was_good(self) -> None:
        """Count a step without overflow; many in a row raise the scale."""
        if not self.scales:
            return
        self.good_steps += 1
        if self.good_steps == INTERVAL:
            self.scale, self.good_steps = self.scale * GROWTH, 0


def precision_on(name: Name, device: torch.device) -> Precision:
    """What a recipe asks for, on this device.

    Raises `ConfigError` on a CPU that is asked for half width: most have no such arithmetic, and
    are many times slower with it.
    """
    if name != "fp32" and device.type == "cpu":
        raise ConfigError(
            f"training.precision: {name!r}: a CPU trains in 'fp32': leave it out, or run on a GPU"
        )
    return Precision(name, device)
