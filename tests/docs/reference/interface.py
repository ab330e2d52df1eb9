"""The page about what programs import, from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from _pytest.fixtures import FixtureFunctionDefinition

import proxy.testing
import ws_service
import ws_service.dash
from tests.docs.reference.markdown import prose

HEAD = """\
# Python

What your programs import. Everything else may change with any release.
"""

MODULES = {
    "ws_service": (ws_service, "Publish, from any process: [the hub](../hub.md#publishing)."),
    "ws_service.dash": (ws_service.dash, "In the layout of a Dash page: [the hub](../hub.md#in-the-page)."),
    "proxy.testing": (proxy.testing, "For the tests of your own app: [testing](../testing.md)."),
}


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(text for name in MODULES for text in _module(name))])


def _module(name: str) -> Iterator[str]:
    module, about = MODULES[name]
    yield f"## `{name}`\n\n{about}\n"
    for each in sorted(module.__all__):
        given = getattr(module, each)
        is_fixture = isinstance(given, FixtureFunctionDefinition)
        found = given._get_wrapped_function() if is_fixture else inspect.unwrap(given)
        heading = f"`{name}.{each}`" if is_fixture else _heading(f"{name}.{each}", found)
        yield f"### {heading}\n\n{_told(found)}\n"
        if inspect.isclass(found):
            yield from _members(each, found)


def _members(name: str, found: type) -> Iterator[str]:
    inherited = {part for base in found.__mro__[1:] for part in vars(base)}
    for part, member in vars(found).items():
        if part.startswith("_") or part in inherited or not (callable(member) or isinstance(member, property)):
            continue
        heading = f"`{name}.{part}`" if isinstance(member, property) else _heading(f"{name}.{part}", member)
        yield f"#### {heading}\n\n{_told(member)}\n"


def _heading(name: str, found: Any) -> str:
    """Return a name with its signature; a class that programs do not make themselves has none."""
    parameters = [each for each in inspect.signature(found).parameters.values() if each.name != "self"]
    is_told = all(re.search(rf"\b{each.name}\b.*:", found.__doc__ or "") for each in parameters)
    if inspect.isclass(found) and (issubclass(found, Exception) or not is_told):
        return f"`{name}`"
    return _call(name, parameters)


def _call(name: str, parameters: list[inspect.Parameter]) -> str:
    """Return a signature with the defaults, and without types: those are in the docstring's words."""
    words, is_by_name = [], False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not is_by_name:
            words.append("*")
            is_by_name = True
        star = "**" if each.kind is each.VAR_KEYWORD else ""
        words.append(f"{star}{each.name}" + ("" if each.default is each.empty else f"={each.default!r}"))
    return f"`{name}({', '.join(words)})`"


def _told(function: Any) -> str:
    """Return a docstring; its lines about arguments are a list."""
    text = inspect.cleandoc(function.__doc__ or "")
    paragraphs = []
    for paragraph in text.split("\n\n"):
        lines = re.sub(r"\n(?!\w+(?:, \w+)*: |- )\s*", " ", paragraph).split("\n")
        if _is_arguments(function, lines):
            lines = [re.sub(r"^(\w+(?:, \w+)*): ", _bullet, line) for line in lines]
        paragraphs.append("\n".join(lines))
    return prose("\n\n".join(paragraphs))


def _bullet(match: re.Match[str]) -> str:
    return f"- {', '.join(f'`{name}`' for name in match[1].split(', '))}: "


def _is_arguments(function: Any, lines: list[str]) -> bool:
    """Tell whether each of these lines is about an argument."""
    known = set() if isinstance(function, property) else {"code", *inspect.signature(function).parameters}
    return all((found := re.match(r"(\w+)(?:, \w+)*: ", line)) and found[1] in known for line in lines)
