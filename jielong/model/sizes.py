"""How large a model is, by arithmetic on its configuration: parameters, FLOPs, memory.

Nothing is built and nothing is run, so the sizes of a model that no machine here could hold are
known as well. Letters as in the notation: B, T, C, H, D, L, V.
"""

from dataclasses import dataclass, fields
from typing import Literal

from jielong.model.config import ModelConfig
from jielong.model.patterns import Pattern

TRAINING = 3
"""A backward pass is two forward passes: a product for the input's slope, and one for the weight's
(arXiv:2001.08361, section 2.1)."""

NUMBER = 4
"""Bytes of a float32."""

Optimizer = Literal["sgd", "momentum", "adam", "adamw", "muon"]
_MOMENTS = {"sgd": 0, "momentum": 1}
"""Numbers that an optimizer keeps of each parameter, where they are not the two of Adam."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How many numbers are learned, by what they serve.

    `embedding` are those of tokens, learned positions and segments; `head` is empty where the
    scores are read with the embedding's own matrix. Every norm is in `norms`, QK-norms too.
    """

    embedding: int
    attention: int
    feed_forward: int
    norms: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def inner(self) -> int:
        """All but those that are rows of a vocabulary, of positions or of segments."""
        return self.total - self.embedding - self.head


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes; `activations` and `kv_cache` are for one token, the others for the model."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    kv_cache: int

    @property
    def training(self) -> int:
        """What training keeps between steps: all but activations."""
        return self.weights + self.gradients + self.optimizer


def parameters(config: ModelConfig) -> Parameters:
    """The parameters of a model, counted by their shapes.

    An encoder-decoder has two stacks with one embedding of tokens, and in each layer of the second
    a third attention, with a norm (two, where norms are on both sides).
    """
    C, V, L = config.width, config.vocab_size, config.n_layer
    stacks, attentions = _counts(config)
    rows = config.segments + (config.context if config.positions == "learned" else 0)
    norm = C if config.norm == "rms" else 2 * C
    for_each = 2 if config.norm_place == "both" else 1
    outside = int(config.embedding_norm) + int(config.norm_place != "post")
    in_heads = 2 * config.head_dim if config.qk_norm else 0
    return Parameters(
        embedding=(V + stacks * rows) * C,
        attention=L * attentions * (_attention_matrices(config) + _attention_biases(config)),
        feed_forward=L * stacks * (_feed_forward_matrices(config) + _feed_forward_biases(config)),
        norms=(L * for_each * (attentions + stacks) + stacks * outside) * norm
        + L * stacks * in_heads,
        head=0 if config.tied else V * C,
    )


def forward_flops(config: ModelConfig, tokens: int | None = None) -> int:
    """FLOPs that one token costs on average, in a row of `tokens` (the context unless given).

    2 for each weight of a matrix that multiplies it, and 4 D for each key that a head looks at: the
    product with the query and that with the value (arXiv:2204.02311, appendix B, which however
    counts all T keys; here each position has those that its layer's pattern shows it). The scores
    over the vocabulary are counted; looking up an embedding, norms, softmax and activation
    functions are not. `TRAINING` times as many train. Of an encoder-decoder, what one token of the
    source and one of the target cost together, both rows being of that length.
    """
    T = config.context if tokens is None else tokens
    matrices = _inner_matrices(config) + config.vocab_size * config.width
    pairs = sum(
        pairs_seen(config.pattern(layer), T, causal=not config.bidirectional)
        for layer in range(config.n_layer)
    )
    if _is_pair(config):  # all of the source, by itself and by the target
        pairs += 2 * config.n_layer * T * T
    return 2 * matrices + 4 * config.n_head * config.head_dim * pairs // T


def pairs_seen(pattern: Pattern, tokens: int, *, causal: bool = True) -> int:
    """How many (query, key) pairs of a row of `tokens` a layer computes."""
    T, length = tokens, pattern.length
    if not causal:
        return T * T
    if pattern.kind == "dense":
        return _triangle(T)
    blocks, rest = divmod(T, length)
    earlier_blocks = length * _triangle(blocks - 1) + rest * blocks
    if pattern.kind == "fixed":  # the own block so far, and the tails of earlier ones
        own_block = blocks * _triangle(length) + _triangle(rest)
        return own_block + pattern.tail * earlier_blocks
    first = min(T, length)
    band = _triangle(first) + (T - first) * length
    return band + (earlier_blocks if pattern.kind == "strided" else 0)


