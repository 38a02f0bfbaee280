"""Processes that share a batch, and perhaps the weights, make the steps that one process makes."""

import os
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import distributed, multiprocessing

from jielong.core.processes import first_ahead, is_first, rank, told_by_first, wait, world_size
from jielong.core.sharded import whole
from jielong.model.lora import LoraConfig, add_adapters
from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.objectives.loss import Loss
from jielong.stages.held_out import held_out_loss
from jielong.stages.learning import make_learner
from jielong.training.checkpoint import latest, load_weights, resume, save_checkpoint
from jielong.training.distributed import (
    anywhere,
    is_sharded,
    largest_across,
    shares,
    sum_across,
    sum_gradients,
)
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig
from jielong.training.settings import TrainingConfig
from tests.tiny import decoder, random_ids

pytestmark = pytest.mark.invariance

STEPS, HALF = 4, 2
Tensors = dict[str, torch.Tensor]
PLAIN = TrainingConfig(ema_decay=0.5)
SPLIT = TrainingConfig(ema_decay=0.5, parallel="fsdp")
SMALL = TrainingConfig(ema_decay=0.5, parallel="fsdp", micro_batch=3, activation_checkpointing=True)


def batch(step: int, rows: int = 8) -> TokenBatch:
    """The rows of a step, with very different numbers of tokens that count."""
    counts = torch.arange(11) < torch.tensor([11, 2, 3, 9, 2, 5, 2, 7])[:, None]
    return TokenBatch(random_ids(8, 11, seed=step)[:rows], counts[:rows])


def learner(kind: str, training: TrainingConfig) -> Learner:
    torch.manual_seed(0)
    model = decoder()
    if kind == "lora":
        kind = "adamw"
        add_adapters(model, LoraConfig(rank=2))
        for name, parameter in model.named_parameters():
            if name.endswith("lora_b"):
                torch.nn.init.normal_(parameter, std=0.3)
    config = OptimizerConfig(kind=kind, lr=1e-2, eps=1e-3, weight_decay=0.1, clip=0.5)
    return make_learner(model, config, training, STEPS)


def train(made: Learner, steps: int, rows: int = 8) -> list[dict[str, float]]:
    """Steps on all rows; the third is vetoed by what all rows say together."""
    metrics = []
    while made.step < steps:
        step, vetoed = made.step, made.step == 2
        chat = Part([batch(step, rows)], next_token_loss, veto=lambda _, told=vetoed: told)
        ptx = Part([batch(step + 50, rows)], next_token_loss, 0.3, "ptx")
        metrics.append(made.update(chat, ptx))
    return metrics


def outcome(made: Learner, metrics: list[dict[str, float]]) -> Tensors:
    """All that there is to be compared."""
    found = {name: whole(tensor).clone() for name, tensor in made.module.state_dict().items()}
    found |= {f"own.{n}": whole(t).clone().float() for n, t in made.to_tensors().items()}
    held_out = held_out_loss(made.module, lambda n: Part([batch(n + 90, 7)], next_token_loss))
    with made.averaged():
        found["held out"] = torch.tensor(held_out())
    for step, line in enumerate(metrics):
        for name in ("loss", "gradient_norm", "own_gradient_norm", "ptx_loss", "skipped"):
            found[f"{name} {step}"] = torch.tensor(line.get(name, 0.0))
    return found


CASES: dict[str, Callable[[], Tensors]] = {
    name: lambda kind=kind, training=training, rows=rows: outcome(
        made := learner(kind, training), train(made, STEPS, rows)
    )
    for name, kind, training, rows in (
        ("dense", "muon", PLAIN, 8),
        ("three rows", "adamw", PLAIN, 3),
        ("lora", "lora", PLAIN, 8),
        ("fsdp", "muon", SPLIT, 8),
        ("fsdp three rows", "momentum", SPLIT, 3),
        ("fsdp small", "muon", SMALL, 8),
        ("fsdp lora", "lora", SMALL, 7),
    )
}


def go_on(folder: Path, kind: str = "muon") -> Tensors:
    """The second half of a run, whose first half was saved."""
    made = learner(kind, SPLIT)
    assert resume(folder, made) == {"place": 7}
    return outcome(made, train(made, STEPS))


def check_messages(number: int) -> None:
    """The parts, one by one, in two processes."""
    gradients = [torch.full((2, 3), number + 1.0), torch.tensor([10.0 * number])]
    sum_gradients(gradients)
    assert gradients[0].tolist() == [[3.0] * 3] * 2
    assert gradients[1].tolist() == [10.0]
    assert sum_across(torch.tensor([number + 1.0])).item() == 3
    assert largest_across(torch.tensor([1.0 - number])).item() == 1
    assert anywhere(number * 15) == 15
    ids = [piece.ids.shape[0] for piece, _ in shares(batch(0, 5), 2)]
    assert (ids, [c for _, c in shares(batch(0, 5), 2)]) == [
        ([2, 1], [1.0, 1.0]),
        ([2, 2], [1.0, 0.0]),
    ][number]
    assert [c for _, c in shares(batch(0, 1))] == [1.0 - number]
    assert told_by_first(lambda: ["what", number]) == ["what", 0]
    drawn = []

    def objective(model: torch.nn.Module, rows: TokenBatch) -> Loss:
        drawn.append(torch.rand(()))
        return next_token_loss(model, rows)

    made = learner("adamw", PLAIN)
    made.update(Part([batch(0)], objective))
    assert sum_across(drawn[0].clone()) != 2 * drawn[0], "both would drop out the same units"


