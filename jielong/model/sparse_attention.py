"""Placeholder until the branch `sparse` is merged."""

import torch
from torch import Tensor
from torch.nn import functional as F

from jielong.model import patterns


def sparse_attention(q, k, v, pattern, *, documents=None, scale=None, dropout_p=0.0) -> Tensor:
    t = torch.arange(q.shape[2], device=q.device)
    mask = patterns.allowed(pattern, t, t)[None, None]
    if documents is not None:
        mask = mask & (documents[:, :, None] == documents[:, None, :])[:, None]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout_p, enable_gqa=q.shape[1] != k.shape[1]
    )
