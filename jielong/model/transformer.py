"""The transformer: one trunk for models that look back, both ways, or at an encoder as well."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from jielong.model.attention import Memory
from jielong.model.block import Block
from jielong.model.config import ModelConfig
from jielong.model.kv_cache import KVCache
from jielong.model.lora import LoraLinear
from jielong.model.norm import make_norm
from jielong.model.positions import Rotary, sinusoids
from jielong.model.readout import surprisal
from jielong.model.visibility import look


class Transformer(nn.Module):
    """Embedding, blocks, final norm, scores over the vocabulary.

    Matrices start as N(0, 1/fan_in); where norms come first, those that write into the residual
    stream start at zero, so each block begins as the identity and depth costs nothing at first
    (arXiv:1901.09321, its first rule). Elsewhere a zero would meet a norm, which has no slope there
    that can be used: those start at N(0, 1/fan_in) over sqrt(2 L) (arXiv:1904.10509, section 5.2;
    as GPT-2's do). The embedding starts as N(0, 1/width): the scores
    that a tied model reads with it are then of order one.
    """

    def __init__(self, config: ModelConfig, *, cross: bool = False) -> None:
        super().__init__()
        self.config = config
        self.recomputes = False
        self.compiled: Callable[..., Tensor] | None = None
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self._make_positions(config)
        if config.segments:
            self.segment_embedding = nn.Embedding(config.segments, config.width)
        self.embedding_norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(config, layer, cross=cross) for layer in range(config.n_layer)
        )
        # With norms after each sub-layer the last one has been applied already.
        self.norm = nn.Identity() if config.norm_place == "post" else make_norm(config)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab_size, bias=False)
        self.apply(_initialise)
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.output.weight", "cross.output.weight", "down.weight")):
                _start_writer(parameter, config)

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        *,
        is_token: Bool[Tensor, "B T"] | None = None,
        documents: Int[Tensor, "B T"] | None = None,
        prefix: Int[Tensor, "B"] | None = None,
        segments: Int[Tensor, "B T"] | None = None,
        cache: KVCache | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "B T C"]:
        """The final normed states (B, T, C) of `ids` (B, T).

        `is_token` (B, T) is False on padding (left or right), which then changes nothing: positions
        count tokens only, and padding is never attended to. With a `cache` the ids continue what
        it holds, and it is extended. Or else `documents` (B, T) numbers the texts that share a row,
        and none sees another. (Rotary positions run on along the row, for attention then knows only
        how far apart two tokens are; others begin anew in each text.) The first `prefix` (B,)
        tokens of a row see each other both ways. `segments` (B, T) are counted from the
        configuration's `turn_ids` unless they are given. `memory` is for a decoder with an encoder.
        """
        sight = look(
            ids,
            causal=not self.config.bidirectional,
            is_token=is_token,
            documents=documents,
            prefix=prefix,
            cache=cache,
        )
        x = self._embed(ids, sight.queries, documents, segments, cache)
        reach = ids.shape[1] + (0 if cache is None else cache.length)
        angles = [rotary(sight.queries, reach) for rotary in self.rotaries]
        run = _run_block
        if torch.is_grad_enabled():
            if self.compiled is not None and cache is None and sight.rule is None:
                run = self.compiled
            if self.recomputes:
                run = partial(checkpoint, run, use_reentrant=False)
        for block in self.blocks:
            turned = angles[-1 if block.windowed else 0] if angles else None
            x = run(block, x, turned, sight, cache, memory)
        if cache is not None:
            cache.length += ids.shape[1]
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "*N C"]) -> Float[Tensor, "*N V"]:
        """Scores over the vocabulary (..., V) of states (..., C)."""
        return F.linear(hidden, self.embedding.weight) if self.head is None else self.head(hidden)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        *,
        is_token: Bool[Tensor, "B T"] | None = None,
        documents: Int[Tensor, "B T"] | None = None,
        prefix: Int[Tensor, "B"] | None = None,
        select: Bool[Tensor, "B T"] | None = None,
        targets: Int[Tensor, "N"] | None = None,
    ) -> Tensor:
        """Scores (B, T, V) of each position; `is_token`, `documents`, `prefix` as in `hidden`.

        With `select` (B, T) only those positions are scored, as (N, V) in reading order: the
        vocabulary is the largest product of a small model, so positions without a target skip it.
        With their `targets` (N,) as well, what comes back is -log p of these in nats, summed.
        """
        hidden = self.hidden(ids, is_token=is_token, documents=documents, prefix=prefix)
        if select is not None:
            hidden = hidden.flatten(0, 1) if select.all() else hidden[select]
        if targets is None:
            return self.logits(hidden)
        if isinstance(self.head, LoraLinear):  # whose scores are not those of one matrix
            return F.cross_entropy(self.logits(hidden), targets, reduction="sum")
        readout = self.embedding if self.head is None else self.head
        return surprisal(hidden, readout.weight, targets)

    def surprisal(
        self,
        ids: Int[Tensor, "B T"],
        targets: Int[Tensor, "N"],
        *,
        select: Bool[Tensor, "B T"],
        documents: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, ""]:
        """-log p in nats, summed over the `targets` (N,) of the selected positions."""
        return self(ids, select=select, documents=documents, targets=targets)

    def _make_positions(self, config: ModelConfig) -> None:
        rotaries = []
        if config.positions == "rotary":
            rotaries.append(Rotary(config))
            if config.rope.local_base is not None:
                rotaries.append(Rotary(config, local=True))
        self.rotaries = nn.ModuleList(rotaries)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context, config.width)
        elif config.positions == "sinusoidal":
            table = sinusoids(config.context, config.width)
            self.register_buffer("sinusoids", table, persistent=False)

    def _embed(
        self,
        ids: Tensor,
        positions: Tensor,
        documents: Tensor | None,
        segments: Tensor | None,
        cache: KVCache | None,
    ) -> Tensor:
        x = self.embedding(ids)
        if self.config.scale_embedding:
            x = x * self.config.embedding_factor
        if documents is not None:
            positions = _within(documents)
        if self.config.positions == "learned":
            x = x + self.position_embedding(positions)
        elif self.config.positions == "sinusoidal":
            x = x + self.get_buffer("sinusoids")[positions]
        if self.config.segments:
            x = x + self.segment_embedding(
                self._speakers(ids, documents, cache) if segments is None else segments
            )
        return self.dropout(self.embedding_norm(x))

    def _speakers(self, ids: Tensor, documents: Tensor | None, cache: KVCache | None) -> Tensor:
        """The segment (B, T) of who speaks: by the token of `turn_ids` that came last, if one did.

        The n-th of these, from 1, begins what is in segment n; before any it is segment 0.
        """
        opens = ids[..., None] == torch.tensor(self.config.turn_ids, device=ids.device)
        numbers = (opens * torch.arange(1, opens.shape[-1] + 1, device=ids.device)).sum(-1)
        places = torch.arange(ids.shape[1], device=ids.device)
        last = torch.where(numbers > 0, places, -1).cummax(dim=1).values
        start = 0 if documents is None else places - _within(documents)
        before = 0 if cache is None else cache.speaker[:, None]
        found = numbers.gather(1, last.clamp(min=0)) % self.config.segments
        found = torch.where(last >= start, found, before)
        if cache is not None:
            cache.speaker = found[:, -1]
        return found


def recompute_activations(module: nn.Module) -> None:
    """From now on keep of each block its input alone, and compute the rest again for the backward
    pass (arXiv:1604.06174, section 4.1): less memory, more time, the same gradients."""
    for each in module.modules():
        if isinstance(each, Transformer):
            each.recomputes = True


def compile_blocks(module: nn.Module) -> None:
    """From now on training passes run PyTorch's compiled form of a block, made at the first one.

    That is for passes of one shape, with no rule but the order; all others run as before.
    """
    run = torch.compile(_run_block, dynamic=False)
    for each in module.modules():
        if isinstance(each, Transformer):
            each.compiled = run


def _run_block(block: nn.Module, *given: Any) -> Tensor:  # noqa: ANN401 - as `Block.forward`
    return block(*given)


def _within(documents: Tensor) -> Tensor:
    """(B, T): how far each position is from where its document begins in the row."""
    places = torch.arange(documents.shape[1], device=documents.device)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return places - torch.where(begins, places, 0).cummax(dim=1).values


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)


def _start_writer(weight: nn.Parameter, config: ModelConfig) -> None:
    if config.norm_place == "pre":
        nn.init.zeros_(weight)
    else:
        with torch.no_grad():
            weight.mul_((2 * config.n_layer) ** -0.5)