def work(number: int, size: int, port: int, folder: Path) -> None:
    """One of several processes: every case, and halves of runs that others began or will end."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    patience = timedelta(seconds=120)
    distributed.init_process_group("gloo", rank=number, world_size=size, timeout=patience)
    try:
        assert (world_size(), rank(), is_first()) == (size, number, number == 0)
        if size == 2:
            check_messages(number)
            with first_ahead():
                assert (folder / "written").exists() is (number == 1)
                (folder / "written").touch()
        found = {name: case() for name, case in CASES.items()}
        for kind in ("muon", "lora"):
            made = learner(kind, SPLIT)
            assert is_sharded(made.module)
            train(made, HALF)
            save_checkpoint(folder / f"{kind} of {size}", made, {"place": 7}, held_out_loss=1.5)
            found[f"{kind} of 1"] = go_on(folder / f"{kind} of 1", kind)
            found[f"{kind} of {size}"] = go_on(folder / f"{kind} of {size}", kind)
            if size == 4:
                found[f"{kind} of 2"] = go_on(folder / f"{kind} of 2", kind)
        wait()
        for name, tensors in found.items():
            save_file(tensors, folder / f"{name} by {size}, {number}.safetensors")
    finally:
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two and then four processes made; they also went on with what one had begun."""
    folder = tmp_path_factory.mktemp("processes")
    # One process imports, and the others are its forks.
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    for kind in ("muon", "lora"):
        made = learner(kind, PLAIN)
        train(made, HALF)
        save_checkpoint(folder / f"{kind} of 1", made, {"place": 7})
    for size in (2, 4):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        multiprocessing.start_processes(
            work, (size, port, folder), nprocs=size, start_method="forkserver"
        )
    return folder


def assert_same(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        rtol = 1e-6 if tensor.ndim else 1e-5  # a norm sums many squares
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=rtol, msg=name)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", CASES)
def test_L3_processes_are_one(found: Path, name: str, size: int) -> None:
    ends = [load_file(found / f"{name} by {size}, {i}.safetensors") for i in range(size)]
    for other in ends[1:]:
        assert all(torch.equal(ends[0][tensor], other[tensor]) for tensor in other)
    expected = CASES[name]()
    assert_same(ends[0], expected)
    assert [expected[f"skipped {step}"].item() for step in range(STEPS)] == [0, 0, 1, 0]
    assert expected["gradient_norm 0"] > 0.5, "nothing would be clipped"


@pytest.mark.parametrize("kind", ["muon", "lora"])
@pytest.mark.parametrize(
    ("before", "after"), [(1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (4, 1), (4, 4)]
)
def test_a_run_goes_on_with_more_processes_or_fewer(
    found: Path, kind: str, before: int, after: int
) -> None:
    made = learner(kind, PLAIN)
    train(made, HALF)
    expected = outcome(made, train(made, STEPS))
    saved = found / f"{kind} of {before}"
    if after == 1:
        assert_same(go_on(saved, kind), expected)
    else:
        assert_same(load_file(found / f"{saved.name} by {after}, 0.safetensors"), expected)


@pytest.mark.parametrize("size", [2, 4])
def test_each_process_saves_its_part(found: Path, size: int) -> None:
    folder = latest(found / f"muon of {size}")
    files = sorted(file.name for file in folder.iterdir())
    shards = [f"shard-{i + 1:05d}-model-00001-of-00001.safetensors" for i in range(size)]
    assert files == [*shards, "state.json"]
    assert not list(folder.parent.glob(".*/*"))
    sizes = [(folder / name).stat().st_size for name in shards]
    whole_size = sum(f.stat().st_size for f in latest(found / "muon of 1").iterdir())
    assert max(sizes) < 1.5 * whole_size / size
    made = learner("muon", PLAIN)
    train(made, HALF)
    assert_same(load_weights(folder), made.module.state_dict())


def test_one_process_needs_no_group() -> None:
    assert (world_size(), rank(), is_first()) == (1, 0, True)
    tensor = torch.tensor([2.0])
    assert sum_across(tensor) is tensor
    sum_gradients([tensor])
    assert tensor.item() == 2
    assert anywhere(7) == 7
    assert [c for _, c in shares(batch(0, 5), 2)] == [1.0, 1.0, 1.0]
