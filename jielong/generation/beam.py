"""Beam search: the most probable *sequence* that a search keeping `beams` prefixes can find."""

import math
from collections.abc import Sequence

import torch

from jielong.generation.continuation import Continuation
from jielong.generation.readers import Speaker
from jielong.generation.sampling import Sampling
from jielong.tokenizer.special_tokens import SPECIAL, SpecialTokens


@torch.no_grad()
def beam_search(
    model: Speaker,
    prompt: Sequence[int],
    sampling: Sampling,
    special: SpecialTokens = SPECIAL,
) -> tuple[list[int], float]:
    """The best answer's ids and its score: log-probability / length^length_penalty.

    Each step extends every prefix by every token and keeps the best `beams` unfinished ones
    (Graves, arXiv:1211.3711); finished ones compete by score. It ends when no unfinished prefix can
    still beat the worst of `beams` finished ones, or at `max_tokens`.
    """
    beams = sampling.beams
    rows = Continuation(model, [prompt], sampling.max_tokens, special)
    steps, device = int(rows.room[0]), rows.room.device
    totals = torch.zeros(1, device=device)
    prefixes: list[list[int]] = [[]]
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, steps + 1):
        logp = rows.scores.log_softmax(dim=-1) + totals[:, None]
        best, places = logp.flatten().topk(min(2 * beams, logp.numel()))
        kept: list[tuple[float, int, int]] = []
        for place, (total, index) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            row, token = divmod(index, logp.shape[1])
            if token == special.eos:
                # An ending below the `beams` best extensions would never have been kept.
                if place < beams:
                    score = total / length**sampling.length_penalty
                    finished.append((score, [*prefixes[row], token]))
            elif len(kept) < beams:
                kept.append((total, row, token))
        finished = sorted(finished, key=lambda pair: -pair[0])[:beams]
        prefixes = [[*prefixes[row], token] for _, row, token in kept]
        totals = torch.tensor([total for total, _, _ in kept], device=device)
        hopeful = kept[0][0] / length**sampling.length_penalty
        if len(finished) == beams and finished[-1][0] >= hopeful:
            break
        if finished and hopeful == -math.inf:  # what is impossible will not win, however long
            break
        if length < steps:
            rows.select(torch.tensor([row for _, row, _ in kept], device=device))
            rows.extend(torch.tensor([token for _, _, token in kept], device=device))
    else:
        scores = (totals / steps**sampling.length_penalty).tolist()
        finished += list(zip(scores, prefixes, strict=True))
    score, ids = max(finished, key=lambda pair: pair[0])
    return ids, score
