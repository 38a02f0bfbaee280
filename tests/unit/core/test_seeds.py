import hashlib
import subprocess
import sys

import numpy as np

from jielong.core.seeds import derive, generator, python_random


def test_a_seed_is_the_digest_of_its_names() -> None:
    digest = hashlib.sha256(b"7\x1frow\x1f3").digest()
    assert derive(7, "row", 3) == int.from_bytes(digest[:8], "big") // 2
    assert 0 <= derive(0) < 2**63


def test_every_name_matters() -> None:
    seeds = {derive(s, *names) for s in (0, 1) for names in ((), ("a",), ("b",), ("a", "b"))}
    assert len(seeds) == 8
    assert derive(0, "ab") != derive(0, "a", "b")
    assert derive(1, "1") != derive(11)


def test_generators_repeat() -> None:
    assert generator(1, "x").random() == np.random.default_rng(derive(1, "x")).random()
    assert python_random(1, "x").random() == python_random(1, "x").random()
    assert python_random(1, "x").random() != python_random(1, "y").random()


def test_another_process_derives_the_same_seed() -> None:
    """Python salts `hash` anew in each process; a seed must not depend on it."""
    script = "from jielong.core.seeds import derive; print(derive(3, '接龙', 1))"
    run = [sys.executable, "-c", script]
    outputs = {
        subprocess.run(run, env={"PYTHONHASHSEED": salt}, capture_output=True, check=True).stdout
        for salt in ("1", "2")
    }
    assert outputs == {f"{derive(3, '接龙', 1)}\n".encode()}
