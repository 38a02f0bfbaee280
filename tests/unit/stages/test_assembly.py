"""Each stage run once, in seconds: what the parts promise still holds when put together."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jielong.core import config as configs
from jielong.core.errors import ConfigError, TrainingDivergedError
from jielong.core.run_dir import RunDir, open_run, read_metrics
from jielong.data.lexicon import Lexicon
from jielong.data.shards import Shard
from jielong.feedback import records
from jielong.feedback.rewards import Answers, ModelReward
from jielong.generation.experience import PPOSettings
from jielong.generation.loading import load_assistant, load_reward_model
from jielong.stages import ppo, pretrain, reward, sft, tokenize
from jielong.stages.judging import sentences
from jielong.stages.ppo_batches import RolloutConfig
from jielong.tokenizer.bpe import Tokenizer
from jielong.tokenizer.chat_template import render
from jielong.training.checkpoint import latest, load_weights
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig
from jielong.training.settings import TrainingConfig
from tests.tiny import config

WORDS = [f"{a}{b}" for a in "天地人山水火木金土日" for b in "月风云花鸟虫鱼龙虎马"]
OPTIMIZER = OptimizerConfig(lr=1e-2)
STILL = OptimizerConfig(lr=0.0)


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0


def prepare(path: Path) -> None:
    """What the first stage leaves: two files of documents, and a lexicon."""
    run = RunDir.create(path, stage="prepare", config=Config())
    (path / "documents").mkdir()
    texts = [f"他说{word}很好,我们都看见了{word}。\n" * 3 for word in WORDS]
    for name, chosen in (("train", texts[:90]), ("valid", texts[90:])):
        rows = [{"id": f"{i}", "text": t, "lang": "zh"} for i, t in enumerate(chosen)]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (path / "documents" / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    found = [{"text": f"他说{word}很好。", "lang": "zh", "source": "own"} for word in WORDS]
    Lexicon(sentences=found, words_zh=WORDS).save(path / "lexicon.json")
    run.finish()


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole chain up to the reward model; the model drops out, as an SFT model may."""
    top = tmp_path_factory.mktemp("chain")
    prepare(top / "prepare")
    tokenize.run(
        tokenize.TokenizeConfig(
            run_dir=f"{top}/tokenize", documents=f"{top}/prepare", vocab_size=350
        )
    )
    pretrain.run(
        pretrain.PretrainConfig(
            run_dir=f"{top}/pretrain",
            data=f"{top}/tokenize",
            steps=3,
            batch=2,
            window=24,
            model=config(vocab_size=0, context=96, dropout=0.3, tied=False),
            optimizer=replace(OPTIMIZER, kind="muon"),
        )
    )
    sft.run(
        sft.SFTConfig(
            run_dir=f"{top}/sft",
            init_from=f"{top}/pretrain",
            data=f"{top}/tokenize",
            prepared=f"{top}/prepare",
            steps=3,
            batch=4,
            longest=90,
            document_window=24,
            families={"sentence": 1.0},
            optimizer=OPTIMIZER,
        )
    )
    reward.run(
        reward.RewardConfig(
            run_dir=f"{top}/reward",
            init_from=f"{top}/sft",
            data=f"{top}/tokenize",
            prepared=f"{top}/prepare",
            train_prompts=24,
            opinions=2,
            fit_prompts=12,
            max_tokens=8,
            batch=8,
            optimizer=OPTIMIZER,
        )
    )
    return top


def test_each_prompt_is_ranked_by_as_many_people_as_asked(top: Path) -> None:
    found = records.read(top / "reward" / "rankings.jsonl", records.Ranking)
    people: dict[str, set[str]] = {}
    for ranking in found:
        people.setdefault(ranking.responses[0].id, set()).add(ranking.annotator)
    assert [len(who) for who in people.values()] == [2] * 24
    assert len({ranking.id for ranking in found}) == len(found) == 48
    assert len(set(map(tuple, people.values()))) > 2  # not always the same two


def test_more_opinions_than_people_and_weights_in_parts_are_refused() -> None:
    config = {"run_dir": "x", "init_from": "x", "data": "x", "prepared": "x"}
    with pytest.raises(ValueError, match="opinions: 6: must be at most annotators 5"):
        reward.RewardConfig(**config, opinions=6, optimizer=OPTIMIZER)
    split = TrainingConfig(parallel="fsdp")
    with pytest.raises(ValueError, match=r"training\.parallel: 'fsdp'.* use 'ddp'"):
        reward.RewardConfig(**config, training=split, optimizer=OPTIMIZER)


