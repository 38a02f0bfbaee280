"""Which device and number of threads to use, decided in one place."""

import platform

import torch

from jielong.core.errors import ConfigError


def default_device() -> torch.device:
    """CUDA when there is one, else the CPU (the reference platform)."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def backend() -> str:
    """What carries messages between processes: NCCL between GPUs, else Gloo."""
    return "nccl" if default_device().type == "cuda" else "gloo"


def own_gpu(number: int) -> None:
    """Let this process, the `number`-th on its machine, use the GPU of that number, if any.

    Raises `ConfigError` when there are GPUs, but fewer.
    """
    if not torch.cuda.is_available():
        return
    if number >= torch.cuda.device_count():
        raise ConfigError(
            f"torchrun: process {number + 1} on a machine with {torch.cuda.device_count()} GPUs: "
            "lower --nproc-per-node"
        )
    torch.cuda.set_device(number)


def check_compiler() -> None:
    """Have PyTorch compile something small.

    Raises `ConfigError` where it cannot, for want of a C++ compiler or of Python's header files.
    """
    try:
        torch.compile(torch.sin, dynamic=False)(torch.zeros(64, device=default_device()))
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"compile: true: PyTorch cannot compile here ({reason}): install g++ and Python's "
            "header files, or leave it out"
        ) from None


def describe_machine() -> dict[str, str | int]:
    """What a figure depends on: processor, cores, threads, library versions."""
    return {
        "processor": _processor_name(),
        "cores": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "device": str(default_device()),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a path of ours
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
