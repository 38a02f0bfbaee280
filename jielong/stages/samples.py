"""What a model writes while it is trained, for a person to see it learn."""

from dataclasses import dataclass

from jielong.core.config import check_positive
from jielong.core.processes import is_first
from jielong.core.progress import say
from jielong.core.run_dir import RunDir
from jielong.core.seeds import derive
from jielong.generation.engine import generate
from jielong.generation.loading import Trained
from jielong.generation.sampling import Sampling
from jielong.training.distributed import gathered, is_sharded
from jielong.training.learner import Learner
from jielong.training.loop import Hook

SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """After each `every` steps (0 is never) every prompt is continued by `tokens` tokens.

    At `temperature` 0 the likeliest token is always taken.
    """

    every: int = 0
    prompts: tuple[str, ...] = ("今天", "第一", "The ", "In ")
    tokens: int = 32
    temperature: float = 0.7

    def __post_init__(self) -> None:
        """Refuse what writes nothing."""
        check_positive(self, "tokens")
        if self.every < 0:
            raise ValueError(f"every: {self.every}: must not be negative")
        if self.every and not self.prompts:
            raise ValueError("prompts: empty: give at least one text to continue")


def sampler(config: SampleConfig, run: RunDir, trained: Trained, seed: int) -> list[Hook]:
    """The hook that writes `samples.jsonl`, or none.

    Generation draws from streams of its own, so training is the same with it and without.
    """
    if not config.every:
        return []
    tokenizer = trained.tokenizer
    prompts = [[*tokenizer.begins, *tokenizer.encode(prompt)] for prompt in config.prompts]

    def hook(learner: Learner, _metrics: dict[str, float]) -> None:
        # Where weights are in parts, all processes have to gather them; else one can write alone.
        if learner.step % config.every or not (is_first() or is_sharded(trained.model)):
            return
        sampling = Sampling(
            temperature=config.temperature,
            max_tokens=config.tokens,
            seed=derive(seed, "samples", learner.step),
        )
        with gathered(trained.model):
            written = generate(trained, prompts, sampling)
        for prompt, found in zip(config.prompts, written, strict=True):
            run.sample({"step": learner.step, "prompt": prompt, "text": found.text})
            line = (prompt + found.text).replace("\n", " ")
            say(f"step {learner.step}: {line[:SHOWN]}")

    return [hook]
