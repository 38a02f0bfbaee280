"""One process, with torchrun and without; several are in tests/invariance and tests/pipeline."""

import socket
from collections.abc import Iterator

import pytest
import torch
from torch import distributed

from jielong.core.errors import DataError, StoppedError, WorkerLostError
from jielong.core.processes import (
    first_ahead,
    is_first,
    joined,
    rank,
    told_by_first,
    wait,
    world_size,
)
from jielong.core.progress import console
from jielong.core.sharded import is_part, local, own_part, rejoined, whole


def test_alone_there_is_nothing_to_do() -> None:
    assert (world_size(), rank(), is_first()) == (1, 0, True)
    wait()
    assert told_by_first(lambda: 5) == 5
    done = []
    with joined("tokenize", shared=False), first_ahead():
        done.append(distributed.is_initialized())
    assert done == [False]
    tensor = torch.ones(3)
    assert not is_part(tensor)
    for same in (whole(tensor), local(tensor), rejoined(tensor, tensor), own_part(tensor, tensor)):
        assert same is tensor


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torchrun tells the only process that it starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.mark.usefixtures("torchrun")
def test_torchrun_may_start_one() -> None:
    with joined("tokenize", shared=False):
        assert distributed.is_initialized()
        assert (world_size(), rank(), is_first()) == (1, 0, True)
        assert not console.quiet
        wait()
    assert not distributed.is_initialized()


@pytest.mark.usefixtures("torchrun")
@pytest.mark.parametrize(
    ("met", "raised"),
    [
        (DataError("no text"), DataError),
        (StoppedError("stopped", 15), StoppedError),
        (RuntimeError("a bug of ours"), RuntimeError),
        (
            RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"),
            WorkerLostError,
        ),
        (distributed.DistNetworkError("Connection reset by peer"), WorkerLostError),
    ],
)
def test_an_error_is_what_it_was_but_a_lost_connection_is_a_lost_process(
    met: BaseException, raised: type[BaseException]
) -> None:
    with pytest.raises(raised) as found, joined("pretrain", shared=True):
        raise met
    assert type(found.value) is raised
    assert "\n" not in str(found.value)
