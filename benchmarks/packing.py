"""Packing: tokens that count per second, packed rows beside padded rows of like length.

First the ways to keep texts apart within a row, one layer's attention forward and backward; then
whole steps of the small recipe's model without the optimizer, on its own conversations and on long
ones. One thread and processor seconds, so that a busy machine changes the ratios little. Run it
with `jielong bench packing RUN`, where RUN is a quickstart directory (`runs/quickstart`
when left out).
"""

import dataclasses
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.attention.varlen import varlen_attn

from jielong.core import config
from jielong.core.seeds import python_random
from jielong.data.chat_rows import ChatRows, Rows
from jielong.data.conversations import Conversation, Mixture, mixture
from jielong.data.lexicon import Lexicon
from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.stages.pretrain import PretrainConfig
from jielong.stages.sft import SFTConfig
from jielong.tokenizer.bpe import Tokenizer

RECIPES = Path(__file__).parents[1] / "recipes" / "small"
ROUNDS = 15
STEPS = 16
REPEATS = 3
LONG = 512


def seconds(action: Callable[[], object]) -> float:
    """The time of one call."""
    start = time.process_time()
    action()
    return time.process_time() - start


def texts_of_rows(rows: int, width: int, mean: int) -> list[list[int]]:
    """Lengths of texts that fill `rows` rows of `width`, between half and one and a half `mean`."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(rows):
        row = []
        while sum(row) < width:
            row.append(min(int(random.integers(mean // 2, 3 * mean // 2)), width - sum(row)))
        found.append(row)
    return found


def one_by_one(q: Tensor, k: Tensor, v: Tensor, sizes: list[list[int]]) -> Tensor:
    """Attend within one text after the other."""
    rows = []
    for i, row in enumerate(sizes):
        pieces = zip(*(x[i : i + 1].split(row, dim=2) for x in (q, k, v)), strict=True)
        own = [F.scaled_dot_product_attention(*piece, is_causal=True) for piece in pieces]
        rows.append(torch.cat(own, dim=2))
    return torch.cat(rows)


def groups(sizes: list[list[int]], width: int, count: int = 4) -> list[tuple[Tensor, Tensor]]:
    """Texts of like length as padded rows: where each token comes from, and which are real."""
    starts = [
        (i * width + sum(row[:n]), size)
        for i, row in enumerate(sizes)
        for n, size in enumerate(row)
    ]
    starts.sort(key=lambda text: text[1])
    made = []
    for n in range(count):
        texts = starts[len(starts) * n // count : len(starts) * (n + 1) // count]
        ahead = torch.arange(max(size for _, size in texts))
        real = ahead < torch.tensor([size for _, size in texts])[:, None]
        firsts = torch.tensor([first for first, _ in texts])[:, None]
        made.append((torch.where(real, firsts + ahead, 0), real))
    return made


def by_groups(q: Tensor, k: Tensor, v: Tensor, made: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Attend within texts of like length, padded, and put the results back in their places."""
    flat = [x.transpose(1, 2).flatten(0, 1) for x in (q, k, v)]
    found = []
    for places, real in made:
        rows = (x[places].transpose(1, 2) for x in flat)
        y = F.scaled_dot_product_attention(*rows, is_causal=True)
        found.append(y.transpose(1, 2)[real])
    order = torch.cat([places[real] for places, real in made]).argsort()
    return torch.cat(found)[order].view(q.transpose(1, 2).shape).transpose(1, 2)


def ways(sizes: list[list[int]], q: Tensor, k: Tensor, v: Tensor) -> dict[str, Callable]:
    """Each way to attend within the texts of `sizes` alone; `q`, `k`, `v` are (B, H, T, D)."""
    numbers = [torch.repeat_interleave(torch.tensor(row)) for row in sizes]
    documents, places = torch.stack(numbers), torch.arange(q.shape[2])
    mask = documents[:, :, None] == documents[:, None, :]
    mask = (mask & (places <= places[:, None]))[:, None]
    made = groups(sizes, q.shape[2])
    ends = torch.tensor([0, *(size for row in sizes for size in row)]).cumsum(0).int()
    most = max(map(max, sizes))

    def inside(b: Tensor, _h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (documents[b, i] == documents[b, j]) & (j <= i)

    def varlen() -> Tensor:
        flat = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
        return varlen_attn(*flat, ends, ends, most, most, window_size=(-1, 0))

    blocks = create_block_mask(inside, q.shape[0], None, q.shape[2], q.shape[2], device="cpu")
    return {
        "scaled_dot_product_attention, mask": lambda: F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask
        ),
        "texts of like length together": lambda: by_groups(q, k, v, made),
        "one text after the other": lambda: one_by_one(q, k, v, sizes),
        "flex_attention": lambda: flex_attention(q, k, v, block_mask=blocks),
        "varlen_attn": varlen,
        "plain causal, texts not kept apart": lambda: F.scaled_dot_product_attention(
            q, k, v, is_causal=True
        ),
    }


