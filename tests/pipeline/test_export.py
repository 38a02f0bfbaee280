"""What the chain trained goes on with the same words in `transformers` and in llama.cpp."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from jielong.generation.loading import Assistant, load_assistant
from jielong.tokenizer.chat_template import render
from tests.llama_cpp_engine import Engine
from tests.pipeline.conftest import jielong

pytestmark = pytest.mark.pipeline

COUNT = 64


@torch.no_grad()
def greedy(assistant: Assistant, prompt: list[int]) -> list[int]:
    """The likeliest tokens by full forward passes, past where the answer would end."""
    ids = list(prompt)
    for _ in range(COUNT):
        scores = assistant.model(torch.tensor([ids]))[0, -1]
        scores[assistant.tokenizer.special.eos] = -torch.inf
        ids.append(int(scores.argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("stage", ["pretrain", "ppo-ptx"])
def test_the_same_greedy_tokens_everywhere(stage: str, chain: Path, tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "model.gguf"
    jielong("export", chain / stage, folder)
    jielong("export", chain / stage, file, "--format", "gguf")
    here, there = load_assistant(chain / stage), Engine(file, 256)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    talk = [{"role": "user", "content": "你好"}]
    prompts = [tokenizer("春天来了")["input_ids"], tokenizer("The model")["input_ids"]]
    prompts.append(tokenizer.apply_chat_template(talk, add_generation_prompt=True)["input_ids"])
    assert prompts[0] == [*here.tokenizer.begins, *here.tokenizer.encode("春天来了")]
    assert prompts[-1] == render(here.tokenizer, talk, generation_prompt=True).ids
    assert there.conversation(talk) == prompts[-1]
    for prompt in prompts:
        expected = greedy(here, prompt)
        rows = torch.tensor([prompt])
        found = theirs.generate(
            rows,
            attention_mask=torch.ones_like(rows),
            do_sample=False,
            max_new_tokens=COUNT,
            suppress_tokens=[here.tokenizer.special.eos],
        )
        assert found[0, len(prompt) :].tolist() == expected
        assert there.tokens(prompt, COUNT) == expected


def test_an_export_says_what_it_is(chain: Path, tmp_path: Path) -> None:
    jielong("export", chain, tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert settings["architectures"] == ["Qwen3ForCausalLM"]
    (row,) = jielong("sizes", tmp_path / "out").stdout.splitlines()[1:2]
    assert row.split()[0] == "out"
