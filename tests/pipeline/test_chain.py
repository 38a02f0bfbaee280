"""From raw text to an assistant through the command line, each stage better than the one before."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from jielong.baselines.ngram import NgramModel
from jielong.data.lexicon import Lexicon
from jielong.data.shards import Shard
from jielong.evaluation.language_modeling import score_ngram
from jielong.evaluation.summary import Summary, read_summary
from jielong.stages.judging import chains
from jielong.tokenizer.bpe import Tokenizer
from tests.pipeline.conftest import jielong, serving

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def summary(chain: Path) -> Summary:
    return read_summary(chain / "summary.json")


def wins(chain: Path) -> dict[str, dict]:
    rows = json.loads((chain / "evaluation" / "win_rates.json").read_text())
    return {row["name"]: row for row in rows}


def test_pretraining_learns_more_than_word_counts(chain: Path, summary: Summary) -> None:
    data = chain / "tokenize"
    train, valid = Shard.load(data / "train.npz"), Shard.load(data / "valid.npz")
    unigram = NgramModel.fit(train.tokens, 1, Tokenizer.load(data).vocab_size)
    assert summary.bits_per_byte is not None
    assert summary.bits_per_byte.model < score_ngram(valid, unigram).overall.estimate - 0.3


def test_no_document_is_in_both_splits(chain: Path) -> None:
    texts = {}
    for name in ("train", "valid"):
        lines = (chain / "prepare" / "documents" / f"{name}.jsonl").read_text().splitlines()
        texts[name] = {json.loads(line)["text"] for line in lines}
    assert texts["train"]
    assert texts["valid"]
    assert not texts["train"] & texts["valid"]


def test_no_held_out_sentence_comes_back_as_a_demonstration(chain: Path) -> None:
    lines = (chain / "prepare" / "documents" / "valid.jsonl").read_text().splitlines()
    held_out = "\n".join(json.loads(line)["text"] for line in lines)
    lexicon = Lexicon.load(chain / "prepare" / "lexicon.json")
    assert lexicon.sentences
    assert not [s["text"] for s in lexicon.sentences if s["text"] in held_out]


def test_sft_answers_what_the_base_model_cannot(summary: Summary) -> None:
    for family, margin in (("greeting", 0.15), ("chain_first_character", 0.01)):
        score = summary.tasks[family]
        assert score.base is not None
        assert score.sft is not None
        assert score.sft > max(score.base, score.chance) + margin


def test_the_reward_model_orders_pairs_better_than_chance(summary: Summary) -> None:
    assert summary.reward_model is not None
    assert summary.reward_model.pair_accuracy_ci is not None
    assert summary.reward_model.pair_accuracy_ci[0] > 0.5


def test_ppo_beats_sft_by_the_noise_free_judge(summary: Summary) -> None:
    assert summary.ppo is not None
    assert summary.ppo.win_rate_ci[0] > 0.5
    assert summary.ppo.gold_ppo > summary.ppo.gold_sft
    assert summary.ppo.kl > 0
    assert summary.ppo_ptx is not None
    assert summary.ppo_ptx.win_rate > 0.5


def test_chains_are_compared_after_every_held_out_idiom(chain: Path, summary: Summary) -> None:
    prompts = chains(Lexicon.load(chain / "prepare" / "lexicon.json"), "test")
    assert summary.ppo is not None
    assert summary.ppo_chain is not None
    assert summary.ppo_chain.n == len(prompts) > summary.ppo.n


def test_the_pretraining_mix_pays_language_back(summary: Summary) -> None:
    assert summary.tax is not None
    assert summary.tax.ppo is not None
    assert summary.tax.ppo_ptx is not None
    assert summary.tax.ppo_ptx < summary.tax.ppo
    assert summary.tax.ppo_ptx < summary.tax.sft + 0.02


def test_without_the_penalty_the_policy_runs_away(chain: Path) -> None:
    last = {}
    for run in ("ppo", "ppo-beta-0"):
        lines = (chain / run / "metrics.jsonl").read_text().splitlines()
        last[run] = [m["kl_nats"] for line in lines if "kl_nats" in (m := json.loads(line))][-1]
    assert last["ppo-beta-0"] > 3 * last["ppo"]


def test_the_report_stands_alone(chain: Path) -> None:
    page = (chain / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_generate_prints_the_continuation_alone(chain: Path) -> None:
    # The base model: one that was taught to answer may end at once after what is no question.
    arguments = ("generate", chain / "pretrain", "三国", "--max-tokens", "12", "--seed", "3")
    first, second = jielong(*arguments).stdout, jielong(*arguments).stdout
    assert first == second
    assert first.strip()
    greedy = {
        strategy: jielong("generate", chain / "pretrain", "三国", "--strategy", strategy).stdout
        for strategy in ("greedy", "beam")
    }
    assert all(text.strip() for text in greedy.values())


def test_chat_answers_and_ends_with_its_input(chain: Path) -> None:
    done = jielong("chat", chain, "--strategy", "greedy", input="你好\n再见\n")
    assert len(done.stdout.strip().splitlines()) >= 2


def test_serve_answers_over_http(chain: Path) -> None:
    with serving(chain) as host:
        name = httpx.get(f"http://{host}/v1/models").json()["data"][0]["id"]
        body = {"model": name, "messages": [{"role": "user", "content": "你好"}], "max_tokens": 8}
        url = f"http://{host}/v1/chat/completions"
        answer = httpx.post(url, json=body, timeout=60).json()
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert 1 <= answer["usage"]["completion_tokens"] <= 8


def test_the_summary_keeps_its_contract(chain: Path) -> None:
    found = json.loads((chain / "summary.json").read_text())
    assert {"train_seconds", "peak_rss_bytes", "stages", "bits_per_byte", "tasks"} <= set(found)
    assert {"reward_model", "ppo", "ppo_ptx", "tax", "seed", "commit", "machine"} <= set(found)
    families = {"idiom_chain", "chain_first_character", "last_character", "category", "recall"}
    assert families | {"greeting"} <= set(found["tasks"])
    for score in found["tasks"].values():
        assert {"chance", "base", "sft", "ppo", "ppo_ptx", "n", "decoding"} <= set(score)
    assert np.isfinite(found["bits_per_byte"]["xz"])
