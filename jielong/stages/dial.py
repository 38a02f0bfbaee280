"""One dial: from the depth of a model follow its width, heads, learning rates and batch.

A family of models between which only the size differs: a law of their loss can be fitted to small
ones and read for larger ones (arXiv:2001.08361, arXiv:2203.15556), as nanochat does with its depth.
The member of depth 4 is the small recipe's model.
"""

import math

from jielong.model.config import ModelConfig
from jielong.training.optimizers import OptimizerConfig

CONTEXT, WINDOW, BATCH = 512, 256, 8
HEAD = 32
"""The size of a head; there is one more of them than layers."""


def shape_of(depth: int, vocab_size: int = 0) -> ModelConfig:
    """The family's model of `depth` layers; a recipe leaves the vocabulary to the tokenizer."""
    heads = depth + 1
    width = HEAD * heads
    return ModelConfig(
        vocab_size=vocab_size,
        context=CONTEXT,
        n_layer=depth,
        width=width,
        n_head=heads,
        n_kv_head=heads,
        ffn_width=32 * math.ceil(8 * width / 3 / 32),
    )


def optimizer_of(width: int) -> OptimizerConfig:
    """Rates for a model of that width: those tuned at width 160, and nanochat's rule from there.

    AdamW's rate falls with the root of the width. Muon's stays: its steps have one spectral norm
    whatever the size of the matrix (arXiv:2310.17813).
    """
    return OptimizerConfig(
        kind="muon",
        lr=float(f"{1.2e-2 * math.sqrt(160 / width):.3g}"),
        muon_lr=0.007,
        warmup_steps=20,
        decay_share=0.6,
    )
