"""The pictures of the state machines come from their tables.

``python -m tests.test_drawings`` draws them anew: into ``docs/drawings/``,
and between the markers of ``docs/architecture.md``. It needs Graphviz (on Debian: ``apt install graphviz``).
"""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from proxy.exchange import lifecycle
from proxy.http1 import client_connection
from proxy.upstream import health
from proxy.websocket import tunnel
from tests.processes import ROOT
from ws_service.hub import session_states

COMMAND = "python -m tests.test_drawings"
PAGE = ROOT / "docs" / "architecture.md"
FOLDER = ROOT / "docs" / "drawings"

Transitions = Mapping[Any, Mapping[str, Any]]

TABLES: dict[str, Transitions] = {
    "lifecycle": lifecycle.TRANSITIONS,
    "tunnel": tunnel.TRANSITIONS,
    "health": health.TRANSITIONS,
    "connection": client_connection.TRANSITIONS,
    "session": session_states.SESSION,
    "subscription": session_states.SUBSCRIPTION,
}


def draw(table: Transitions) -> str:
    """Return a table as a Mermaid state diagram. The first state is the first row; one without a way out is an end."""
    states = list(table)
    lines = ["stateDiagram-v2", f"    [*] --> {symbol(states[0])}"]
    lines += [f"    {symbol(state)} : {state.value}" for state in states if state.value != symbol(state)]
    for state, row in table.items():
        arrows: dict[Any, list[str]] = {}
        for event, after in row.items():
            arrows.setdefault(after, []).append(event)
        lines += [f"    {symbol(state)} --> {symbol(after)} : {' / '.join(on)}" for after, on in arrows.items()]
        if not row:
            lines.append(f"    {symbol(state)} --> [*]")
    return "\n".join(lines) + "\n"


def graph(table: Transitions) -> str:
    """Return a table in Graphviz' language: the same drawing, for the site, which has no Mermaid."""
    lines = [
        "digraph {",
        '  graph [bgcolor=transparent, nodesep=0.4, ranksep=0.5]; start [shape=point, label=""];',
        '  node [shape=box, style=rounded, fontname="sans-serif", fontsize=12, height=0.35];',
        '  edge [fontname="sans-serif", fontsize=10, arrowsize=0.7];',
        f"  start -> {symbol(next(iter(table)))};",
    ]
    for state, row in table.items():
        ends = "" if row else ", peripheries=2"
        lines.append(f'  {symbol(state)} [label="{state.value}"{ends}];')
        for after in dict.fromkeys(row.values()):
            events = r"\n".join(event for event, then in row.items() if then is after)
            lines.append(f'  {symbol(state)} -> {symbol(after)} [label="{events}"];')
    return "\n".join(lines) + "\n}\n"


def svg(name: str, table: Transitions) -> str:
    """Draw a table with Graphviz, in the colour of the text around it."""
    drawn = subprocess.run(["dot", "-Tsvg"], input=graph(table), capture_output=True, text=True, check=True).stdout
    head = f'<svg role="img" aria-label="State machine: {name}" '
    return head + drawn.partition("<svg ")[2].replace("black", "currentColor")


def symbol(state: Enum) -> str:
    """Return a name that Mermaid takes for a state: no spaces."""
    return state.name.lower()


def with_drawings(page: str) -> str:
    """Return the page with what stands between each pair of markers replaced by the drawing."""
    for name, table in TABLES.items():
        block = f"<!-- drawing: {name} -->\n```mermaid\n{draw(table)}```\n<!-- end -->"
        page, count = re.subn(
            rf"<!-- drawing: {name} -->.*?<!-- end -->", lambda _, block=block: block, page, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"{PAGE.name} has {count} places for the drawing {name}; it needs one")
    return page


def read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


@pytest.mark.parametrize("name", TABLES)
def test_a_drawing_is_what_its_table_says(name: str) -> None:
    assert read(FOLDER / f"{name}.mmd") == draw(TABLES[name]), f"the table has changed; run: {COMMAND}"


def test_the_architecture_shows_the_drawings() -> None:
    page = read(PAGE)
    assert page == with_drawings(page), f"a table has changed; run: {COMMAND}"


def test_there_is_no_drawing_without_a_table() -> None:
    assert {path.stem for path in FOLDER.glob("*.mmd")} == set(TABLES)
    assert re.findall(r"<!-- drawing: (.*?) -->", read(PAGE)) == list(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_drawing_has_every_arrow_of_its_table_and_no_other(name: str) -> None:
    table = TABLES[name]
    drawn = set()
    for start, end, events in re.findall(r"^ +(\w+) --> (\w+) : (.+)$", draw(table), re.MULTILINE):
        drawn |= {(start, event, end) for event in events.split(" / ")}
    assert drawn == {(symbol(a), event, symbol(b)) for a, row in table.items() for event, b in row.items()}


@pytest.mark.parametrize("name", TABLES)
def test_the_drawing_of_the_site_has_the_same_arrows(name: str) -> None:
    drawn = html.unescape(read(FOLDER / f"{name}.svg"))
    arrows = re.findall(r'<g id="edge\d+".*?<title>(\w+)->(\w+)</title>(.*?)</g>', drawn, re.DOTALL)
    told = {(a, b, tuple(re.findall(r"<text[^>]*>(.*?)</text>", labels))) for a, b, labels in arrows}
    expected = {("start", symbol(next(iter(TABLES[name]))), ())}
    for state, row in TABLES[name].items():
        for after in row.values():
            events = tuple(event for event, then in row.items() if then is after)
            expected.add((symbol(state), symbol(after), events))
    assert told == expected, f"the table has changed; run: {COMMAND}"


class Light(Enum):
    RED = "red"
    GREEN = "go on"
    OFF = "off"


def test_a_table_becomes_a_picture() -> None:
    table = {
        Light.RED: {"tick": Light.GREEN, "power cut": Light.OFF, "switch": Light.OFF},
        Light.GREEN: {"tick": Light.RED},
        Light.OFF: {},
    }
    assert draw(table) == (
        "stateDiagram-v2\n"
        "    [*] --> red\n"
        "    green : go on\n"
        "    red --> green : tick\n"
        "    red --> off : power cut / switch\n"
        "    green --> red : tick\n"
        "    off --> [*]\n"
    )


def rewrite() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, table in TABLES.items():
        (FOLDER / f"{name}.mmd").write_text(draw(table), "utf-8")
        (FOLDER / f"{name}.svg").write_text(svg(name, table), "utf-8")
    PAGE.write_text(with_drawings(read(PAGE)), "utf-8")


if __name__ == "__main__":
    rewrite()
