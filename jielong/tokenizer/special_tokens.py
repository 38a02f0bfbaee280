"""The tokens that mean something to the system and that no text can produce.

A user who types `<eos>` gets the characters, not the token: ordinary text is encoded without ever
matching these spellings, so only the chat template can place them.
"""

from typing import NamedTuple


class SpecialTokens(NamedTuple):
    """The ids of the special tokens. They are the first ids of every vocabulary, in this order."""

    pad: int = 0
    bos: int = 1
    eos: int = 2
    system: int = 3
    user: int = 4
    assistant: int = 5

    @property
    def mask(self) -> int:
        """What stands for a hidden token: the slot of `<pad>`.

        No text holds `<pad>`, and where it fills a row it is never attended to (`is_token` says
        where, not the id), so its embedding is free. A token of its own would move all ids.
        """
        return self.pad

    @property
    def delimiter(self) -> int:
        """What stands between two texts of one input (GPT-1's $): the slot of `<user>`."""
        return self.user

    def role(self, name: str) -> int:
        """The token that opens a turn of `name`: "system", "user" or "assistant"."""
        return {"system": self.system, "user": self.user, "assistant": self.assistant}[name]


SPECIAL = SpecialTokens()
SPELLINGS = tuple(f"<{name}>" for name in SpecialTokens._fields)
