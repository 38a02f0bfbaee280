"""Two processes that share a batch make the step that one process makes."""

import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import distributed, multiprocessing

from jielong.objectives.language_model import TokenBatch, next_token_loss
from jielong.training.distributed import rank, sum_across, sum_gradients, world_size
from jielong.training.learner import Learner, Part
from jielong.training.optimizers import OptimizerConfig, Schedule, make_optimizers
from tests.tiny import decoder, random_ids

pytestmark = pytest.mark.invariance

STEPS = 4


def batch(step: int, rows: slice) -> TokenBatch:
    """Some rows of a step's eight, with very different numbers of tokens that count."""
    counts = torch.arange(11) < torch.tensor([11, 2, 3, 9, 2, 5, 2, 7])[:, None]
    return TokenBatch(random_ids(8, 11, seed=step)[rows], counts[rows])


def train_rows(rows: slice) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """A few steps on `rows` of each batch; the third is vetoed by what all rows say together."""
    model = decoder()
    optimizers = make_optimizers(model, OptimizerConfig(kind="muon", lr=1e-2, eps=1e-3))
    learner = Learner(model, optimizers, Schedule(STEPS), clip=0.5)
    metrics = []
    vetoes = [lambda _metrics: False, lambda _metrics: True]
    for step in range(STEPS):
        chat = Part([batch(step, rows)], next_token_loss, veto=vetoes[step == 2])
        ptx = Part([batch(step + 50, rows)], next_token_loss, 0.3, "ptx")
        metrics.append(learner.update(chat, ptx))
    return model.state_dict(), metrics


def work(number: int, port: int, folder: str) -> None:
    """One of two processes: rows 0 to 4, or 5 to 7."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=number, world_size=2, timeout=timedelta(seconds=60))
    try:
        assert (world_size(), rank()) == (2, number)
        gradients = [torch.full((2, 3), number + 1.0), torch.tensor([10.0 * number])]
        sum_gradients(gradients)
        assert gradients[0].tolist() == [[3.0] * 3] * 2
        assert gradients[1].tolist() == [10.0]
        weights, metrics = train_rows(slice(0, 5) if number == 0 else slice(5, 8))
        weights["losses"] = torch.tensor([m["loss"] for m in metrics])
        weights["norms"] = torch.tensor([m.get("gradient_norm", 0.0) for m in metrics])
        save_file(weights, Path(folder) / f"{number}.safetensors")
    finally:
        distributed.destroy_process_group()


def test_L3_two_processes_are_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(work, args=(port, str(tmp_path)), nprocs=2)
    first, second = (load_file(tmp_path / f"{i}.safetensors") for i in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    alone, metrics = train_rows(slice(0, 8))
    for name, tensor in alone.items():
        torch.testing.assert_close(first[name], tensor, atol=1e-6, rtol=0, msg=name)
    assert first["losses"].tolist() == pytest.approx([m["loss"] for m in metrics], rel=1e-5)
    norms = [m.get("gradient_norm", 0.0) for m in metrics]
    assert first["norms"].tolist() == pytest.approx(norms, rel=1e-5)
    assert [m.get("skipped") for m in metrics] == [None, None, 1, None]


def test_one_process_needs_no_group() -> None:
    assert (world_size(), rank()) == (1, 0)
    tensor = torch.tensor([2.0])
    assert sum_across(tensor) is tensor
    sum_gradients([tensor])
    assert tensor.item() == 2
