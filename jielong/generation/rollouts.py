"""Answers sampled from a policy, laid out for training on exactly the tokens that were sampled."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jielong.core.errors import ConfigError
from jielong.core.processes import told_by_first
from jielong.generation.engine import generate
from jielong.generation.loading import Assistant
from jielong.generation.sampling import Sampling
from jielong.tokenizer.special_tokens import SPECIAL, SpecialTokens


@dataclass(frozen=True)
class Rollouts:
    """B answers. Rows are prompt then answer, padded on the right.

    `ids` (B, T); `lengths` (B,) real tokens of a row; `chosen` (B, T-1) True where the *next* token
    was chosen by the policy; `mask` (B, R) True on each answer's own tokens, its `<eos>` included;
    `finished` (B,) whether it ended by itself; `texts` the answers decoded, for people and rewards.
    """

    ids: Tensor
    lengths: Tensor
    chosen: Tensor
    mask: Tensor
    finished: Tensor
    texts: list[str]

    @property
    def targets(self) -> Tensor:
        """The chosen tokens (N,) in reading order."""
        return self.ids[:, 1:][self.chosen]

    def spread(self, flat: Tensor) -> Tensor:
        """Numbers of the chosen tokens (N,), in reading order, as (B, R) with 0 elsewhere."""
        rows = torch.zeros(self.mask.shape, dtype=flat.dtype, device=flat.device)
        rows[self.mask] = flat
        return rows

    def select(self, rows: Tensor) -> "Rollouts":
        """The rollouts of some rows."""
        return Rollouts(
            ids=self.ids[rows],
            lengths=self.lengths[rows],
            chosen=self.chosen[rows],
            mask=self.mask[rows],
            finished=self.finished[rows],
            texts=[self.texts[row] for row in rows.tolist()],
        )


def collect(assistant: Assistant, prompts: Sequence[Sequence[int]], sampling: Sampling) -> Rollouts:
    """Sample one answer to each prompt, token in, token out: nothing is decoded and encoded again.

    Of several processes the first samples, and all learn from its answers.
    Raises `ConfigError` for a decoding rule under which the recorded policy would not be the one
    that sampled.
    """
    check_sampling(sampling)
    completions = told_by_first(lambda: generate(assistant, prompts, sampling))
    texts = [completion.text for completion in completions]
    answers = [completion.ids for completion in completions]
    device = assistant.model.embedding.weight.device
    return lay_out(prompts, answers, texts, device, assistant.tokenizer.special)


def lay_out(
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    texts: list[str],
    device: torch.device | None = None,
    special: SpecialTokens = SPECIAL,
) -> Rollouts:
    """Put prompts and answers (lists of ids) into rows."""
    lengths = torch.tensor([len(p) + len(a) for p, a in zip(prompts, answers, strict=True)])
    starts = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.full((len(prompts), int(lengths.max())), special.pad)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, : len(prompt) + len(answer)] = torch.tensor([*prompt, *answer])
    place = torch.arange(1, ids.shape[1])
    chosen = (place >= starts[:, None]) & (place < lengths[:, None])
    sizes = lengths - starts
    mask = torch.arange(int(sizes.max())) < sizes[:, None]
    finished = torch.tensor([bool(answer) and answer[-1] == special.eos for answer in answers])
    return Rollouts(
        ids=ids.to(device),
        lengths=lengths.to(device),
        chosen=chosen.to(device),
        mask=mask.to(device),
        finished=finished.to(device),
        texts=texts,
    )


def check_sampling(sampling: Sampling) -> None:
    """Refuse, by name, what makes the sampled distribution differ from softmax(logits / T)."""
    plain = {"strategy": "sample", "top_p": 1.0, "top_k": None, "stop": ()}
    for name, value in plain.items():
        if getattr(sampling, name) != value:
            raise ConfigError(
                f"{name}: {getattr(sampling, name)!r}: rollouts must sample from the whole "
                f"distribution: use {value!r}"
            )
    if sampling.is_greedy:
        raise ConfigError(f"temperature: {sampling.temperature}: rollouts must sample: use 1")
