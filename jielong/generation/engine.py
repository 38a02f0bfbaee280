"""Many prompts to many answers at once, in one batch. Chat, evaluation and rollouts use this."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from jielong.core.errors import ConfigError, ContextLengthError
from jielong.core.seeds import generator
from jielong.generation.beam import beam_search
from jielong.generation.loading import Assistant
from jielong.generation.readers import Speaker, context_of, open_reader
from jielong.generation.sampling import Sampling, choose
from jielong.tokenizer.bpe import StreamDecoder
from jielong.tokenizer.special_tokens import SPECIAL


@dataclass
class Completion:
    """What one prompt got: `ids` (its `<eos>` included), their log-probabilities, why it ended."""

    ids: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    finish: str = "length"
    text: str = ""


def generate(
    assistant: Assistant, prompts: Sequence[Sequence[int]], sampling: Sampling, batch: int = 128
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
            eos = assistant.tokenizer.special.eos
            for row, token, logp in decode(assistant.model, chunk, sampling, start, eos):
                _extend(completions[row], token, logp, eos)
            results += completions
    for completion in results:
        completion.text = assistant.tokenizer.decode(completion.ids)
    return results


def stream(
    assistant: Assistant, prompt: Sequence[int], sampling: Sampling
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
        eos = assistant.tokenizer.special.eos
        for _, token, logp in decode(assistant.model, [prompt], sampling, eos=eos):
            _extend(completion, token, logp, eos)
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
    eos: int = SPECIAL.eos,
) -> Iterator[tuple[int, int, float]]:
    """Yield (row, token, log-probability) until every row has ended; finished rows leave the batch.

    Raises `ContextLengthError` when a prompt leaves no room for an answer. A row ends with `<eos>`,
    after `max_tokens`, or at the end of the context.
    """
    context = context_of(model)
    longest = max(len(prompt) for prompt in prompts)
    if longest >= context:
        raise ContextLengthError(
            f"the prompt has {longest} tokens and the model's context is {context}: shorten it",
            tokens=longest,
            context=context,
        )
    # Each row's own room: how far it may go must not depend on who shares the batch.
    room = torch.tensor([context - len(prompt) for prompt in prompts])
    room = room.clamp(max=sampling.max_tokens)
    steps = int(room.max())
    reader = open_reader(model, len(prompts), longest + steps)
    scores = reader.read(*_left_pad(prompts, longest))
    uniforms = _uniforms(sampling.seed, first_row, len(prompts), steps).to(scores.device)
    room = room.to(scores.device)
    rows = torch.arange(len(prompts), device=scores.device)
    for step in range(steps):
        tokens, logps = choose(scores, sampling, uniforms[rows, step])
        yield from zip(rows.tolist(), tokens.tolist(), logps.tolist(), strict=True)
        going = (tokens != eos) & (step + 1 < room[rows])
        if not going.any():
            return
        if not going.all():
            kept = going.nonzero().squeeze(1)
            rows, tokens = rows[kept], tokens[kept]
            reader.select(kept)
        scores = reader.read(tokens[:, None])


def _extend(completion: Completion, token: int, logp: float, eos: int) -> None:
    completion.ids.append(token)
    completion.logps.append(logp)
    if token == eos:
        completion.finish = "stop"


def _beam(assistant: Assistant, prompt: Sequence[int], sampling: Sampling) -> Completion:
    eos = assistant.tokenizer.special.eos
    ids, score = beam_search(assistant.model, prompt, sampling, eos)
    ended = bool(ids) and ids[-1] == eos
    return Completion(ids=ids, logps=[score], finish="stop" if ended else "length")


def _left_pad(prompts: Sequence[Sequence[int]], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.full((len(prompts), length), SPECIAL.pad)
    is_token = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :] = torch.tensor(prompt)
        is_token[row, length - len(prompt) :] = True
    return ids, is_token


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