def ppo_config(top: Path, name: str, **changes: object) -> ppo.PPOConfig:
    settings: dict = {
        "run_dir": f"{top}/{name}",
        "init_from": f"{top}/sft",
        "data": f"{top}/tokenize",
        "prepared": f"{top}/prepare",
        "reward_run": f"{top}/reward",
        "rollout": RolloutConfig(iterations=1, batch=8, minibatch=4, max_tokens=6),
        "optimizer": STILL,
        "value_lr": 0.0,
    }
    return ppo.PPOConfig(**settings | changes)


@pytest.fixture(scope="module")
def still(top: Path) -> Path:
    """A PPO run whose rates are zero: its last checkpoint is what it started from."""
    return ppo.run(ppo_config(top, "still"))


def test_tokenize_packs_every_document(top: Path) -> None:
    read = Tokenizer.load(top / "tokenize")
    for name, documents in (("train", 90), ("valid", 10)):
        shard = Shard.load(top / "tokenize" / f"{name}.npz")
        lines = (top / "prepare" / "documents" / f"{name}.jsonl").read_text().splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        assert len(shard.starts) == documents
        ends = [*shard.starts[1:].tolist(), len(shard.tokens)]
        pieces = zip(shard.starts.tolist(), ends, strict=True)
        assert [read.decode(shard.tokens[a:b].tolist()) for a, b in pieces] == texts
        assert shard.text_bytes.tolist() == [len(text.encode()) for text in texts]
        written = open_run(top / "tokenize").manifest[name]
        assert (written["documents"], written["tokens"]) == (documents, len(shard.tokens))


def test_every_stage_names_what_it_came_from(top: Path, still: Path) -> None:
    for name in ("tokenize", "pretrain", "sft", "reward", "still"):
        manifest = open_run(top / name).manifest
        assert manifest["finished"]
        assert manifest["inputs"]
    assert [m["step"] for m in read_metrics(top / "sft")] == [1, 2, 3]
    assert {"chat_loss", "document_loss"} <= set(read_metrics(top / "sft")[0])


def test_R4_the_reward_model_has_no_dropout(top: Path) -> None:
    model, _ = load_reward_model(top / "reward")
    assert load_assistant(top / "sft").model.config.dropout == 0.3
    ids = torch.randint(6, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.train()(ids), model.eval()(ids))


def demonstrations_score(top: Path, run: Path) -> torch.Tensor:
    """What a run's reward model gives each demonstration."""
    model, tokenizer = load_reward_model(run)
    prompts = sentences(Lexicon.load(top / "prepare" / "lexicon.json"), "train")[:256]
    rows = [
        render(tokenizer, [*p.messages, {"role": "assistant", "content": p.example}]).ids
        for p in prompts
    ]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return ModelReward(model)(Answers(ids, lengths, [], []))


def test_R5_demonstrations_score_zero_in_the_mean(top: Path) -> None:
    scores = demonstrations_score(top, top / "reward")
    assert abs(scores.mean().item()) < 1e-4
    assert scores.std() > 1e-3


