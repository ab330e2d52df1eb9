"""Names of aiohttp that its manual does not promise (docs/decisions/015-aiohttp-public-interface.md).

A name is public when aiohttp lists it in ``__all__`` of the package or of one of its documented modules. Everything
else may change with any release: names that begin with an underscore, other modules, and what a subclass takes from
its base class without being told of it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

DOCUMENTED = ("aiohttp", "aiohttp.abc", "aiohttp.hdrs", "aiohttp.web")
"""The modules that aiohttp's reference describes, as far as a server needs them."""


def findings(source: str) -> list[tuple[int, str]]:
    """Return (line, what is used) for each use of a private name of aiohttp in a module's source."""
    return sorted(set(_Reader(ast.parse(source)).findings()))


def findings_in(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Yield (file, line, what is used) for all modules below a folder."""
    for path in sorted(folder.rglob("*.py")):
        for line, what in findings(path.read_text("utf-8")):
            yield path.relative_to(folder.parent).as_posix(), line, what


class _Reader:
    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._modules: dict[str, str] = {}
        """Local name of a module of aiohttp: its full name."""
        self._classes: dict[str, type] = {}
        """Local name of a class of aiohttp, or of one that inherits from it here: the class of aiohttp."""

    def findings(self) -> Iterator[tuple[int, str]]:
        imports = [node for node in ast.walk(self._tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        found = [finding for node in imports for finding in self._imported(node)]
        yield from found
        if not (found or self._modules or self._classes):
            return  # aiohttp is not known here
        for node in ast.walk(self._tree):
            yield from self._used(node)

    def _imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_aiohttps(alias.name):
                    self._modules[alias.asname or "aiohttp"] = alias.name if alias.asname else "aiohttp"
                    if alias.name not in DOCUMENTED:
                        yield node.lineno, f"{alias.name} is not documented"
        elif _is_aiohttps(node.module or "") and not node.level:
            if node.module not in DOCUMENTED:
                yield node.lineno, f"{node.module} is not documented"
            for alias in node.names:
                name, local = f"{node.module}.{alias.name}", alias.asname or alias.name
                if name in DOCUMENTED:
                    self._modules[local] = name
                    continue
                if not _is_public(str(node.module), alias.name):
                    yield node.lineno, f"{name} is not documented"
                found = getattr(importlib.import_module(str(node.module)), alias.name, None)
                if inspect.isclass(found):
                    self._classes[local] = found

    def _used(self, node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.Attribute):
            module = self._module(node.value)
            if module is not None:
                if f"{module}.{node.attr}" not in DOCUMENTED and not _is_public(module, node.attr):
                    yield node.lineno, f"{module}.{node.attr} is not documented"
            elif _is_private(node.attr) and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.lineno, f"{ast.unparse(node)} is a private name of another object"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BY_NAME:
            for argument in node.args[1:2]:
                if isinstance(argument, ast.Constant) and _is_private(str(argument.value)):
                    yield node.lineno, f"{ast.unparse(node)} takes a private name of another object"
        elif isinstance(node, ast.ClassDef):
            yield from self._inherited(node)

    def _inherited(self, node: ast.ClassDef) -> Iterator[tuple[int, str]]:
        bases = [base for expression in node.bases if (base := self._class(expression)) is not None]
        for base in bases:
            self._classes[node.name] = base
            private = _private_names(base)
            for inside in ast.walk(node):
                name = {ast.Attribute: "attr", ast.FunctionDef: "name", ast.AsyncFunctionDef: "name"}.get(type(inside))
                if name and getattr(inside, name) in private:
                    line = getattr(inside, "lineno", node.lineno)
                    yield line, f"{node.name}.{getattr(inside, name)} is a private name of {base.__name__}"

    def _module(self, expression: ast.expr) -> str | None:
        """Return the module of aiohttp that an expression names, if it does."""
        if isinstance(expression, ast.Name):
            return self._modules.get(expression.id)
        if isinstance(expression, ast.Attribute) and (parent := self._module(expression.value)) is not None:
            name = f"{parent}.{expression.attr}"
            return name if name in DOCUMENTED else None
        return None

    def _class(self, expression: ast.expr) -> type | None:
        if isinstance(expression, ast.Subscript):
            return self._class(expression.value)
        if isinstance(expression, ast.Name):
            return self._classes.get(expression.id)
        if isinstance(expression, ast.Attribute) and (module := self._module(expression.value)) is not None:
            found = getattr(importlib.import_module(module), expression.attr, None)
            return found if inspect.isclass(found) else None
        return None


_BY_NAME = ("getattr", "setattr", "hasattr", "delattr")


def _is_aiohttps(module: str) -> bool:
    return module.partition(".")[0] == "aiohttp"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def _is_public(module: str, name: str) -> bool:
    """Tell whether a documented module promises a name. ``hdrs`` has constants and no ``__all__``."""
    if module not in DOCUMENTED or _is_private(name):
        return False
    return name in getattr(importlib.import_module(module), "__all__", (name,)) or name.startswith("__")


@cache
def _private_names(base: type) -> frozenset[str]:
    """Return the private names of a class of aiohttp: those that it declares, and those that its methods use."""
    names: set[str] = set()
    for cls in base.__mro__:
        if _is_aiohttps(cls.__module__):
            names.update(vars(cls), getattr(cls, "__annotations__", ()), getattr(cls, "__slots__", ()))
            names.update(re.findall(r"\bself\.(_\w+)", textwrap.dedent(inspect.getsource(cls))))
    return frozenset(filter(_is_private, names))
