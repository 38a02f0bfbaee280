"""SFT: teach a base model to answer from demonstrations, without forgetting the language."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from jielong.core.config import check_positive
from jielong.core.device import default_device
from jielong.core.progress import say
from jielong.core.run_dir import RunDir, open_finished
from jielong.core.seeds import derive
from jielong.data.chat_rows import ChatRows, Cut, Rows, survey
from jielong.data.conversations import Conversation, mixture, read_jsonl
from jielong.data.lexicon import Lexicon
from jielong.data.shards import Shard
from jielong.generation.loading import Assistant, load_assistant, save_model
from jielong.model.lora import LoraConfig, add_adapters, targets
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.stages.held_out import held_out_loss
from jielong.stages.learning import check_machine, make_learner
from jielong.stages.pretrain import check_window, document_parts
from jielong.training.learner import Part
from jielong.training.loop import Plan, run_training, totals
from jielong.training.optimizers import OptimizerConfig
from jielong.training.plan import LoopConfig
from jielong.training.settings import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """What to teach, and how much of the base model's own text to mix in.

    `families` are shares of the task mixture; `conversations` the user's own JSONL files, which
    make up `own_share` of all conversations. A step sees `batch` conversations in rows of at most
    `longest` tokens, `packed` several to a row, and `document_batch` windows of plain text, whose
    mean loss weighs `document_weight`. With `keep_best` the loss on held-out conversations of the
    families is measured at each checkpoint, and the best one is kept. With `lora` the base model
    stays as it is, and adapters are learned.
    """

    run_dir: str
    init_from: str
    data: str
    prepared: str
    seed: int = 0
    steps: int
    batch: int = 24
    longest: int = 160
    packed: bool = False
    document_batch: int = 2
    document_window: int = 256
    document_weight: float = 0.5
    families: dict[str, float] = field(default_factory=dict)
    conversations: tuple[str, ...] = ()
    own_share: float = 0.5
    save_every: int = 500
    keep_best: bool = False
    loop: LoopConfig = field(default_factory=LoopConfig)
    optimizer: OptimizerConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    lora: LoraConfig | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_positive(self, "steps", "batch", "longest", "save_every")
        check_positive(self, "document_batch", "document_window")
        if not self.families and not self.conversations:
            raise ValueError("families: empty, and no conversations: give at least one of the two")
        if self.keep_best and not self.families:
            raise ValueError("keep_best: measured on families, and there are none: leave it out")


def run(config: SFTConfig, *, resume: bool | str = False) -> Path:
    """Fine-tune; returns the run directory with its finished model."""
    check_machine(config.training)
    base = open_finished(config.init_from, "pretrain")
    data = open_finished(config.data, "tokenize")
    prepared = open_finished(config.prepared, "prepare")
    inputs = {"init_from": base.path, "data": data.path, "prepared": prepared.path}
    inputs |= {f"conversations.{i}": Path(path) for i, path in enumerate(config.conversations)}
    assistant = load_assistant(base.path)
    check_window("document_window", config.document_window, assistant.context)
    if config.lora is not None:
        targets(assistant.model, config.lora)
    # Read all of the user's files first: a bad line must leave no half-begun run behind.
    lexicon = Lexicon.load(prepared.path / "lexicon.json")
    rows, cut = _chat_rows(config, lexicon, assistant)
    held_out = _held_out(config, lexicon, assistant) if config.keep_best else None
    run = RunDir.create(
        config.run_dir,
        stage="sft",
        config=config,
        inputs=inputs,
        resume=resume,
        may_change=("loop",),
    )
    if cut.exchanges:
        say(cut.describe(rows.longest))
    torch.manual_seed(derive(config.seed, "sft"))
    model = assistant.model.train()
    if config.lora is not None:
        add_adapters(model, config.lora)
    learner = make_learner(model, config.optimizer, config.training, config.steps)
    documents = document_parts(
        Shard.load(data.path / "train.npz").tokens,
        config.document_batch,
        config.document_window,
        derive(config.seed, "sft"),
        config.document_weight,
        "document",
    )

    def parts(step: int) -> list[Part]:
        return [_chat(rows, step), *([documents(step)] if config.document_weight else [])]

    plan = Plan(
        steps=config.steps,
        save_every=config.save_every,
        headline="chat_loss",
        guarded="chat_loss",
        held_out_loss=held_out,
        loop=config.loop,
    )
    run_training(run, learner, parts, plan)
    with learner.averaged():
        found = totals(run.path) | save_model(run.path, model, assistant.tokenizer)
    run.finish(found | {"cut_exchanges": cut.exchanges, "cut_answers": cut.answers})
    return run.path


def _chat_rows(config: SFTConfig, lexicon: Lexicon, assistant: Assistant) -> tuple[ChatRows, Cut]:
    """The batches of conversations, and what of the conversations is in none of them."""
    own = [talk for path in config.conversations for talk in read_jsonl(Path(path))]
    tasks = mixture(lexicon, "train", config.families, config.seed) if config.families else None
    longest = min(config.longest, assistant.context)
    cut = survey(assistant.tokenizer, [*own, *(tasks.talks() if tasks else ())], longest)

    def conversation(index: int) -> Conversation:
        """Number `index` comes from the task mixture or from the user's files."""
        chosen = derive(config.seed, "source", index) % 1000 < 1000 * config.own_share
        if tasks is None or (own and chosen):
            return own[derive(config.seed, "own", index) % len(own)]
        return tasks.conversation(index)

    rows = ChatRows(
        assistant.tokenizer, conversation, config.batch, longest, config.seed, config.packed
    )
    return rows, cut


def _held_out(config: SFTConfig, lexicon: Lexicon, assistant: Assistant) -> Callable[[], float]:
    """Measures the loss on conversations about words of the dev side."""
    talks = mixture(lexicon, "dev", config.families, config.seed)
    longest = min(config.longest, assistant.context)
    rows = ChatRows(
        assistant.tokenizer, talks.conversation, config.batch, longest, config.seed, config.packed
    )
    return held_out_loss(assistant.model, lambda step: _chat(rows, step))


def _chat(rows: ChatRows, step: int) -> Part:
    return Part([_on_device(batch) for batch in rows(step)], next_token_loss, 1.0, "chat")


def _on_device(rows: Rows) -> TokenBatch:
    arrays = [array for array in rows if array is not None]
    return TokenBatch(*(torch.from_numpy(array).to(default_device()) for array in arrays))
