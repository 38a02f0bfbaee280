"""Rankings as batches of token rows: all answers of a prompt together."""

from collections.abc import Sequence

import torch

from jielong.core.device import default_device
from jielong.core.errors import DataError
from jielong.core.seeds import generator
from jielong.feedback import records
from jielong.objectives.preference import RankingBatch
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import render

Encoded = tuple[list[list[int]], list[int]]


class RankingBatches:
    """`batches(step)`: whole prompts, each with all of its answers, in another order each epoch.

    An epoch leaves out the last prompts of its order that fill no batch.
    """

    def __init__(
        self, rankings: Sequence[records.Ranking], tokenizer: Tokenizer, batch: int, seed: int
    ) -> None:
        self.rows = [encode(ranking, tokenizer) for ranking in rankings]
        self.batch, self.seed, self.pad = min(batch, len(rankings)), seed, tokenizer.special.pad
        self.per_epoch = len(self.rows) // self.batch
        self.tokens = sum(len(row) for answers, _ in self.rows for row in answers)

    def __call__(self, step: int) -> RankingBatch:
        """The prompts of one step."""
        epoch, place = divmod(step, self.per_epoch)
        order = generator(self.seed, "rankings", epoch).permutation(len(self.rows))
        chosen = [self.rows[i] for i in order[place * self.batch : (place + 1) * self.batch]]
        return collate(chosen, self.pad)


def encode(ranking: records.Ranking, tokenizer: Tokenizer) -> Encoded:
    """The ranked answers' rows of ids and their ranks; an `<eos>` only where the answer ended.

    Recorded ids are used when they are this tokenizer's: text encoded again may give others.
    """
    prompt = render(tokenizer, ranking.messages, generation_prompt=True).ids
    rows, ranks = [], []
    for response, rank in zip(ranking.responses, ranking.ranks, strict=True):
        if rank is None:
            continue
        if response.ids is not None and response.tokenizer_sha == tokenizer.sha256:
            ids = list(response.ids)
        else:
            ends = [tokenizer.special.eos] if response.finish == "stop" else []
            ids = tokenizer.encode(response.text) + ends
        rows.append([*prompt, *ids])
        ranks.append(rank)
    return rows, ranks


def check_lengths(
    rankings: Sequence[records.Ranking], rows: Sequence[Encoded], context: int
) -> None:
    """Refuse rankings whose rows the model cannot see whole."""
    for ranking, (answers, _) in zip(rankings, rows, strict=True):
        longest = max(map(len, answers), default=0)
        if longest > context:
            raise DataError(
                f"ranking {ranking.id}: an answer has {longest} tokens with its prompt, and the "
                f"model's context is {context}: leave this ranking out"
            )


def collate(prompts: Sequence[Encoded], pad: int) -> RankingBatch:
    """Prompts with their ranked answers' ids as one batch, padded on the right."""
    rows = [row for answers, _ in prompts for row in answers]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), pad)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    ranks = torch.zeros(len(prompts), max(len(order) for _, order in prompts), dtype=torch.long)
    for i, (_, order) in enumerate(prompts):
        ranks[i, : len(order)] = torch.tensor(order)
    device = default_device()
    return RankingBatch(ids.to(device), lengths.to(device), ranks.to(device))
