"""Every rule of learning from preferences has a test that carries its letter and number.

R reward model, P log-probabilities and rollouts, K divergence and rewards per token,
G advantages, L losses and steps, X the pretraining mix, C checkpoints
"""

import ast

COUNTS = {"R": 6, "P": 9, "K": 4, "G": 3, "L": 8, "X": 4, "C": 1}
RULES = [f"{letter}{number + 1}" for letter, count in COUNTS.items() for number in range(count)]


def functions(texts: dict[str, str]) -> set[str]:
    """The names of all test functions in the files of `texts`."""
    return {
        node.name
        for name, text in texts.items()
        if name.startswith("tests/") and name.endswith(".py")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_rule_has_a_test(tracked: dict[str, str]) -> None:
    tested = {name.split("_")[1] for name in functions(tracked)}
    assert [rule for rule in RULES if rule not in tested] == []


def test_names_are_read_from_test_files_only() -> None:
    texts = {
        "tests/unit/a.py": "def test_P3_x(): ...\nclass T:\n    def test_K1_y(self): ...\n",
        "tests/b.txt": "def test_P4_x(): ...",
        "jielong/c.py": "def test_P5_x(): ...",
    }
    assert functions(texts) == {"test_P3_x", "test_K1_y"}
