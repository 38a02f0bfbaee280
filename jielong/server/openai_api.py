"""OpenAI's chat routes. Order of work: validate, tokenise, check the context, queue, begin the
answer, and only then the first header: so what is wrong with a request is told by its status.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from jielong.core.errors import DataError, JielongError
from jielong.generation.engine import Completion
from jielong.generation.loading import Trained
from jielong.generation.readers import NgramSpeaker, Speaker
from jielong.generation.sampling import Sampling
from jielong.server.engine_thread import EngineClosedError, EngineThread, Job, QueueFullError
from jielong.server.errors import ApiError, busy, internal, shown
from jielong.server.prompts import Prompt, Prompter
from jielong.server.schemas import ChatRequest, parse

_WAIT_COMMENT_S = 10.0
_COLDEST = 1e-3
_ENDLESS = 4096  # tokens: a model without a context may never come to an end by itself
_DRAINED_BODIES = 8  # a client that is still sending hears no answer: read on for a while
_RESTART_S = 5
_STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


@dataclass(frozen=True)
class Service:
    """What the routes share."""

    assistant: Trained[Speaker]
    engine: EngineThread
    fingerprint: str
    max_body_bytes: int
    created: int


def make_router(service: Service) -> APIRouter:
    """The routes under /v1, and /health."""
    router = APIRouter()
    prompter = Prompter(service.assistant)

    @router.get("/health")
    async def health() -> Response:
        if not service.engine.is_ready:
            return JSONResponse({"status": "unavailable"}, 503, {"retry-after": str(_RESTART_S)})
        return JSONResponse({"status": "ok"})

    @router.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [_describe(service)]})

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        _check_model(service, name)
        return JSONResponse(_describe(service))

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        asked = parse(await _body(request, service.max_body_bytes))
        _check_model(service, asked.model)
        answer = _Answer(service, asked, _prompt(prompter, asked))
        answer.job = _submit(service.engine, answer)
        watcher = asyncio.create_task(_cancel_when_gone(request, service.engine, answer.job))
        if asked.stream:
            await _begin(answer, watcher)
            return StreamingResponse(
                _events(answer, watcher),
                media_type="text/event-stream",
                headers=answer.headers | _STREAM_HEADERS,
            )
        return JSONResponse(await _whole(answer, watcher), headers=answer.headers)

    return router


class _Answer:
    """One request on its way: what was asked, and the parts that its answer repeats."""

    job: Job

    def __init__(self, service: Service, asked: ChatRequest, prompt: Prompt) -> None:
        self.engine = service.engine
        self.asked = asked
        self.prompt = prompt
        self.frame = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": service.assistant.name,
            "system_fingerprint": service.fingerprint,
        }
        room = service.assistant.context - len(prompt.ids)
        if isinstance(service.assistant.model, NgramSpeaker):
            room = min(room, _ENDLESS)
        self.sampling, clamped = _sampling(asked, room)
        self.headers = {"x-jielong-clamped": clamped} if clamped else {}
        if asked.ignored:
            self.headers["x-jielong-ignored"] = ", ".join(asked.ignored)

    @property
    def extension(self) -> dict[str, Any]:
        """What we add for those who allowed messages to be dropped."""
        if self.asked.context_overflow != "drop_oldest":
            return {}
        return {"jielong": {"dropped_messages": self.prompt.dropped}}

    def usage(self, completion: Completion) -> dict[str, int]:
        """Ids fed and ids sampled, the hidden ones included."""
        prompt, sampled = len(self.prompt.ids), len(completion.ids)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": sampled,
            "total_tokens": prompt + sampled,
        }


async def _whole(answer: _Answer, watcher: asyncio.Task) -> dict[str, Any]:
    """The answer in one piece."""
    try:
        text = "".join([piece async for piece in answer.job.texts(_WAIT_COMMENT_S)])
    except JielongError as error:
        raise _failure(error) from None
    finally:
        watcher.cancel()
        answer.engine.cancel(answer.job)
    completion = answer.job.completion or Completion()
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": completion.finish,
    }
    return {
        **answer.frame,
        "object": "chat.completion",
        "choices": [choice],
        "usage": answer.usage(completion),
        **answer.extension,
    }


async def _begin(answer: _Answer, watcher: asyncio.Task) -> None:
    """Wait for the first piece, though not for long: headers tell a client that it was heard."""
    try:
        await answer.job.begin(_WAIT_COMMENT_S)
    except JielongError as error:
        watcher.cancel()
        raise _failure(error) from None


async def _events(answer: _Answer, watcher: asyncio.Task) -> AsyncIterator[bytes]:
    """The answer as server-sent events; a failure on the way is an event too, without [DONE]."""
    frame = {**answer.frame, "object": "chat.completion.chunk"}
    if answer.asked.include_usage:
        frame["usage"] = None
    extra = answer.extension
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    try:
        async for text in answer.job.texts(_WAIT_COMMENT_S):
            if not text:
                yield b": wait\n\n"
                continue
            delta["content"] = text
            yield _event({**frame, "choices": [_choice(delta)], **extra})
            delta, extra = {}, {}
        completion = answer.job.completion or Completion()
        # An empty answer has said its role nowhere yet.
        yield _event({**frame, "choices": [_choice(delta, completion.finish)], **extra})
        if answer.asked.include_usage:
            yield _event({**frame, "choices": [], "usage": answer.usage(completion)})
        yield b"data: [DONE]\n\n"
    except JielongError as error:
        yield _event(_failure(error).body)
    finally:
        watcher.cancel()
        answer.engine.cancel(answer.job)


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


async def _cancel_when_gone(request: Request, engine: EngineThread, job: Job) -> None:
    """Without this an answer that is not streamed would be made to its end for nobody."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    engine.cancel(job)
    job.tell(Completion())


