"""A trained model's loss on each token of held-out text, and its answers to held-out tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from jielong.baselines.recurrent import Recurrent
from jielong.core.seeds import python_random
from jielong.data.shards import Shard
from jielong.data.tasks import FAMILIES, Item
from jielong.evaluation.statistics import Interval, wilson
from jielong.generation.engine import generate
from jielong.generation.loading import Assistant
from jielong.generation.sampling import Sampling
from jielong.model.transformer import Transformer
from jielong.objectives.loss import token_logp
from jielong.tokenizer.chat_template import render


@torch.no_grad()
def token_nats(
    model: Transformer | Recurrent, shard: Shard, window: int = 256, batch: int = 16
) -> NDArray[np.float64]:
    """-log p of each token of the shard, (N,), in nats; 0 for the first, which nothing precedes.

    Windows overlap by half and only the second half of each counts (the first window counts whole),
    so that every token is predicted from at least window / 2 others.
    """
    model.eval()
    window = min(window, model.config.context)
    device = model.embedding.weight.device
    tokens = torch.from_numpy(shard.tokens.astype(np.int64))
    nats = np.zeros(len(tokens))
    stride = window // 2
    starts = list(range(0, max(1, len(tokens) - 1 - stride), stride))
    for i in range(0, len(starts), batch):
        rows = [tokens[start : start + window + 1] for start in starts[i : i + batch]]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        losses = -token_logp(model(ids[:, :-1]), ids[:, 1:]).double().cpu().numpy()
        for start, row, loss in zip(starts[i : i + batch], rows, losses, strict=True):
            skip = 0 if start == 0 else stride
            nats[start + 1 + skip : start + len(row)] = loss[skip : len(row) - 1]
    return nats


@dataclass(frozen=True)
class FamilyScore:
    """How many of `n` held-out items a model answered right, under a named decoding rule."""

    accuracy: Interval
    n: int
    decoding: str
    answers: list[str]
    right: list[bool]


def score_family(
    assistant: Assistant,
    items: Sequence[Item],
    sampling: Sampling,
    shots: Sequence[Item] = (),
) -> FamilyScore:
    """Ask every item and check the answers with its family's own checker (Wilson interval).

    With `shots` the model is a base model: some of them go before each question as plain text, and
    its answer is the rest of the line.
    """
    if shots:
        prompts = [few_shot(assistant, item, shots, sampling.max_tokens) for item in items]
    else:
        prompts = [
            render(assistant.tokenizer, item.messages, generation_prompt=True).ids for item in items
        ]
    answers = [completion.text for completion in generate(assistant, prompts, sampling)]
    if shots:
        answers = [answer.strip().partition("\n")[0] for answer in answers]
    pairs = zip(items, answers, strict=True)
    right = [FAMILIES[item.family].check(item, answer).score >= 1 for item, answer in pairs]
    decoding = "greedy" if sampling.is_greedy else f"sampled at temperature {sampling.temperature}"
    return FamilyScore(wilson(sum(right), len(right)), len(right), decoding, answers, right)


def few_shot(
    assistant: Assistant, item: Item, shots: Sequence[Item], reserve: int, number: int = 4
) -> list[int]:
    """`number` solved items of the same language and the question, as lines of plain text.

    Which ones is drawn by the item's id. The oldest leave when the context is too short.
    """
    random = python_random(0, "few-shot", item.id)
    same = [shot for shot in shots if shot.lang == item.lang] or list(shots)
    chosen = [same[random.randrange(len(same))] for _ in range(number)]
    asked, told = ("问：", "答：") if item.lang == "zh" else ("Q: ", "A: ")
    texts = []
    for shot in [*chosen, item]:
        turns = [
            (asked if turn["role"] == "user" else told) + turn["content"] for turn in shot.messages
        ]
        texts.append("\n".join(turns) + f"\n{told}{'' if shot is item else shot.demonstration}")
    room = assistant.context - reserve - 1
    while True:
        ids = assistant.tokenizer.encode("\n\n".join(texts).rstrip(" "))
        if len(ids) <= room or len(texts) == 1:
            return [*assistant.tokenizer.begins, *ids[-room:]]
        texts = texts[1:]
