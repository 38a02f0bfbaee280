"""Who is asked what, and who judges it: prompts, the gold labeller, and verifiable rewards.

Tasks live in `data` and the labeller in `feedback`, which do not know each other; they meet here.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from jielong.baselines.ngram import NgramModel
from jielong.core import config as configs
from jielong.core.errors import DataError
from jielong.core.files import write_atomic
from jielong.data.lexicon import Lexicon
from jielong.data.prompts import sentence_prompts
from jielong.data.tasks import FAMILIES, Item, Split
from jielong.data.tasks.base import Message
from jielong.feedback.gold import Annotators, Answer, GoldScorer, Scale
from jielong.feedback.rewards import FunctionReward
from jielong.tokenizer.bpe import Tokenizer

FLUENCY, SCALE = "fluency.npz", "gold.json"
_PROMPT_SEED = 0


@dataclass(frozen=True)
class Prompt:
    """One question to a policy. `item` is set where a checker knows the right answers."""

    id: str
    group: str
    lang: str
    messages: tuple[Message, ...]
    constraints: dict[str, str]
    example: str
    item: Item | None = None


def sentences(lexicon: Lexicon, split: Split) -> list[Prompt]:
    """ "Write a sentence with the word X": what the gold labeller judges."""
    found = sentence_prompts(lexicon, split, _PROMPT_SEED)
    return [Prompt(p.id, p.group, p.lang, p.messages, p.constraints, p.example) for p in found]


def chains(lexicon: Lexicon, split: Split) -> list[Prompt]:
    """Idiom chains, whose answers can be looked up; each idiom in up to two wordings."""
    found = {}
    for seed in (_PROMPT_SEED, _PROMPT_SEED + 1):
        for item in FAMILIES["idiom_chain"].items(lexicon, split, seed):
            asked = item.messages[-1]["content"]
            name, group = f"{item.id}:{asked}", item.keys[0]
            found[name] = Prompt(
                name, group, item.lang, item.messages, {}, item.demonstration, item
            )
    return list(found.values())


@dataclass(frozen=True)
class Judge:
    """The lexicon's prompts, the noise-free gold scorer, and people who judge nearly as it does."""

    lexicon: Lexicon
    scorer: GoldScorer
    annotators: Annotators

    def prompts(self, chain: bool, split: Split) -> list[Prompt]:
        """The prompts of one split."""
        return (chains if chain else sentences)(self.lexicon, split)

    def gold(self, prompts: list[Prompt], texts: list[str], finished: list[bool]) -> np.ndarray:
        """The gold score of each answer, (B,)."""
        rows = zip(prompts, texts, finished, strict=True)
        return self.scorer.scores([Answer(p.constraints, text, done) for p, text, done in rows])

    def gold_reward(self) -> FunctionReward:
        """The gold labeller as a reward: what a perfect reward model would say."""
        return FunctionReward(
            lambda prompt, text, done: float(
                self.scorer.scores([Answer(prompt.constraints, text, done)])[0]
            )
        )

    def chain_reward(self) -> FunctionReward:
        """1 for an idiom that follows, 0 for anything else."""
        check = FAMILIES["idiom_chain"].check
        return FunctionReward(lambda prompt, text, _done: check(prompt.item, text).score)


def fluency_of(model: NgramModel, tokenizer: Tokenizer):  # noqa: ANN201 - a function of text
    """Mean log-probability of a text's tokens, in nats, as a document of its own."""

    def fluency(text: str) -> float:
        tokens = np.array([tokenizer.special.bos, *tokenizer.encode(text)])
        return float(model.logp(tokens)[1:].mean()) if len(tokens) > 1 else 0.0

    return fluency


def save_judge(run: Path, model: NgramModel, scorer: GoldScorer, people: Annotators) -> None:
    """Keep what the gold labeller learned, so that every later stage asks the same one."""
    model.save(run / FLUENCY)
    kept = {
        "scale": asdict(scorer.scale),
        "tastes": people.tastes.tolist(),
        "temperatures": people.temperatures.tolist(),
        "tie": people.tie,
    }
    write_atomic(run / SCALE, json.dumps(kept, indent=1) + "\n")


def load_judge(prepared: Path, reward_run: Path, tokenizer: Tokenizer) -> Judge:
    """The judge that a reward run kept."""
    file = reward_run / SCALE
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        scale = configs.parse(Scale, kept["scale"])
        people = Annotators(np.array(kept["tastes"]), np.array(kept["temperatures"]), kept["tie"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file}: damaged ({error}): run the reward stage anew") from None
    fluency = fluency_of(NgramModel.load(reward_run / FLUENCY), tokenizer)
    return Judge(Lexicon.load(prepared / "lexicon.json"), GoldScorer(fluency, scale), people)
