"""No ``await`` stands between the end of a use and what is given back: a cancellation there would skip it (A1).

Looked for are ``finally:`` blocks, and handlers of ``BaseException`` or ``CancelledError``, in which an ``await`` (or
an ``async with``, an ``async for``, a ``yield``) comes before a call that gives something back.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT

PACKAGES = ("proxy", "ws_service")

GIVES_BACK = frozenset(
    (
        "abort",
        "cancel",
        "clear",
        "close",
        "detach",
        "discard",
        "end",
        "ended",
        "force_close",
        "forget",
        "gone",
        "leave",
        "let_go",
        "exchange_ended",
        "pop",
        "release",
        "remove",
        "remove_reader",
        "remove_writer",
        "set_result",
        "shut",
        "stop",
        "unlink",
        "_end",
        "_release",
        "_uncount",
    )
)
"""Names of methods and functions that give something back."""

MAY: dict[tuple[str, str], str] = {}
"""File and function of those that may, and why."""


class Found:
    """A call that a cancellation would skip."""

    def __init__(self, function: str, awaits: int, gives_back: int, call: str) -> None:
        self.function, self.awaits, self.gives_back, self.call = function, awaits, gives_back, call

    def __str__(self) -> str:
        return f"{self.function}: the await in line {self.awaits} stands before {self.call} in line {self.gives_back}"


def breaches(source: str) -> Iterator[Found]:
    """Yield what a module does in the wrong order."""
    for function, block in _last_blocks(ast.parse(source)):
        awaits = 0
        for node in _in_order(block):
            if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.AsyncFor | ast.AsyncWith):
                awaits = awaits or node.lineno
            elif isinstance(node, ast.Call) and awaits and (name := _name(node)) in GIVES_BACK:
                yield Found(function, awaits, node.lineno, name)


def _last_blocks(tree: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Yield the blocks that run whatever happens, and the functions that they are in."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        for node in _own(function):
            if isinstance(node, ast.Try):
                if node.finalbody:
                    yield function.name, node.finalbody
                for handler in node.handlers:
                    if _catches_cancellations(handler):
                        yield function.name, handler.body


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Yield what is in a function, and not in one that it defines."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own(child)


def _in_order(block: list[ast.stmt]) -> list[ast.AST]:
    """Return what a block does, in the order in which it does it: what is awaited comes before its ``await``."""
    found: list[ast.AST] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            return
        if isinstance(node, ast.AsyncFor | ast.AsyncWith):
            found.append(node)
        for child in ast.iter_child_nodes(node):
            visit(child)
        if isinstance(
            node, ast.For | ast.AsyncFor | ast.While
        ):  # what a loop ends with stands before what it begins with
            for statement in node.body:
                visit(statement)
        if not isinstance(node, ast.AsyncFor | ast.AsyncWith):
            found.append(node)

    for statement in block:
        visit(statement)
    return found


def _catches_cancellations(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "") for kind in kinds}
    return bool(names & {"BaseException", "CancelledError"})


def _name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return getattr(call.func, "id", "")


MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_given_back_behind_an_await(module: Path) -> None:
    name = module.relative_to(ROOT).as_posix()
    found = [each for each in breaches(module.read_text()) if (name, each.function) not in MAY]
    assert not found, "\n".join(f"{name}, {each}" for each in found)


def test_no_exception_is_out_of_date() -> None:
    found = {
        (module.relative_to(ROOT).as_posix(), each.function)
        for module in MODULES
        for each in breaches(module.read_text())
    }
    assert not set(MAY) - found


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("finally:\n        await asyncio.wait([pump])\n        upstream.release(connection)", 1),
        ("finally:\n        upstream.release(connection)\n        await asyncio.wait([pump])", 0),
        ("except BaseException:\n        await x\n        room.leave()\n        raise", 1),
        ("except (ValueError, asyncio.CancelledError):\n        await x\n        room.leave()", 1),
        ("except OSError:\n        await x\n        room.leave()", 0),
        ("finally:\n        await door.close()", 0),
        ("finally:\n        async with lock:\n            self.close()", 1),
        ("finally:\n        for each in all:\n            await each.closed()\n        stop()", 1),
        ("finally:\n        for each in all:\n            each.close()\n            await each.closed()", 1),
        ("finally:\n        call(lambda: (yield))\n        end()", 0),
    ],
)
def test_the_check_finds_what_it_is_for(body: str, count: int) -> None:
    assert len(list(breaches(f"async def f():\n    try:\n        pass\n    {body}\n"))) == count
