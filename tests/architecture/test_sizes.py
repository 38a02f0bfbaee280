"""A file is one idea, a function one step."""

import ast
from collections.abc import Iterator

FILE_LINES = 400
FUNCTION_LINES = 60
ARGUMENTS = 8


def functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Name, lines and arguments (without self) of every function, methods and nested ones too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            count = sum(argument.arg not in {"self", "cls"} for argument in named)
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1, count


def test_functions_are_measured() -> None:
    source = "class C:\n  async def f(self, a, /, b, *rest, c, **more):\n    def g():\n      pass\n"
    assert sorted(functions(source)) == [("f", 3, 3), ("g", 2, 0)]


def test_every_file_is_one_idea(tracked: dict[str, str]) -> None:
    lines = {name: text.count("\n") for name, text in tracked.items() if name.endswith(".py")}
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def test_every_function_is_one_step(tracked: dict[str, str]) -> None:
    long = [
        f"{name}: {function}: {lines} lines, {arguments} arguments"
        for name, text in tracked.items()
        if name.startswith("jielong/") and name.endswith(".py")
        for function, lines, arguments in functions(text)
        if lines > FUNCTION_LINES or arguments > ARGUMENTS
    ]
    assert long == []
