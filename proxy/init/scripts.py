"""The Python files of a folder, read without being run: which of them may make a Dash app or have WebSocket routes.

It is a guess from the text; ``inspection`` imports what is found here, and knows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONVENTIONAL = ("app", "main", "index", "dashboard", "server", "run")
"""Names of the script that is run, in the order in which they are preferred."""

LARGEST = 1 << 20
"""Bytes of a file that is read. Written by hand they have some ten KiB."""

MOST = 2000
"""Files that are read. An app has some tens; a folder with more is not the folder of an app."""

_SKIPPED = frozenset({"node_modules", "venv", "env", "site-packages", "tests", "test", "build", "dist", "deploy"})

_MAKES_DASH = frozenset({"Dash", "DashProxy", "JupyterDash"})

_RUNS = frozenset({"run", "run_server"})

_WEBSOCKET = frozenset({"websocket", "websocket_route"})


@dataclass(frozen=True)
class Script:
    """What the text of a file says.

    module: its name, as Python imports it from the folder. makes_dash: it calls ``Dash(...)``. runs: it calls
    ``app.run(...)``. port: the one that this call names; None: none, or not as a number. holders: names of the
    variables on which it has WebSocket routes.
    """

    module: str
    makes_dash: bool = False
    runs: bool = False
    port: int | None = None
    holders: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[bool, bool, int, int, str]:
        """A key to sort by: the likeliest script of a Dash app is first."""
        last = self.module.rpartition(".")[2]
        place = CONVENTIONAL.index(last) if last in CONVENTIONAL else len(CONVENTIONAL)
        return not self.runs, not self.makes_dash, self.module.count("."), place, self.module


def find(folder: Path) -> list[Script]:
    """Return the scripts of a folder that may make or run a Dash app or have WebSocket routes, the likeliest first.

    Looked into are the folder and the packages directly in it. A file that cannot be read as Python is left out.
    """
    found = []
    for path, module in list(_files(folder))[:MOST]:
        try:
            if path.stat().st_size <= LARGEST:
                script = read(path.read_text("utf-8"), module)
                if script.makes_dash or script.runs or script.holders:
                    found.append(script)
        except (OSError, ValueError, SyntaxError):
            continue
    return sorted(found, key=lambda script: script.rank)


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.glob("*.py")):
        yield path, path.stem
    for package in sorted(folder.glob("*/__init__.py")):
        name = package.parent.name
        if name.isidentifier() and name not in _SKIPPED:
            for path in sorted(package.parent.glob("*.py")):
                yield path, name if path.stem == "__init__" else f"{name}.{path.stem}"


def read(source: str, module: str) -> Script:
    """Read the text of a module. Raises SyntaxError and ValueError where it is not Python."""
    tree = ast.parse(source)
    modules = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    has_dash = any("dash" in name.lower() for name in _imported(tree))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    runs = [call for call in calls if has_dash and _is_run(call, modules)]
    holders = [name for node in ast.walk(tree) if (name := _holder(node)) is not None]
    return Script(
        module,
        any(_last_name(call.func) in _MAKES_DASH for call in calls),
        bool(runs),
        next((port for call in runs if (port := _port(call)) is not None), None),
        tuple(dict.fromkeys(holders)),
    )


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield the names of the modules that are imported, and of what is imported from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from ("dash" for alias in node.names if alias.name == "app")  # of the file that makes it


def _is_run(call: ast.Call, modules: set[str]) -> bool:
    func = call.func
    return (
        isinstance(func, ast.Attribute)
        and func.attr in _RUNS
        and isinstance(func.value, ast.Name)
        and func.value.id not in modules
    )


def _port(call: ast.Call) -> int | None:
    for keyword in call.keywords:
        if keyword.arg == "port" and isinstance(keyword.value, ast.Constant):
            text = str(keyword.value.value)
            return int(text) if text.isdecimal() and 0 < int(text) < 65536 else None
    return None


def _holder(node: ast.AST) -> str | None:
    """Return the variable on which a decorator puts a WebSocket route: ``app`` of ``@app.server.websocket``."""
    if isinstance(node, ast.AsyncFunctionDef):
        for decorator in node.decorator_list:
            func = decorator.func if isinstance(decorator, ast.Call) else None
            if isinstance(func, ast.Attribute) and func.attr in _WEBSOCKET:
                owner = func.value
                if isinstance(owner, ast.Attribute) and owner.attr == "server":
                    owner = owner.value
                if isinstance(owner, ast.Name):
                    return owner.id
    return None


def _last_name(node: ast.expr) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
