"""The shape of a model."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of a left-to-right transformer (the Qwen3 shape: RMS norm, QK-norm, SwiGLU, rotary).

    `n_kv_head` below `n_head` is grouped-query attention (arXiv:2305.13245); `tied` reads the
    scores over the vocabulary with the embedding's own matrix. `vocab_size` is 0 in a recipe: the
    tokenizer tells it.
    """

    vocab_size: int = 0
    context: int
    n_layer: int
    width: int
    n_head: int
    n_kv_head: int
    ffn_width: int
    dropout: float = 0.0
    tied: bool = True
    rope_base: float = 10_000.0
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built; the message begins with the setting's name."""
        for name in ("context", "n_layer", "width", "n_head", "n_kv_head", "ffn_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}: must be at least 1")
        if self.width % self.n_head or (self.width // self.n_head) % 2:
            raise ValueError(
                f"n_head: {self.n_head}: must divide width {self.width} into even heads"
            )
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_kv_head: {self.n_kv_head}: must divide n_head {self.n_head}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}: must be at least 0 and below 1")

    @property
    def head_dim(self) -> int:
        """D, the size of one attention head."""
        return self.width // self.n_head