def test_a_reward_model_may_be_an_average_taught_in_pieces(top: Path) -> None:
    """And its demonstrations score zero in the mean all the same."""
    written = configs.load(reward.RewardConfig, top / "reward" / "config.toml")
    training = TrainingConfig(micro_batch=3, activation_checkpointing=True, ema_decay=0.5)
    path = reward.run(replace(written, run_dir=f"{top}/reward-average", training=training))
    rankings = [(run / "rankings.jsonl").read_bytes() for run in (top / "reward", path)]
    assert rankings[0] == rankings[1]
    losses = [[m["loss"] for m in read_metrics(run)] for run in (top / "reward", path)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    kept = load_file(latest(path) / "training.safetensors")
    saved = load_file(path / "model" / "model.safetensors")
    for name in saved.keys() - {"shift", "scale"}:
        assert torch.equal(saved[name], kept[f"learner.average.{name}"])
    assert abs(demonstrations_score(top, path).mean().item()) < 1e-4


def test_X4_policy_and_average_begin_as_the_sft_model(top: Path, still: Path) -> None:
    first, sft_model = load_weights(latest(still)), load_assistant(top / "sft").model
    for name, tensor in sft_model.state_dict().items():
        assert torch.equal(first[f"policy.{name}"], tensor)
        assert torch.equal(first[f"average.{name}"], tensor)


def test_L5_the_value_network_begins_as_the_calibrated_reward_model(top: Path, still: Path) -> None:
    first = load_weights(latest(still))
    model, _ = load_reward_model(top / "reward")
    assert model.shift != 0
    for name, tensor in model.state_dict().items():
        assert torch.equal(first[f"value.{name}"], tensor)


def test_P4_P1_without_a_step_every_ratio_is_one_and_every_kl_zero(still: Path) -> None:
    """In training mode, from a model that was made with dropout."""
    metrics = read_metrics(still)
    assert len(metrics) == 4
    assert metrics[0]["kl_nats"] == 0
    for step in metrics:
        assert step["ratio_max"] == pytest.approx(1, abs=1e-5)
        assert step["approx_kl_nats"] == pytest.approx(0, abs=1e-9)
        assert step["clip_share"] == 0


def test_L6_the_model_that_is_kept_is_the_average(top: Path) -> None:
    run = ppo.run(ppo_config(top, "average", optimizer=OPTIMIZER, average_decay=0.5))
    weights = load_weights(latest(run))
    kept = load_file(run / "model" / "model.safetensors")
    for name, tensor in kept.items():
        assert torch.equal(tensor, weights[f"average.{name}"])
    assert not torch.equal(kept["embedding.weight"], weights["policy.embedding.weight"])


def test_L6_muon_is_refused(top: Path) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.kind: 'muon'"):
        ppo.run(ppo_config(top, "muon", optimizer=replace(OPTIMIZER, kind="muon")))
    assert not (top / "muon").exists()


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_C1_a_ppo_run_that_was_cut_is_the_straight_run(
    top: Path, ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in the second of four iterations: rollouts, beta, ptx weight and average go on."""
    settings: dict = {
        "optimizer": OPTIMIZER,
        "value_lr": 1e-2,
        "save_every": 4,
        "rollout": RolloutConfig(
            iterations=4, batch=8, minibatch=4, max_tokens=6, kl_target=0.5, kl_limit=1e9
        ),
        "settings": PPOSettings(beta=0.1),
        "ptx": ppo.PtxConfig(ratio=ratio, batch=2, window=24),
    }
    straight = ppo.run(ppo_config(top, f"straight-{ratio}", **settings))
    broken = ppo_config(top, f"broken-{ratio}", **settings)
    log, seen = RunDir.log, []

    def cut(self: RunDir, metrics: dict) -> None:
        seen.append(metrics)
        if len(seen) == 7:
            raise RuntimeError("as if the power had failed")
        log(self, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", cut)
        with pytest.raises(RuntimeError, match="power"):
            ppo.run(broken)
    torch.rand(5)
    resumed = ppo.run(broken, resume=True)
    ends = [
        {file.name: file.read_bytes() for file in latest(run).iterdir()}
        for run in (straight, resumed)
    ]
    assert ends[0] == ends[1]
    final = open_run(resumed).manifest["final"]
    assert final == open_run(straight).manifest["final"]
    assert final["beta"] != 0.1
    assert (final["ptx_weight"] > 0) == bool(ratio)


def test_a_ppo_run_that_diverges_begins_an_iteration_again(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 6 fails once: steps 5 and 6 are left out, though step 5 samples for its iteration."""
    update, failures = Learner.update, [TrainingDivergedError("step 6: as if: lower the rate")]

    def failing(self: Learner, *parts: Part) -> dict[str, float]:
        if self.step == 5 and failures:
            raise failures.pop()
        return update(self, *parts)

    monkeypatch.setattr(Learner, "update", failing)
    rollout = RolloutConfig(iterations=2, batch=8, minibatch=4, max_tokens=6)
    run = ppo.run(ppo_config(top, "diverged", rollout=rollout, save_every=4))
    lines = read_metrics(run)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["step"] for line in lines if "skipped" in line] == [5, 6]
    assert [line["step"] for line in lines if "reward_mean" in line] == [1, 5]
    [event] = open_run(run).manifest["diverged"]
    assert event == {"step": 6, "reason": "as if", "back_to": 4, "left_out": [5, 6]}
