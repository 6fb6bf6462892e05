"""Docstrings and comments of the server name the actor, so that readers of technical English understand them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIDDLES = re.compile(r"\b(whoever|nobody|somebody|in\s+vain)\b", re.IGNORECASE)


def explanations(source: str) -> Iterator[str]:
    """The comments and docstrings of a Python text."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def riddles(source: str) -> list[str]:
    return [found.group() for text in explanations(source) for found in RIDDLES.finditer(text)]


def test_no_docstring_or_comment_of_the_server_hides_its_actor() -> None:
    files = sorted((ROOT / "server").rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): riddles(path.read_text()) for path in files}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "source",
    [
        '"""Nobody reads it."""\n',
        "x = 1  # whoever asks\n",
        'def f():\n    """Looks in\n    vain."""\n',
        "#: for Somebody\nx = 1\n",
    ],
)
def test_a_riddle_is_found(source: str) -> None:
    assert len(riddles(source)) == 1


def test_a_text_that_a_user_says_is_free() -> None:
    assert riddles('QUESTION = "Which things must nobody forget?"\n') == []
