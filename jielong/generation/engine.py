"""Many prompts to many answers at once, on one KV cache. Chat, evaluation and rollouts use this."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from jielong.core.errors import ConfigError
from jielong.core.seeds import generator
from jielong.generation.beam import beam_search
from jielong.generation.continuation import Continuation
from jielong.generation.loading import Trained
from jielong.generation.readers import Speaker
from jielong.generation.sampling import Sampling, choose
from jielong.tokenizer.bpe import StreamDecoder
from jielong.tokenizer.special_tokens import SPECIAL, SpecialTokens


@dataclass
class Completion:
    """What one prompt got: `ids` (its `<eos>` included), their log-probabilities, why it ended."""

    ids: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    finish: str = "length"
    text: str = ""


def generate(
    assistant: Trained[Speaker],
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    batch: int = 128,
) -> list[Completion]:
    """Answer every prompt, `batch` rows at a time; shorter prompts are padded on the left.

    The same seed gives the same answers; each row draws from its own stream of random numbers.
    """
    if sampling.stop:
        raise ConfigError(f"stop: {sampling.stop}: only a streamed answer can end at a text")
    results: list[Completion] = []
    with _evaluating(assistant.model):
        for start in range(0, len(prompts), batch):
            chunk = prompts[start : start + batch]
            if sampling.strategy == "beam":
                results += [_beam(assistant, prompt, sampling) for prompt in chunk]
                continue
            completions = [Completion() for _ in chunk]
            special = assistant.tokenizer.special
            for row, token, logp in decode(assistant.model, chunk, sampling, start, special):
                _extend(completions[row], token, logp, special.eos)
            results += completions
    for completion in results:
        completion.text = assistant.tokenizer.decode(completion.ids)
    return results


def stream(
    assistant: Trained[Speaker], prompt: Sequence[int], sampling: Sampling
) -> Iterator[tuple[str, Completion]]:
    """Answer one prompt as it is made: a pair of (new text, the completion so far) for each token.

    Text leaves in whole characters; a stop string is cut off, and what might become one is held
    back until it is decided. Beam search knows its answer only at the end, and gives it at once.
    """
    completion = Completion()
    decoder = StreamDecoder(assistant.tokenizer)
    pending = ""
    with _evaluating(assistant.model):
        if sampling.strategy == "beam":
            completion = _beam(assistant, prompt, sampling)
            completion.text = assistant.tokenizer.decode(completion.ids)
            yield completion.text, completion
            return
        special = assistant.tokenizer.special
        for _, token, logp in decode(assistant.model, [prompt], sampling, special=special):
            _extend(completion, token, logp, special.eos)
            pending += decoder.push(token)
            place = _first(pending, sampling.stop)
            if place is not None:
                completion.finish = "stop"
                pending = pending[:place]
                break
            held = _held(pending, sampling.stop)
            text, pending = pending[: len(pending) - held], pending[len(pending) - held :]
            completion.text += text
            yield text, completion
        else:
            pending += decoder.finish()
    completion.text += pending
    yield pending, completion


@torch.no_grad()
def decode(
    model: Speaker,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    first_row: int = 0,
    special: SpecialTokens = SPECIAL,
) -> Iterator[tuple[int, int, float]]:
    """Yield (row, token, log-probability) until every row has ended; finished rows leave the batch.

    Raises `ContextLengthError` when a prompt leaves no room for an answer. A row ends with `<eos>`,
    after `max_tokens`, or at the end of the context.
    """
    growing = Continuation(model, prompts, sampling.max_tokens, special)
    steps, device = int(growing.room.max()), growing.room.device
    uniforms = _uniforms(sampling.seed, first_row, len(prompts), steps).to(device)
    rows = torch.arange(len(prompts), device=device)
    for step in range(steps):
        tokens, logps = choose(growing.scores, sampling, uniforms[rows, step])
        yield from zip(rows.tolist(), tokens.tolist(), logps.tolist(), strict=True)
        going = (tokens != special.eos) & (step + 1 < growing.room)
        if not going.any():
            return
        if not going.all():
            kept = going.nonzero().squeeze(1)
            rows, tokens = rows[kept], tokens[kept]
            growing.select(kept)
        growing.extend(tokens)


def _extend(completion: Completion, token: int, logp: float, eos: int) -> None:
    completion.ids.append(token)
    completion.logps.append(logp)
    if token == eos:
        completion.finish = "stop"


def _beam(assistant: Trained[Speaker], prompt: Sequence[int], sampling: Sampling) -> Completion:
    special = assistant.tokenizer.special
    ids, score = beam_search(assistant.model, prompt, sampling, special)
    ended = bool(ids) and ids[-1] == special.eos
    return Completion(ids=ids, logps=[score], finish="stop" if ended else "length")


def _uniforms(seed: int, first_row: int, rows: int, steps: int) -> torch.Tensor:
    """(rows, steps) numbers in [0, 1): each row's own stream, whoever its neighbours are."""
    streams = [generator(seed, "row", first_row + row).random(steps) for row in range(rows)]
    return torch.from_numpy(np.stack(streams))


def _first(text: str, stops: Sequence[str]) -> int | None:
    """Where the earliest stop string begins, if there is one."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(places, default=None)


def _held(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end could still become a stop string."""
    longest = max((len(stop) for stop in stops), default=0) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return size
    return 0


@contextmanager
def _evaluating(model: Speaker) -> Iterator[None]:
    """Dropout off inside the block; the model's mode is given back after it."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
