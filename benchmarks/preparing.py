"""The pipeline from end to end: megabytes a second in each phase, and how memory grows.

    jielong bench preparing full                  the recipe of all clear-licence text
    jielong bench preparing own --mb 10 40        own files of that size

Wall-clock seconds and bytes come from the run's manifest. Memory is the sum of the proportional
set sizes of the command and all its workers, looked at four times a second (Linux).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from deduplication import chinese, english

LOOK_S = 0.25
FILE_MB = 2
OWN = """
run_dir = "unset"
files = ["texts"]
[personal]
[near]
[decontaminate]
files = ["exam.jsonl"]
"""


def tree_bytes(session: int) -> int:
    """The memory of all processes of a session."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) != session:
                continue
            rollup = (stat.parent / "smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if "Pss:" in line)
    return total * 1024


def measure(recipe: Path, run: Path, *settings: str) -> tuple[dict, int]:
    """The manifest of a run, and the most memory that it took."""
    command = [sys.executable, "-m", "jielong", "prepare", str(recipe), f"run_dir={run}", *settings]
    process = subprocess.Popen(command, start_new_session=True, cwd=recipe.parent)
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_bytes(process.pid))
        time.sleep(LOOK_S)
    if process.returncode:
        raise SystemExit(process.returncode)
    return json.loads((run / "manifest.json").read_text()), peak


def report(name: str, manifest: dict, peak: int) -> None:
    """One line a phase; every phase reads what the one before it left."""
    steps = {"extract": "extracted", "fingerprint": "clean", "compare": "clean", "select": "clean"}
    sizes = {
        phase: sum(source[step]["bytes"] for source in manifest["sources"].values()) / 1e6
        for phase, step in steps.items()
    }
    seconds = manifest["phase_seconds"]
    seconds["the rest"] = manifest["seconds"] - sum(seconds.values())
    print(f"\n{name}: peak memory {peak / 2**20:,.0f} MiB")
    for phase, took in seconds.items():
        size = sizes.get(phase, sizes["select"])
        print(f"  {phase:12} {size:7.1f} MB {took:7.1f} s {size / took:8.1f} MB/s")
    whole = manifest["seconds"]
    size = sizes["extract"]
    print(f"  {'whole':12} {size:7.1f} MB {whole:7.1f} s {size / whole:8.1f} MB/s")


def write_own(folder: Path, size_mb: int) -> None:
    """Files of Chinese and English documents that nothing else is like, and an exam."""
    random = Random(0)
    (folder / "texts").mkdir()
    for number in range(size_mb // FILE_MB):
        make = chinese if number % 2 else english
        rows = (json.dumps({"text": text}) for text in make(random, FILE_MB * 1_000_000))
        (folder / "texts" / f"{number:04}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    item = {"question": " ".join(english(random, 400))}
    (folder / "exam.jsonl").write_text(json.dumps(item), encoding="utf-8")
    (folder / "prepare.toml").write_text(OWN, encoding="utf-8")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", choices=["full", "own"])
    parser.add_argument("--mb", type=int, nargs="+", default=[10, 40])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.corpus == "full":
            recipe = Path(__file__).resolve().parents[1] / "recipes/full/prepare.toml"
            report("recipes/full", *measure(recipe, Path(folder) / "run"))
            return
        for size in options.mb:
            place = Path(folder) / f"{size}"
            place.mkdir()
            write_own(place, size)
            report(f"{size} MB of own files", *measure(place / "prepare.toml", place / "run"))


if __name__ == "__main__":
    main()