def compare_ways(shape: ModelConfig, rows: int, width: int, mean: int) -> None:
    """Print each way's time for one layer, forward and backward."""
    size = (rows, shape.n_head, width, shape.head_dim)
    q, k, v = (torch.randn(size, requires_grad=True) for _ in range(3))
    gradient = torch.randn(size)
    print(f"\nattention of one layer, {rows} rows of {width}, texts of about {mean}:")
    sizes = texts_of_rows(rows, width, mean)
    found, expected = ways(sizes, q, k, v), one_by_one(q, k, v, sizes)
    times: dict[str, list[float]] = {}
    for name, way in found.items():
        try:
            right = torch.allclose(way(), expected, atol=1e-5)
        except NotImplementedError as error:
            print(f"  {name:36} does not run here: {str(error).split('. ')[0][:90]}")
        else:
            assert right or "not kept apart" in name
            times[name] = []
    for _ in range(ROUNDS):
        for name, taken in times.items():
            taken.append(seconds(lambda name=name: found[name]().backward(gradient)))
    for name, taken in times.items():
        print(f"  {name:36} {1000 * statistics.median(taken):8.1f} ms")


def long_conversation(source: Mixture, index: int) -> Conversation:
    """Between one and eight of the mixture's conversations in one."""
    count = python_random(source.seed, "long", index).randint(1, 8)
    drawn = [source.conversation(8 * index + i) for i in range(count)]
    return Conversation(tuple(m for talk in drawn for m in talk.messages), ("long",))


def learn(model: Transformer, batches: list[Rows]) -> None:
    """Forward and backward of one step."""
    model.zero_grad(set_to_none=True)
    for batch in batches:
        arrays = [torch.from_numpy(array) for array in batch if array is not None]
        next_token_loss(model, TokenBatch(*arrays)).total.backward()


def compare_steps(name: str, model: Transformer, packed: ChatRows, padded: ChatRows) -> None:
    """Alternate the two over the same conversations, and print rates and their ratio."""
    print(f"\n{name}, {packed.batch} conversations a step in rows of {packed.longest}:")
    kinds = {"padded": padded, "packed": packed}
    made = {kind: [rows(step) for step in range(STEPS)] for kind, rows in kinds.items()}
    taken = {kind: [float("inf")] * STEPS for kind in kinds}
    for _ in range(REPEATS):
        for step in range(STEPS):
            for kind in kinds:
                now = seconds(lambda kind=kind, step=step: learn(model, made[kind][step]))
                taken[kind][step] = min(taken[kind][step], now)
    rates = {}
    for kind, rows in kinds.items():
        batches = [batch for step in made[kind] for batch in step]
        counted = [sum(int(batch.counts.sum()) for batch in step) for step in made[kind]]
        places = sum(batch.ids.size for batch in batches)
        real = sum(int((batch.ids != rows.tokenizer.special.pad).sum()) for batch in batches)
        rates[kind] = sum(counted) / sum(taken[kind])
        print(
            f"  {kind}: {rates[kind]:5.0f} tokens that count a second, {sum(counted)} in all and "
            f"{min(counted)} to {max(counted)} a step; {100 * real / places:.1f} % of places filled"
        )
    print(f"  ratio {rates['packed'] / rates['padded']:.2f}")


def main() -> None:
    """Compare the ways, then the steps."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # flex_attention says that it is slow uncompiled: we measure it
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
    recipe = config.load(SFTConfig, RECIPES / "sft.toml")
    shape = config.load(PretrainConfig, RECIPES / "pretrain.toml").model
    tokenizer = Tokenizer.load(run / "tokenize")
    torch.manual_seed(0)
    for rows, width, mean in ((8, 160, 50), (6, 256, 60), (4, 512, 60), (4, 512, 200)):
        compare_ways(shape, rows, width, mean)
    model = Transformer(dataclasses.replace(shape, vocab_size=tokenizer.vocab_size))
    lexicon = Lexicon.load(run / "prepare" / "lexicon.json")
    tasks = mixture(lexicon, "train", recipe.families, recipe.seed)
    for name, source, batch, longest in (
        ("the small recipe's conversations", tasks.conversation, recipe.batch, recipe.longest),
        ("long conversations", lambda index: long_conversation(tasks, index), 12, LONG),
    ):
        packed, padded = (
            ChatRows(tokenizer, source, batch, longest, 0, packed) for packed in (True, False)
        )
        compare_steps(name, model, packed, padded)
    print(f"\none thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
