"""Adapters through the command line: taught, used, taken out as PEFT's, and put back."""

from pathlib import Path

import peft
import pytest
import transformers

from jielong.core.run_dir import read_metrics
from jielong.generation.loading import load_assistant
from tests.pipeline.conftest import jielong

pytestmark = [
    pytest.mark.pipeline,
    # What peft asks of transformers, not we.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]


@pytest.fixture(scope="module")
def run(chain: Path, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The tiny recipe for adapters, on the chain's base model, for a moment."""
    path = tmp_path_factory.mktemp("lora") / "sft-lora"
    names = {"prepare": "prepared", "tokenize": "data", "pretrain": "init_from"}
    parents = [f"{name}={chain / stage}" for stage, name in names.items()]
    recipe = repository / "recipes" / "tiny" / "sft-lora.toml"
    jielong("sft", recipe, *parents, "steps=120", f"run_dir={path}")
    return path


def test_adapters_learn_to_answer(run: Path) -> None:
    losses = [metrics["chat_loss"] for metrics in read_metrics(run)]
    assert len(losses) == 120
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_in_peft_on_the_base_model_it_says_the_same(run: Path, chain: Path, tmp_path: Path) -> None:
    """And so does the adapter that is merged into the base model again."""
    base, adapter, merged = (tmp_path / name for name in ("base", "adapter", "merged"))
    jielong("export", chain / "pretrain", base)
    jielong("export", run, adapter, "--format", "peft")
    jielong("import", adapter, merged, "--base", chain / "pretrain")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    model = peft.PeftModel.from_pretrained(model, adapter).eval()
    read = transformers.AutoTokenizer.from_pretrained(base)
    rows = read.apply_chat_template(
        [{"role": "user", "content": "你好"}], add_generation_prompt=True, return_tensors="pt"
    )
    found = model.generate(**rows, do_sample=False, max_new_tokens=16)
    asked = rows["input_ids"].shape[1]
    for path in (run, merged):
        scores = load_assistant(path).model(found[:, :-1])[0, asked - 1 :]
        assert scores.argmax(dim=-1).tolist() == found[0, asked:].tolist()
    said = [
        jielong("generate", path, "三国", "--strategy", "greedy").stdout
        for path in (run, merged, chain / "pretrain")
    ]
    assert said[0] == said[1] != said[2]
