"""Several processes that run one command together, as torchrun starts them; or one, alone.

Each computes its share of a step. The first alone writes files and speaks to a person, and all see
the same files. This is the one place that reads torchrun's environment variables. PyTorch is
imported when there is somebody to join.
"""

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar, cast

from jielong.core.errors import ConfigError, WorkerLostError
from jielong.core.progress import console

T = TypeVar("T")
LAUNCHED = "TORCHELASTIC_RUN_ID"
PATIENCE = timedelta(hours=2)
"""How long one process waits for another: the first samples answers while the others wait. One
that ends is noticed at once, for its connections close."""


def _group() -> Any:  # noqa: ANN401 - a module
    """PyTorch's module of processes that talk to each other, when this is one of them."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist and dist.is_available() and dist.is_initialized() else None


def world_size() -> int:
    """How many processes train together."""
    group = _group()
    return group.get_world_size() if group else 1


def rank() -> int:
    """This process's number among them."""
    group = _group()
    return group.get_rank() if group else 0


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


def wait() -> None:
    """Return when all processes have come here."""
    if world_size() > 1:
        _group().barrier()


@contextmanager
def first_ahead() -> Iterator[None]:
    """The first process goes through the block, then all others: they read what it wrote."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def told_by_first(make: Callable[[], T]) -> T:
    """What the first process makes, in all of them: other machines might make it otherwise."""
    if world_size() == 1:
        return make()
    told = [make() if is_first() else None]
    _group().broadcast_object_list(told, src=0)
    return cast(T, told[0])


@contextmanager
def joined(command: str, *, shared: bool) -> Iterator[None]:
    """Run a command together with the processes that torchrun started; else alone.

    An error in any of them ends all: the first to meet one raises it, the others end silently with
    the same exit code. Raises `ConfigError` for a command whose work is not `shared`, and
    `WorkerLostError` when another process is gone.
    """
    if LAUNCHED not in os.environ:
        yield
        return
    from torch import distributed as dist

    from jielong.core.device import backend, own_gpu

    store, number, size = next(dist.rendezvous("env://"))
    store = dist.PrefixStore(_meeting(store, number, size), store)
    console.quiet = number > 0
    try:
        if not shared:
            _refuse_several(command, size)
        own_gpu(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(
            backend(), store=store, rank=number, world_size=size, timeout=PATIENCE
        )
        yield
        wait()
    except (Exception, KeyboardInterrupt) as error:
        if not _is_first_to_fail(store):
            raise SystemExit(getattr(error, "exit_code", 1)) from None
        if _is_lost_connection(error):
            raise WorkerLostError(
                f"{command}: another process of this run has ended: see its message, if it left "
                "one; the same command with --resume goes on from the last checkpoint"
            ) from None
        raise
    dist.destroy_process_group()


def _meeting(store: Any, number: int, size: int) -> str:  # noqa: ANN401 - torch.distributed.Store
    """A name that these processes share, and none that torchrun started before them.

    After a restart the store still holds what was written before, and who takes an old address for
    a new one calls a process that is dead. So the first makes up a name, and tells it to each other
    in answer to a question that is as new.
    """
    own = uuid.uuid4().hex
    if number:
        store.set(f"question {number}", own)
        name = store.get(f"answer {own}").decode()
        store.set(f"{name} {number}", "heard")
        return name
    while not all(store.check([f"{own} {other}"]) for other in range(1, size)):
        for other in range(1, size):
            if store.check([f"question {other}"]):
                store.set(f"answer {store.get(f'question {other}').decode()}", own)
        time.sleep(0.02)
    return own


def _refuse_several(command: str, size: int) -> None:
    if size > 1:
        raise ConfigError(f"{command}: is the work of one process: start it without torchrun")


def _is_first_to_fail(store: Any) -> bool:  # noqa: ANN401 - torch.distributed.Store
    """Counts the failures in what all processes share; True where that is gone as well."""
    from torch import distributed as dist

    with suppress(dist.DistError):
        return store.add("failed", 1) == 1
    return True


def _is_lost_connection(error: BaseException) -> bool:
    """Gloo has no error of its own: it is known by its words."""
    from torch import distributed as dist

    return isinstance(error, dist.DistError) or (
        type(error) is RuntimeError and "gloo" in str(error).lower()
    )