async def _body(request: Request, limit_bytes: int) -> bytes:
    """The body, if it is JSON and not too large."""
    media_type = request.headers.get("content-type", "")
    if media_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(
            f"content-type: {shown(media_type)}: send application/json",
            status=415,
            code="content_type",
        )
    body, size_bytes = bytearray(), 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes <= limit_bytes:
            body += chunk
        elif size_bytes > _DRAINED_BODIES * limit_bytes:
            break
    if size_bytes > limit_bytes:
        raise ApiError(
            f"body: more than {limit_bytes} bytes: send less", status=413, code="body_too_large"
        )
    return bytes(body)


def _prompt(prompter: Prompter, asked: ChatRequest) -> Prompt:
    messages = [message.plain() for message in asked.messages]
    if asked.context_overflow != "drop_oldest":
        return prompter.whole(messages)
    wanted = asked.max_completion_tokens or asked.max_tokens
    return prompter.newest(messages, wanted or prompter.context)


def _sampling(asked: ChatRequest, room: int) -> tuple[Sampling, str]:
    """The decoding rule, and `field=tokens` when more was asked for than the context has left."""
    field = "max_tokens" if asked.max_completion_tokens is None else "max_completion_tokens"
    wanted = getattr(asked, field) or room
    temperature = 1.0 if asked.temperature is None else asked.temperature
    sampling = Sampling(
        # Scores divided by next to nothing overflow; long before that the answer is the greedy one.
        temperature=temperature if temperature >= _COLDEST else 0.0,
        top_k=asked.top_k if asked.top_k and asked.top_k > 0 else None,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        max_tokens=min(wanted, room),
        seed=secrets.randbits(63) if asked.seed is None else asked.seed,
        stop=asked.stops,
    )
    return sampling, f"{field}={room}" if wanted > room else ""


def _submit(engine: EngineThread, answer: _Answer) -> Job:
    try:
        return engine.submit(answer.prompt.ids, answer.sampling)
    except JielongError as error:
        raise _failure(error) from None


def _failure(error: JielongError) -> ApiError:
    """What the engine could not do, as the client is told."""
    if isinstance(error, QueueFullError):
        return busy(str(error), "queue_full", error.retry_after_s)
    if isinstance(error, EngineClosedError):
        return busy(str(error), "shutting_down", _RESTART_S)
    if isinstance(error, DataError):
        return ApiError(str(error), param="messages")
    return internal()


def _check_model(service: Service, name: str) -> None:
    if name != service.assistant.name:
        raise ApiError(
            f"model: {shown(name)}: not served here: choose {service.assistant.name}",
            status=404,
            param="model",
            code="model_not_found",
        )


def _describe(service: Service) -> dict[str, Any]:
    assistant = service.assistant
    return {
        "id": assistant.name,
        "object": "model",
        "created": service.created,
        "owned_by": "jielong",
        "jielong": {
            "context_length": assistant.context,
            "parameters": sum(p.numel() for p in assistant.model.parameters()),
        },
    }
