"""What the ladder shows beside its bits per byte: samples, word neighbours, translations, talk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from jielong.baselines.seq2seq import Seq2Seq
from jielong.baselines.word2vec import Vectors, analogy, neighbours
from jielong.data.sentence_pairs import SentencePair
from jielong.data.shards import Shard
from jielong.evaluation.ladder_summary import (
    Near,
    Nearest,
    Sample,
    Translation,
    Translator,
    Turn,
)
from jielong.evaluation.translation import chrf
from jielong.generation.engine import generate
from jielong.generation.loading import Trained
from jielong.generation.readers import NO_LIMIT, RuleSpeaker, Speaker
from jielong.generation.sampling import Sampling
from jielong.objectives.loss import cross_entropy
from jielong.objectives.sequence_to_sequence import SourceTarget
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import render

_SEEN = 20  # times: the vector of a rarer token is hardly more than where it started


def samples(
    models: Mapping[str, Trained[Speaker]], prompts: Sequence[str], sampling: Sampling
) -> tuple[Sample, ...]:
    """How each model goes on after each prompt, under one decoding rule."""
    texts: dict[str, list[str]] = {}
    for name, assistant in models.items():
        tokenizer = assistant.tokenizer
        ids = [[tokenizer.special.bos, *tokenizer.encode(prompt)] for prompt in prompts]
        texts[name] = [completion.text for completion in generate(assistant, ids, sampling)]
    return tuple(
        Sample(prompt=prompt, texts={name: found[i] for name, found in texts.items()})
        for i, prompt in enumerate(prompts)
    )


@dataclass(frozen=True)
class Words:
    """The tokens that may be asked for and found: whole characters or words, seen often enough."""

    tokenizer: Tokenizer
    among: NDArray[np.int64]

    @classmethod
    def of(cls, tokenizer: Tokenizer, train: Shard) -> "Words":
        """Those of a corpus."""
        seen = np.bincount(train.tokens, minlength=tokenizer.vocab_size)
        texts = [text.decode("utf-8", errors="ignore") for text in tokenizer.token_bytes]
        among = [
            token
            for token, text in enumerate(texts)
            if seen[token] >= _SEEN and text.strip().isalpha() and len(text.encode()) > 1
        ]
        return cls(tokenizer, np.array(among, dtype=np.int64))

    def token(self, word: str) -> int | None:
        """The token that `word` is, behind a blank where the language writes one."""
        for text in (f" {word}", word) if word.isascii() else (word,):
            ids = self.tokenizer.encode(text)
            if len(ids) == 1 and ids[0] in self.among:
                return ids[0]
        return None

    def text(self, token: int) -> str:
        """The characters of a token."""
        return self.tokenizer.decode([token]).strip()


def nearest(
    words: Words, vectors: Mapping[str, Vectors], query: Sequence[str], number: int
) -> Nearest:
    """What lies nearest to one word, or to a - b + c for three, in each model's vectors."""
    tokens = [token for word in query if (token := words.token(word)) is not None]
    title = " ".join(query) if len(query) == 1 else "{} − {} + {}".format(*query)
    if len(tokens) < len(query):
        return Nearest(query=title, found={})
    found = {}
    for name, matrix in vectors.items():
        if len(tokens) == 1:
            best = neighbours(matrix, tokens[0], number, words.among)
        else:
            best = analogy(matrix, tokens[0], tokens[1], tokens[2], number, words.among)
        found[name] = tuple(Near(token=words.text(t), cosine=cosine) for t, cosine in best)
    return Nearest(query=title, found=found)


@dataclass(frozen=True)
class Climbed:
    """A translator as it was trained."""

    assistant: Trained[Speaker]
    seconds: float
    steps: int
    size: int


@torch.no_grad()
def translate(
    climbed: Climbed, pairs: Sequence[SentencePair], batch: SourceTarget, sampling: Sampling
) -> tuple[Translator, list[str]]:
    """Measure a translator on held-out `pairs`, which `batch` holds too; and its translations."""
    assistant, model = climbed.assistant, climbed.assistant.model
    assert isinstance(model, Seq2Seq)
    logits = model(
        batch.source, batch.inputs, source_is_token=batch.source_is_token, select=batch.counts
    )
    targets = batch.targets[batch.counts]
    loss = cross_entropy(logits, targets)
    ids = [assistant.tokenizer.encode(pair.zh) for pair in pairs]
    texts = [completion.text.strip() for completion in generate(assistant, ids, sampling)]
    items = float(loss.items)
    result = Translator(
        name=assistant.name,
        attention=model.config.attention,
        chrf=chrf(texts, [pair.en for pair in pairs]),
        accuracy=float((logits.argmax(dim=-1) == targets).sum()) / items,
        nats=float(loss.total) / items,
        seconds=climbed.seconds,
        steps=climbed.steps,
        size=climbed.size,
    )
    return result, texts


def examples(
    pairs: Sequence[SentencePair], texts: Mapping[str, Sequence[str]], number: int
) -> tuple[Translation, ...]:
    """The first few held-out sentences as each translator has them."""
    return tuple(
        Translation(zh=pair.zh, en=pair.en, texts={name: found[i] for name, found in texts.items()})
        for i, pair in enumerate(pairs[:number])
    )


def dialogue(rules: Trained[RuleSpeaker], said: Sequence[str]) -> tuple[Turn, ...]:
    """One conversation with the rules, through the same engine as every model's."""
    turns: list[Turn] = []
    messages: list[dict[str, str]] = []
    for line in said:
        messages.append({"role": "user", "content": line})
        ids = render(rules.tokenizer, messages, generation_prompt=True).ids
        answer = generate(rules, [ids], Sampling(strategy="greedy", max_tokens=NO_LIMIT))[0].text
        messages.append({"role": "assistant", "content": answer})
        turns.append(Turn(said=line, answer=answer))
    return tuple(turns)
