"""The answers that are put side by side to be ranked: samples, and the faults one fears."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from jielong.core.seeds import python_random
from jielong.data.faults import Fault, faults
from jielong.generation.engine import generate
from jielong.generation.loading import Assistant
from jielong.generation.sampling import Sampling
from jielong.stages.judging import Prompt
from jielong.tokenizer.chat_template import render


@dataclass(frozen=True)
class Candidate:
    """One answer: its text and ids (`<eos>` included), whether it ended, and what made it."""

    text: str
    ids: tuple[int, ...]
    finished: bool
    kind: str = "sample"


def sample_only(
    assistant: Assistant, prompts: Sequence[Prompt], number: int, sampling: Sampling
) -> list[list[Candidate]]:
    """`number` samples for each prompt."""
    ids = [
        render(assistant.tokenizer, prompt.messages, generation_prompt=True).ids
        for prompt in prompts
        for _ in range(number)
    ]
    found = [
        Candidate(completion.text, tuple(completion.ids), completion.finish == "stop")
        for completion in generate(assistant, ids, sampling)
    ]
    return [found[i : i + number] for i in range(0, len(found), number)]


def sample_candidates(
    assistant: Assistant,
    prompts: Sequence[Prompt],
    number: int,
    sampling: Sampling,
    fault_share: float,
) -> list[list[Candidate]]:
    """Samples, the last of which gives way in `fault_share` of the prompts.

    To a real sentence, or to a fault (a loop, another language, a cut): a reward model that never
    saw a loop cannot dislike the loops that a policy will find.
    """
    groups = sample_only(assistant, prompts, number, sampling)
    examples = {lang: [p.example for p in prompts if p.lang == lang] for lang in ("zh", "en")}
    for place, (prompt, group) in enumerate(zip(prompts, groups, strict=True)):
        rng = python_random(sampling.seed, "fault", place)
        if rng.random() < fault_share:
            group[-1] = _planted(assistant, prompt, group[0].text, examples[prompt.lang], rng)
    return groups


def _planted(
    assistant: Assistant, prompt: Prompt, sample: str, others: Sequence[str], rng: Random
) -> Candidate:
    """The prompt's real sentence, or a sample spoilt in one way."""
    made = faults(rng, sample or prompt.example, prompt.lang, others)
    chosen = rng.choice([Fault("demonstration", prompt.example, finished=True), *made])
    tokenizer = assistant.tokenizer
    ends = [tokenizer.special.eos] if chosen.finished else []
    ids = (*tokenizer.encode(chosen.text), *ends)
    return Candidate(chosen.text, ids, chosen.finished, chosen.kind)
