"""How fast a run goes: tokens a second, and the share of what this machine could compute."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from jielong.core.matmul_peak import matmul_flops_per_s
from jielong.core.run_dir import RunDir

PEAK = "matmul_flops_per_s"


@dataclass(frozen=True)
class Work:
    """What one step takes: the `tokens` that the model reads, and its `flops`, backward included.

    The FLOPs are those that the model needs (`jielong/model/sizes.py`); what is computed twice to
    save memory counts once.
    """

    tokens: int
    flops: float


def items(metrics: Mapping[str, float]) -> float:
    """The targets of all parts of a step."""
    return sum(value for name, value in metrics.items() if name.rpartition("_")[2] == "items")


def machine_peak(run: RunDir, device: torch.device, dtype: torch.dtype) -> float:
    """The measured peak of products of that type in FLOP/s: once, and kept in the manifest."""
    if PEAK not in run.manifest:
        run.note({PEAK: matmul_flops_per_s(device, dtype)})
    return run.manifest[PEAK]


def speed(metrics: Mapping[str, float], work: Work | None, peak: float) -> dict[str, float]:
    """One step's speed; of a stage that does not tell its work, by its targets alone."""
    seconds = metrics["step_s"]
    if "skipped" in metrics or not seconds:
        return {}
    if work is None:
        return {"tokens_per_s": items(metrics) / seconds}
    found = {"tokens_per_s": work.tokens / seconds}
    return found | ({"utilisation": work.flops / seconds / peak} if peak else {})
