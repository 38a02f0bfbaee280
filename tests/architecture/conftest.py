"""What the tests of the repository itself look at."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tracked(repository: Path) -> dict[str, str]:
    """Every text file that git tracks, or would once added: its path from the top, and its text."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
    texts = {}
    for name in listing.stdout.split("\0"):
        path = repository / name
        if name and path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                texts[name] = content.decode("utf-8")
    return texts
