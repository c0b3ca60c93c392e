"""What to do next is data: below the edges no sentence of ours tells anybody to call a tool or to type a command."""

import ast
import re
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parents[2] / "server" / "wan_mcp"
BELOW = ("dashscope", "ledger", "orders", "settings", "storage")
CALLS = re.compile(
    r"\b(?:generate_image|submit_task|(?:get|cancel|list)_tasks?|(?:download|view)_image)\b|fresh=|remote="
)
# The name of a cursor's giver is no step; the command line has its own word for it.
NAMES = {"The cursor is not one that list_tasks gave."}


def list_texts(tree):
    """Give the string literals of a module that are not documentation."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


@pytest.mark.parametrize("room", BELOW)
def test_no_sentence_below_the_edges_names_a_tool(room):
    files = sorted((SERVER / room).rglob("*.py"))
    texts = {text for file in files for text in list_texts(ast.parse(file.read_text(encoding="utf-8")))}

    assert files
    assert {text for text in texts if CALLS.search(text)} <= NAMES
