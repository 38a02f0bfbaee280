"""Rankings as batches of token rows: all answers of a prompt together."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from jielong.core.device import default_device
from jielong.core.errors import DataError
from jielong.core.seeds import generator
from jielong.feedback import records
from jielong.objectives.preference import RankingBatch
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import render


@dataclass(frozen=True)
class Ranked:
    """One prompt's answers as rows of ids, and each annotator's ranks of them, 0 for none."""

    id: str
    rows: list[list[int]]
    ranks: list[list[int]]


class RankingBatches:
    """`batches(step)`: whole prompts, each with all of its answers, in another order each epoch.

    Rankings of the same answers by several annotators are one prompt, with one row an answer. An
    epoch leaves out the last prompts of its order that fill no batch.
    """

    def __init__(
        self, rankings: Sequence[records.Ranking], tokenizer: Tokenizer, batch: int, seed: int
    ) -> None:
        self.prompts = [encode(group, tokenizer) for group in by_answers(rankings)]
        self.batch, self.seed = min(batch, len(self.prompts)), seed
        self.pad = tokenizer.special.pad
        self.per_epoch = len(self.prompts) // self.batch
        self.tokens = sum(len(row) for prompt in self.prompts for row in prompt.rows)

    def __call__(self, step: int) -> RankingBatch:
        """The prompts of one step."""
        epoch, place = divmod(step, self.per_epoch)
        order = generator(self.seed, "rankings", epoch).permutation(len(self.prompts))
        chosen = [self.prompts[i] for i in order[place * self.batch : (place + 1) * self.batch]]
        return collate(chosen, self.pad)


def by_answers(rankings: Sequence[records.Ranking]) -> list[list[records.Ranking]]:
    """The rankings of the same answers (by id, text and end) to the same prompt, together."""
    groups: dict[Hashable, list[records.Ranking]] = defaultdict(list)
    for ranking in rankings:
        asked = tuple((turn["role"], turn["content"]) for turn in ranking.messages)
        answers = frozenset((a.id, a.text, a.finish) for a in ranking.responses)
        groups[ranking.prompt_id, asked, answers].append(ranking)
    return list(groups.values())


def encode(rankings: Sequence[records.Ranking], tokenizer: Tokenizer) -> Ranked:
    """The ranked answers' rows of ids and their ranks; an `<eos>` only where the answer ended.

    Recorded ids are used when they are this tokenizer's: text encoded again may give others.
    """
    prompt = render(tokenizer, rankings[0].messages, generation_prompt=True).ids
    orders = [
        {answer.id: rank for answer, rank in zip(r.responses, r.ranks, strict=True)}
        for r in rankings
    ]
    ranked = [a for a in rankings[0].responses if any(order[a.id] for order in orders)]
    rows = [[*prompt, *_answer_ids(answer, tokenizer)] for answer in ranked]
    return Ranked(
        rankings[0].id, rows, [[order[answer.id] or 0 for answer in ranked] for order in orders]
    )


def _answer_ids(response: records.Response, tokenizer: Tokenizer) -> list[int]:
    if response.ids is not None and response.tokenizer_sha == tokenizer.sha256:
        return list(response.ids)
    ends = [tokenizer.special.eos] if response.finish == "stop" else []
    return tokenizer.encode(response.text) + ends


def check_lengths(prompts: Sequence[Ranked], context: int) -> None:
    """Refuse rankings whose rows the model cannot see whole."""
    for prompt in prompts:
        longest = max(map(len, prompt.rows), default=0)
        if longest > context:
            raise DataError(
                f"ranking {prompt.id}: an answer has {longest} tokens with its prompt, and the "
                f"model's context is {context}: leave this ranking out"
            )


def collate(prompts: Sequence[Ranked], pad: int) -> RankingBatch:
    """Prompts with their ranked answers' ids as one batch, padded on the right."""
    rows = [row for prompt in prompts for row in prompt.rows]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), pad)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    annotators = max(len(prompt.ranks) for prompt in prompts)
    ranks = torch.zeros(
        len(prompts), annotators, max(len(prompt.rows) for prompt in prompts), dtype=torch.long
    )
    for i, prompt in enumerate(prompts):
        ranks[i, : len(prompt.ranks), : len(prompt.rows)] = torch.tensor(prompt.ranks)
    device = default_device()
    return RankingBatch(ids.to(device), lengths.to(device), ranks.to(device))
