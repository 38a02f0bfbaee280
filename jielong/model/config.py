"""The shape of a model: which of the field's parts it is built from, and how large they are."""

import math
from dataclasses import dataclass, field
from typing import Literal

from jielong.core.config import check_positive
from jielong.model import patterns

Feedforward = Literal["swiglu", "geglu", "geglu_tanh", "gelu", "gelu_tanh", "relu", "relu2"]
Objective = Literal["causal", "masked", "prefix", "encoder_decoder"]


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """Rotary positions (arXiv:2104.09864), and how they are stretched over a longer context.

    `linear` slows every pair by `factor` (arXiv:2306.15595, eq. 4); `llama3` slows the slow pairs
    only, in the way of Llama 3.1; `yarn` does so by the pairs' numbers, and sharpens attention
    (arXiv:2309.00071).
    `local_base` is the base of layers that see a window only (Gemma 3): those are not stretched.
    """

    base: float = 10_000.0
    local_base: float | None = None
    scaling: Literal["none", "linear", "llama3", "yarn"] = "none"
    factor: float = 1.0
    original_context: int = 0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        for name in ("base", "factor", "local_base"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: {value}: must be above 0")
        if self.scaling in ("llama3", "yarn") and self.original_context < 1:
            raise ValueError(
                f"original_context: {self.original_context}: {self.scaling} needs the context that "
                "the model was trained with"
            )
        if self.scaling == "llama3" and self.low_frequency_factor >= self.high_frequency_factor:
            raise ValueError(
                f"low_frequency_factor: {self.low_frequency_factor}: must be below "
                f"high_frequency_factor {self.high_frequency_factor}"
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and parts of a transformer; the defaults are Qwen3's.

    - `n_kv_head` below `n_head` is grouped-query attention (arXiv:2305.13245, section 2.2);
      `head_size` is `width / n_head` unless it is given.
    - `attention` says what each layer looks at, in turn: `"dense"`, `"dense strided:64"`,
      `"sliding:512*5 dense"` (`jielong/model/patterns.py`).
    - `bidirectional` sees both ways, as BERT does; else each position sees those before it.
    - `norm_place` is `pre` (GPT-2 and most since), `post` (the first transformer, GPT-1, BERT) or
      `both` (Gemma). `bias` is on no matrix, on those of Q, K and V (Qwen2), on these and the
      output of attention (some of Llama's shape), or on all (GPT-2).
    - `objective` is what the model was trained to do, and so how it takes a prompt: as the text to
      continue, as a text with gaps, as a prefix that is read both ways, as a source.
    - `segments` vectors tell speakers apart: the n-th of `turn_ids`, from 1, opens a turn in
      segment n (modulo `segments`); what precedes any turn is in segment 0.
    - `tied` reads the scores over the vocabulary with the embedding's own matrix.

    `vocab_size` is 0 in a recipe: the tokenizer tells it, and `turn_ids` too; pretraining tells the
    `objective`.
    """

    vocab_size: int = 0
    context: int
    n_layer: int
    width: int
    n_head: int
    n_kv_head: int
    ffn_width: int
    head_size: int | None = None
    attention: str = "dense"
    objective: Objective = "causal"
    bidirectional: bool = False
    positions: Literal["rotary", "learned", "sinusoidal", "none"] = "rotary"
    rope: RopeConfig = field(default_factory=RopeConfig)
    segments: int = 0
    turn_ids: tuple[int, ...] = ()
    norm: Literal["rms", "layer"] = "rms"
    norm_place: Literal["pre", "post", "both"] = "pre"
    norm_eps: float = 1e-6
    embedding_norm: bool = False
    qk_norm: bool = True
    ffn: Feedforward = "swiglu"
    bias: Literal["none", "qkv", "attention", "all"] = "none"
    scale_embedding: bool = False
    dropout: float = 0.0
    tied: bool = True

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built; the message begins with the setting's name."""
        check_positive(self, "context", "n_layer", "width", "n_head", "n_kv_head", "ffn_width")
        if self.head_size is None and self.width % self.n_head:
            raise ValueError(
                f"n_head: {self.n_head}: must divide width {self.width}, or head_size be given"
            )
        if self.positions == "rotary" and self.head_dim % 2:
            raise ValueError(
                f"n_head: {self.n_head}: rotary positions need even heads, not of {self.head_dim}"
            )
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_kv_head: {self.n_kv_head}: must divide n_head {self.n_head}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}: must be at least 0 and below 1")
        if self.segments < 0:
            raise ValueError(f"segments: {self.segments}: must not be negative")
        try:
            has_patterns = self.has_patterns
        except ValueError as error:
            raise ValueError(f"attention: {error}") from None
        if has_patterns and (self.bidirectional or self.objective != "causal"):
            raise ValueError(
                f"attention: {self.attention!r}: a model that reads both ways takes dense only"
            )

    @property
    def head_dim(self) -> int:
        """D, the size of one attention head."""
        return self.head_size or self.width // self.n_head

    @property
    def embedding_factor(self) -> float:
        """What token embeddings are multiplied by (arXiv:1706.03762, section 3.4)."""
        return math.sqrt(self.width) if self.scale_embedding else 1.0

    @property
    def has_patterns(self) -> bool:
        """Whether some layer does not look at everything that its order lets it see."""
        return any(pattern.kind != "dense" for pattern in patterns.parse(self.attention))

    def pattern(self, layer: int) -> patterns.Pattern:
        """What layer number `layer` looks at."""
        return patterns.of_layer(patterns.parse(self.attention), layer)
