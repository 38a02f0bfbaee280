"""llama.cpp, by a binding that brings it ready built."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import xllamacpp


class Step(NamedTuple):
    """A token that was generated, with the log-probability (nats) of each of the likeliest."""

    token: int
    logp: dict[int, float]


class Engine:
    """A model of a file; keys, values and sums are float32, as ours are."""

    def __init__(self, path: Path, context: int = 128) -> None:
        settings = xllamacpp.CommonParams()
        settings.model.path = str(path)
        settings.n_ctx, settings.n_parallel, settings.warmup = context, 1, False
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.verbosity = 0
        with _quiet():
            self.server = xllamacpp.Server(settings)

    def greedy(self, prompt: list[int] | str, count: int) -> list[Step]:
        """The likeliest `count` tokens, one after the other."""
        answer = self.server.handle_completions(
            {
                "prompt": prompt,
                "n_predict": count,
                "temperature": 0,
                "ignore_eos": True,
                "n_probs": 20,
                "cache_prompt": False,
            }
        )
        steps = answer["choices"][0]["logprobs"]["content"]
        return [
            Step(step["id"], {top["id"]: top["logprob"] for top in step["top_logprobs"]})
            for step in steps
        ]

    def tokens(self, prompt: list[int], count: int) -> list[int]:
        """The likeliest tokens alone, those too that end within a character: `greedy` lacks these,
        as the list of probabilities there is by text."""
        wanted = {"prompt": prompt, "n_predict": count, "temperature": 0, "ignore_eos": True}
        return self._ask("completion", wanted | {"cache_prompt": False, "return_tokens": True})[
            "tokens"
        ]

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        """What a text becomes, `<bos>` before it; with `special` its special tokens are found."""
        wanted = {"content": text, "add_special": True, "parse_special": special}
        return self._ask("tokenize", wanted)["tokens"]

    def conversation(self, messages: list[dict[str, str]]) -> list[int]:
        """The ids of a conversation, laid out by the file's chat template."""
        text = self._ask("apply-template", {"messages": messages})["prompt"]
        return self.ids(text, special=True)

    def _ask(self, what: str, content: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(f"{self.server.listening_address}/{what}", json=content, timeout=60)
        return answer.raise_for_status().json()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What C++ prints does not pass through Python's own standard error."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
