"""Loading a folder of 1 GB: peak memory beside the weights, time beside reading the file.

A random model in Qwen3's shape is written on the spot, once as float32 and once as bfloat16. Each
load runs in a process of its own, as in life, where no earlier one has left memory to be used
again; so does each plain reading of the same file. Medians of the wall time. Peers are
`safetensors` alone and `transformers`: these map the file, which costs nothing until the numbers
are used, so each of their tensors is summed once. Run it with `jielong bench loading`, on a
machine that does nothing else; it needs 2 GB of disk for a while.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from jielong.model.config import ModelConfig
from jielong.model.formats.hugging_face import read_model, write_model
from jielong.model.transformer import Transformer

SHAPE = ModelConfig(
    vocab_size=32_000,
    context=2048,
    n_layer=18,
    width=1024,
    n_head=16,
    n_kv_head=8,
    ffn_width=3072,
)
ROUNDS = 5
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_ours(folder: Path) -> object:
    """What `jielong` does."""
    return read_model(folder)


def load_mapped(folder: Path) -> object:
    """The tensors alone."""
    tensors = load_file(folder / "model.safetensors")
    return tensors, [tensor.sum() for tensor in tensors.values()]


def load_transformers(folder: Path) -> object:
    """Into a model of theirs, in float32 as ours."""
    import transformers

    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, [parameter.sum() for parameter in model.parameters()]


def read_plainly(folder: Path) -> object:
    """The bytes of the file, in one piece."""
    return (folder / "model.safetensors").read_bytes()


WAYS: dict[str, Callable[[Path], object]] = {
    "reading the file": read_plainly,
    "jielong": load_ours,
    "safetensors": load_mapped,
    "transformers": load_transformers,
}


def memory_bytes(field: str) -> int:
    """A figure of this process: `VmRSS` now, or `VmHWM` at most since it began."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def measure(way: str, folder: Path, small: Path) -> None:
    """Print the peak and the time of one way; the first load is of a small model, to warm up."""
    load = WAYS[way]
    load(small)
    before = memory_bytes("VmRSS")
    start = time.perf_counter()
    loaded = load(folder)
    found = {"seconds": time.perf_counter() - start, "peak": memory_bytes("VmHWM") - before}
    del loaded
    print(json.dumps(found))


def run(way: str, folder: Path, small: Path) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, way, str(folder), str(small)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def write(folder: Path, shape: ModelConfig, dtype: torch.dtype) -> None:
    """A folder with random weights."""
    folder.mkdir()
    torch.manual_seed(0)
    model = Transformer(shape)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    write_model(folder, model, dtype=dtype)


def main() -> None:
    """Write the folders, measure each way in a process of its own, print the ratios."""
    parameters = sum(p.numel() for p in Transformer(SHAPE).parameters())
    weights = 4 * parameters
    print(f"{parameters / 1e6:.0f}M parameters, {weights / 1e9:.2f} GB as float32 in memory")
    with tempfile.TemporaryDirectory() as place:
        small = Path(place) / "small"
        write(small, ModelConfig(**vars(SHAPE) | {"vocab_size": 64, "n_layer": 1}), torch.float32)
        for name, dtype in DTYPES.items():
            folder = Path(place) / name
            write(folder, SHAPE, dtype)
            found = [{way: run(way, folder, small) for way in WAYS} for _ in range(ROUNDS)]
            times = {way: statistics.median(one[way]["seconds"] for one in found) for way in WAYS}
            for way in WAYS:
                peak = max(one[way]["peak"] for one in found) / weights
                ratio = times[way] / times["reading the file"]
                print(
                    f"{name:8}  {way:16}  peak {peak:4.2f} x weights  {times[way]:5.2f} s"
                    f"  {ratio:4.2f} x reading"
                )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