def memory(config: ModelConfig, *, optimizer: Optimizer = "adamw") -> Memory:
    """What a model takes in memory, in float32, as our training keeps it.

    Adam keeps two moments of each parameter, momentum one and SGD none; Muon keeps one of each
    matrix inside the blocks, and AdamW does the rest. `activations` is an estimate of what a
    forward pass keeps for the backward pass: the inputs of each norm, matrix, activation function
    and attention, and the log-probabilities over the vocabulary, or where all is predicted from the
    left the gradient of the last states instead. It is as if kernels of attention keep no T x T
    scores, and nothing is computed twice to save memory; dropout's masks are not counted.
    `kv_cache` holds keys and values of all layers, those of sliding windows at full length. Of an
    encoder-decoder, these two are for one token of the source and one of the target together.
    """
    stacks, _ = _counts(config)
    count = parameters(config).total
    moments = _MOMENTS.get(optimizer, 2) * count
    moments -= _inner_matrices(config) if optimizer == "muon" else 0
    return Memory(
        weights=NUMBER * count,
        gradients=NUMBER * count,
        optimizer=NUMBER * moments,
        activations=NUMBER * _activations(config),
        kv_cache=NUMBER * stacks * 2 * config.n_layer * config.n_kv_head * config.head_dim,
    )


def _activations(config: ModelConfig) -> int:
    """Numbers that are kept for each token."""
    stacks, attentions = _counts(config)
    C, F = config.width, config.ffn_width
    queries, keys = config.n_head * config.head_dim, config.n_kv_head * config.head_dim
    # The norm's input and result, Q, K, V, and what the heads took, as they lie and side by side.
    attention = 2 * C + queries + 2 * keys + 2 * queries
    turned = (queries + keys) * (config.qk_norm or _is_rotary(config))
    # The norm's input and result; the hidden channels before and after the activation function,
    # and where there is a gate its channels too.
    feed_forward = 2 * C + (3 if _is_gated(config) else 2) * F
    after = C if config.norm_place == "both" else 0
    in_layer = attentions * (attention + after) + stacks * (turned + feed_forward + after)
    at_the_end = 0 if config.norm_place == "post" else 2 * C
    causal = config.objective == "causal" and not config.bidirectional
    scores = C if causal else config.vocab_size
    return config.n_layer * in_layer + stacks * at_the_end + scores


def _counts(config: ModelConfig) -> tuple[int, int]:
    """Stacks of layers, and attentions in all stacks' n-th layer."""
    return (2, 3) if _is_pair(config) else (1, 1)


def _is_pair(config: ModelConfig) -> bool:
    return config.objective == "encoder_decoder"


def _inner_matrices(config: ModelConfig) -> int:
    """Weights that multiply, inside the blocks."""
    stacks, attentions = _counts(config)
    return config.n_layer * (
        attentions * _attention_matrices(config) + stacks * _feed_forward_matrices(config)
    )


def _is_rotary(config: ModelConfig) -> bool:
    return config.positions == "rotary"


def _is_gated(config: ModelConfig) -> bool:
    return config.ffn in ("swiglu", "geglu", "geglu_tanh")


def _attention_matrices(config: ModelConfig) -> int:
    """Weights of one layer that multiply: Q, K, V and the output."""
    return 2 * config.width * (config.n_head + config.n_kv_head) * config.head_dim


def _attention_biases(config: ModelConfig) -> int:
    qkv = (config.n_head + 2 * config.n_kv_head) * config.head_dim
    return {"none": 0, "qkv": qkv}.get(config.bias, qkv + config.width)


def _feed_forward_matrices(config: ModelConfig) -> int:
    return (3 if _is_gated(config) else 2) * config.width * config.ffn_width


def _feed_forward_biases(config: ModelConfig) -> int:
    if config.bias != "all":
        return 0
    return (2 if _is_gated(config) else 1) * config.ffn_width + config.width


def _triangle(n: int) -> int:
    """1 + 2 + ... + n."""
    return n * (n + 1) // 2
