"""What `/v1/chat/completions` accepts, strictly: a number is a number, never a text or a boolean.

A field that we do not know is ignored and named in the answer's header; one that we know but do not
support is refused, for its answer would not be what was asked for.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from jielong.server.errors import ApiError, shown, unreadable

# Refused unless the value is one of these, which ask for nothing; null always asks for nothing.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "chat_template_kwargs": ({},),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "ignore_eos": (False,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "return_lineage": (False,),
    "return_token_ids": (False,),
    "stop_token_ids": ([],),
    "suffix": ("",),
    "timings": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "web_search_options": (),
}
_UNSUPPORTED_IN_MESSAGE = ("audio", "function_call", "tool_calls")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST_NAMES = 32


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")


def _text_or_list(value: Any) -> str | None:  # noqa: ANN401 - whatever was sent
    return {str: "(text)", list: "(list)"}.get(type(value))


_Choice = Discriminator(
    _text_or_list,
    custom_error_type="text_or_list",
    custom_error_message="should be a text or a list",
)


class TextPart(_Strict):
    """One piece of a message; other kinds of pieces are not understood by a text model."""

    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    """One turn; `developer` is OpenAI's newer name for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[str, Tag("(text)")] | Annotated[list[TextPart], Tag("(list)")], _Choice
    ]

    def plain(self) -> dict[str, str]:
        """The turn as the chat template takes it."""
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return {"role": role, "content": self.content}
        return {"role": role, "content": "".join(part.text for part in self.content)}


class StreamOptions(_Strict):
    """`include_usage`: a last chunk with the counts of tokens."""

    include_usage: bool | None = None
    continuous_usage_stats: Literal[False] | None = None


_StopText = Annotated[str, Field(min_length=1, max_length=256)]


class ChatRequest(_Strict):
    """The body of a chat completion; `top_k` and `context_overflow` are ours.

    `top_k` 0 or -1 keeps all tokens. `context_overflow` "drop_oldest" lets the oldest turns go when
    the messages do not fit, and the answer's `jielong.dropped_messages` tells how many went.
    """

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=4096)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: (
        Annotated[
            Annotated[_StopText, Tag("(text)")]
            | Annotated[list[_StopText], Field(max_length=16), Tag("(list)")],
            _Choice,
        ]
        | None
    ) = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    continue_final_message: bool | None = None
    context_overflow: Literal["error", "drop_oldest"] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings, however they were sent."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def include_usage(self) -> bool:
        """Whether a stream is to end with the counts of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def ignored(self) -> list[str]:
        """The fields that changed nothing, as far as a header can carry their names."""
        names = [name for name, value in (self.model_extra or {}).items() if value is not None]
        names = [name for name in names if name not in _UNSUPPORTED]
        return sorted(filter(_HEADER_NAME.fullmatch, names))[:_MOST_NAMES]


def parse(body: bytes) -> ChatRequest:
    """Read a request, or raise the `ApiError` that names the first wrong field."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise unreadable(error) from None
    for name, value in (request.model_extra or {}).items():
        if name in _UNSUPPORTED and not _asks_nothing(value, _UNSUPPORTED[name]):
            raise _unsupported(name, value)
    for i, message in enumerate(request.messages):
        for name in _UNSUPPORTED_IN_MESSAGE:
            value = (message.model_extra or {}).get(name)
            if value:
                raise _unsupported(f"messages[{i}].{name}", value)
    if request.stream_options is not None and not request.stream:
        raise ApiError(
            "stream_options: only with stream: true: add it or leave the options out",
            param="stream_options",
        )
    if request.continue_final_message and request.messages[-1].role != "assistant":
        raise ApiError(
            "continue_final_message: true: the last message has to be an assistant's",
            param="continue_final_message",
        )
    return request


def _asks_nothing(value: Any, neutral: tuple[Any, ...]) -> bool:  # noqa: ANN401
    # True == 1 in Python; in JSON they are different things.
    return value is None or any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in neutral
    )


def _unsupported(param: str, value: Any) -> ApiError:  # noqa: ANN401
    return ApiError(
        f"{param}: {shown(value)}: not supported by this server: leave it out",
        param=param,
        code="unsupported_field",
    )
