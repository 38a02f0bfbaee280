"""Messages to the ids that the model continues; what cannot fit is refused before any work."""

from dataclasses import dataclass

from jielong.core.errors import ContextLengthError, DataError
from jielong.generation.conversation import fit
from jielong.generation.loading import Trained
from jielong.generation.readers import Speaker
from jielong.server.errors import ApiError
from jielong.tokenizer.chat_template import check, render

Message = dict[str, str]


@dataclass(frozen=True)
class Prompt:
    """`ids` to continue; the `dropped` oldest messages are not in them."""

    ids: list[int]
    dropped: int = 0


class Prompter:
    """Makes prompts for one assistant. A last assistant message is continued, not answered."""

    def __init__(self, assistant: Trained[Speaker]) -> None:
        self._tokenizer = assistant.tokenizer
        self.context = assistant.context
        self._longest_token = max(map(len, assistant.tokenizer.token_bytes))

    def whole(self, messages: list[Message]) -> Prompt:
        """All of the messages, or the error `context_length_exceeded`."""
        turns, beginning = _split(messages)
        self._refuse_hopeless(messages)
        ids = render(self._tokenizer, turns, generation_prompt=True).ids
        ids += self._tokenizer.encode(beginning)
        if len(ids) >= self.context:
            raise self._too_long(str(len(ids)))
        return Prompt(ids)

    def newest(self, messages: list[Message], max_tokens: int) -> Prompt:
        """As many of the newest messages as leave room for an answer; the system's always stays.

        The room is `max_tokens`, but no more than a quarter of the context.
        """
        turns, beginning = _split(messages)
        system = turns[:1] if turns[0]["role"] == "system" else []
        turns = turns[len(system) :]
        # `fit` tokenises what it is given anew for each pair it drops: it gets no hopeless ones.
        sizes = [self._at_least(turn) for turn in turns]
        total, hopeless = sum(sizes), 0
        while total >= self.context and len(turns) - hopeless > 2:
            total -= sizes[hopeless] + sizes[hopeless + 1]
            hopeless += 2
        kept = system + turns[hopeless:]
        self._refuse_hopeless([*kept, {"role": "assistant", "content": beginning}])
        tail = self._tokenizer.encode(beginning)
        room = min(max_tokens, self.context // 4) + len(tail)
        try:
            fitted = fit(self._tokenizer, kept, self.context, room)
        except ContextLengthError as error:
            count = f"{error.tokens + len(tail)}, and {room - len(tail)} are kept for the answer"
            raise self._too_long(count) from None
        return Prompt(fitted.ids + tail, hopeless + fitted.dropped_turns)

    def _at_least(self, message: Message) -> int:
        """A lower bound of a turn's tokens that costs nothing: its role, and the longest tokens."""
        return 1 + -(-len(message["content"].encode()) // self._longest_token)

    def _refuse_hopeless(self, messages: list[Message]) -> None:
        at_least = sum(map(self._at_least, messages))
        if at_least > self.context:
            raise self._too_long(f"at least {at_least}")

    def _too_long(self, count: str) -> ApiError:
        return ApiError(
            f"messages: tokens: {count}: the model's context is {self.context}: "
            "shorten them or send fewer",
            param="messages",
            code="context_length_exceeded",
        )


def _split(messages: list[Message]) -> tuple[list[Message], str]:
    """The turns to answer, and the beginning of the answer where the last turn gives one."""
    try:
        check(messages)
    except DataError as error:
        raise ApiError(str(error), param=str(error).partition(":")[0]) from None
    if messages[-1]["role"] == "assistant":
        return messages[:-1], messages[-1]["content"]
    return messages, ""
