"""Keys and values of the tokens seen so far, so that each step computes one position only."""

import torch
from torch import Tensor

from jielong.model.config import ModelConfig


class KVCache:
    """Room for `capacity` positions of `batch` rows, taken once: two tensors (L, B, Hkv, T, D).

    All rows advance together; rows of unequal length are padded on the left and `is_token`
    tells which slots count.
    """

    def __init__(
        self, config: ModelConfig, batch: int, capacity: int, device: torch.device | None = None
    ) -> None:
        shape = (config.n_layer, batch, config.n_kv_head, capacity, config.head_dim)
        self.keys = torch.zeros(shape, device=device)
        self.values = torch.zeros(shape, device=device)
        self.is_token = torch.zeros(batch, capacity, dtype=torch.bool, device=device)
        self.speaker = torch.zeros(batch, dtype=torch.long, device=device)  # the segment so far
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new positions' (B, Hkv, T, D) of one layer; return all of its positions'."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep `rows` (B',) of the batch, in that order: finished rows leave, beams fork."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.is_token, self.speaker = self.is_token[rows], self.speaker[rows]
