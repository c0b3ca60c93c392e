"""
No two modules of ours import each other, directly or around others.

Counted are all imports: those inside functions and those for type checkers as well, since a reader follows them too.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = (_ROOT / "server" / "wan_mcp", _ROOT / "tools" / "wan_mcp_tools")
_MODULES = {
    ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for package in _PACKAGES
    for path in package.rglob("*.py")
}


def find_imports(path: Path) -> Iterator[str]:
    """Give the modules of ours that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in _MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in _MODULES:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in _MODULES else node.module


def test_no_modules_import_each_other():
    graph = {name: set(find_imports(path)) for name, path in _MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " <- ".join(error.args[1])
    else:
        circle = ""

    assert len(graph) > 100
    assert not circle
