"""How a step is computed, whatever it teaches: memory, numbers, and the average of the weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jielong.training.precision import Name


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The defaults are the plainest way: whole batches, float32, everything kept, no average.

    - `micro_batch` rows go through the model at a time, and their gradients add up to that of the
      whole batch; 0 is all at once.
    - `activation_checkpointing` keeps of each block its input alone and computes the rest again in
      the backward pass (arXiv:1604.06174): a third more time, far less memory.
    - `precision` of the products, on a GPU.
    - `parallel` says what several processes share: the rows of a batch ("ddp"), or weights,
      gradients and optimizer states as well ("fsdp").
    - `ema_decay` above 0 keeps an exponential moving average of the weights, and the finished model
      is that average.
    """

    micro_batch: int = 0
    activation_checkpointing: bool = False
    precision: Name = "fp32"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if self.micro_batch < 0:
            raise ValueError(f"micro_batch: {self.micro_batch}: must not be negative")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay: {self.ema_decay}: must be at least 0 and below 1")


def portions(batch: Any, most: int) -> Sequence[Any]:  # noqa: ANN401 - any batch of tensors
    """Cut a batch, a named tuple of tensors with a row an example, into pieces of `most` rows.

    With `most` 0 it stays whole. A batch whose tensors have rows of different things cuts itself,
    by a method `portions` of its own.
    """
    if not most:
        return [batch]
    if hasattr(batch, "portions"):
        return batch.portions(most)
    rows = {len(tensor) for tensor in batch if tensor is not None}
    assert len(rows) == 1, f"tensors of {rows} rows are no batch that can be cut"
    count = -(-rows.pop() // most)
    pieces = [[None] * count if tensor is None else tensor.split(most) for tensor in batch]
    return [type(batch)(*piece) for piece in zip(*pieces, strict=True)]
