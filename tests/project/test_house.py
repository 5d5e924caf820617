"""The rules of the house: which room may import which, and how long a function may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "ddb_mcp"
MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTION_LINES = 40

# A room may import from the rooms named here, and from itself. Late imports and imports for types count too.
MAY_IMPORT = {
    "core": set[str](),
    "config": {"core"},
    "stores": {"core", "config"},
    "service": {"core", "config", "stores"},
    "web": {"core", "config"},
    "browser": {"core", "config", "stores", "service", "web"},
    "server": {"core", "config", "stores", "service", "web", "browser"},
    "gateway": {"core", "config", "stores", "service", "web", "browser", "server"},
    "endpoint": {"core", "config", "stores", "web"},
    "cli": {"core", "config", "stores", "service", "web", "browser", "server", "gateway", "endpoint"},
}


def room(module: str) -> str:
    """The room of a module such as `ddb_mcp.core.items`; `""` for the package itself, which has the version only."""
    return ([*module.split("."), ""])[1]


def imported(tree: ast.Module) -> set[str]:
    """Every module of ours that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "ddb_mcp"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    rooms = {room(name) for name in imported(ast.parse(path.read_text(encoding="utf-8")))} - {own, "", "__version__"}
    assert rooms <= MAY_IMPORT[own]


def test_the_rule_knows_every_room() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__", "__main__"}
    assert rooms <= MAY_IMPORT.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_function_is_long(path: Path) -> None:
    """Lines are counted without the signature and the docstring."""
    long = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1
            if lines > FUNCTION_LINES:
                long[node.name] = lines
    assert not long


def test_modules_form_no_circle() -> None:
    names = {".".join(("ddb_mcp", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in MODULES}
    arrows = {
        name: {
            target
            for one in imported(ast.parse(path.read_text(encoding="utf-8")))
            for target in (one, one.rpartition(".")[0])
            if target in names and target != name
        }
        for name, path in names.items()
    }
    while leaves := [name for name, targets in arrows.items() if not targets]:
        for leaf in leaves:
            del arrows[leaf]
        for targets in arrows.values():
            targets.difference_update(leaves)
    assert not arrows, "these modules import one another in a circle"
