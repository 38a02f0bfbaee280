"""What a module offers is pinned, so that a rename or a new public name is a decision that shows.

After such a decision: `python tests/architecture/test_public_names.py` writes the pins anew.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = Path(__file__).with_name("public_names.txt")


def public_names(source: str) -> list[str]:
    """The names that a module defines at its top, or lists in `__all__` where it has one."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned = {target.id for target in targets if isinstance(target, ast.Name)}
            if "__all__" in assigned and node.value is not None:
                return sorted(ast.literal_eval(node.value))
            names |= assigned
    return sorted(name for name in names if not name.startswith("_"))


def listing() -> str:
    """One line a module: its dotted name, then its public names."""
    lines = []
    for path in (ROOT / "jielong").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        names = public_names(path.read_text(encoding="utf-8"))
        if names:
            lines.append(f"{module}: {' '.join(names)}\n")
    return "".join(sorted(lines))


def test_public_names_are_found() -> None:
    source = (
        "import os\nfrom a import b\nX: int = 1\ny, _z = 1, 2\nW = 3\ndef f(): ...\nclass _C: ...\n"
    )
    assert public_names(source) == ["W", "X", "f"]
    assert public_names(source + "__all__ = ['b']\n") == ["b"]


def test_public_names_are_pinned() -> None:
    assert listing().splitlines() == PINS.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    PINS.write_text(listing(), encoding="utf-8")
