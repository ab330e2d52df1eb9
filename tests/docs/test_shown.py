"""What documents show of the programs' output is what they write: lines of the log, answers, tables of fields."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from proxy.doctor.catalogue import CATALOGUE
from proxy.doctor.finding import Finding, Place
from proxy.doctor.probe import Outcome as Report
from proxy.doctor.report import lines_of
from proxy.errors import Outcome
from proxy.exchange.access_log import json_line, text_line
from proxy.exchange.record import Exchange
from tests.docs.blocks import blocks
from tests.docs.log_lines import is_written
from tests.processes import ROOT
from tests.system.hub.hub import API_KEY, Hub, running_hub

MISTAKES = """\
gateway:
  listne: 127.0.0.1:8000
  upstreams:
    dash: localhost:8050
    ws: http://127.0.0.1:8765
ws_service:
  app: app:ap
"""
"""The file whose mistakes README.md shows."""


@pytest.mark.system
def test_check_finds_what_the_readme_shows(tmp_path: Path) -> None:
    [shown] = [text for text in blocks("README.md", "console") if "check" in text]
    (tmp_path / "config.yaml").write_text(MISTAKES)
    (tmp_path / "app.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    command, *lines = shown.replace("/srv/app", str(tmp_path)).splitlines()
    argv = [sys.executable, "-m", "proxy", *command.removeprefix("$ dash-ws-proxy ").split()]
    env = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    expected = "\n".join(".*".join(map(re.escape, re.split(r"\.\.\.", line))) for line in lines)
    assert re.search(expected, done.stdout + done.stderr), done.stdout + done.stderr


def test_check_asks_the_programs_and_prints_what_is_shown() -> None:
    """The form of the report, the finding of the catalogue, and what each area says, are docs/checks.md's."""
    [shown] = blocks("docs/checks.md", "console")
    lines = shown.splitlines()[1:]
    areas = [found.groups() for line in lines if (found := re.fullmatch(r"[✓!] (\w+) +(.+)", line))]
    assert [text for _, text in areas if not is_written(text)] == []
    said, fix = (re.search(pattern, shown)[1] for pattern in ("DW037: (.+)", "fix: +(.+)"))  # type: ignore[index]
    found = Finding("DW037", CATALOGUE["DW037"], said, fix, Place("config.yaml", 4, 3, "gateway.dash_prefix"))
    findings = {name: [found] if name == "prefix" else [] for name, _ in areas}
    printed = [line for name, text in areas for line in lines_of(name, Report(text, findings[name]))]
    assert printed == lines


# -- the access log

BEGAN = 1000.0

EXCHANGES: tuple[dict[str, Any], ...] = (
    {"target": "/page?token=x", "status": 200, "upstream": "dash", "route": "http", "sent": 5120, "outcome": "served"},
    {"target": "/live", "status": 101, "upstream": "ws", "route": "websocket", "is_tunnel": True},
    {
        **{"target": "/live", "status": 101, "upstream": "ws", "route": "websocket", "is_tunnel": True},
        **{"received": 420, "sent": 81920, "outcome": "client closed", "closed_by": "client", "close_code": 1001},
    },
    {"target": "/live", "upstream": "ws", "route": "websocket", "is_handed_off": True},
)
"""What happened in each of the lines that docs/operations.md shows."""

_AGAIN = r"^(\S+) (\S+) .*?(?: ([\d.]+)ms.*)? id=(\w+)$"


def exchange(**fields: Any) -> Exchange:
    record = Exchange(id=fields.pop("id"), when=0.0, began=BEGAN)
    for name, value in {"client": "203.0.113.9", "method": "GET", **fields}.items():
        assert hasattr(record, name), name
        setattr(record, name, Outcome(value) if name == "outcome" else value)
    return record


def test_the_access_log_has_such_lines() -> None:
    [shown] = [text for text in blocks("docs/operations.md", "log") if "GET /page" in text]
    for line, happened in zip(shown.splitlines(), EXCHANGES, strict=True):
        time, client, took, identifier = re.fullmatch(_AGAIN, line).groups()  # type: ignore[union-attr]
        ended = None if took is None else BEGAN + float(took) / 1000
        written = text_line(exchange(**happened, id=identifier, client=client, ended=ended))
        assert re.sub(r"^\S+", time, written) == line


def test_the_fields_of_the_access_log_are_those_of_its_table() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("## The access log")[2]
    fields, outcomes = page.split("\n| Outcome | Meaning |\n")
    traced = {b"traceparent": [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]}
    whole = exchange(
        **{**EXCHANGES[2], "id": "e1", "ended": BEGAN + 1, "fields": traced, "host": "a", "limit": "uploads"},
        **{"responded": BEGAN + 0.5, "held": 0.5, "detail": "a", "address": "http://a"},
    )
    written = set(json.loads(json_line(whole)))
    table = fields.partition("\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[2])} == written
    named = re.findall(r"^\| (`.*?) \|", outcomes.partition("\n\n")[0], re.MULTILINE)
    assert sorted(re.findall(r"`([^`]+)`", " ".join(named))) == sorted(
        each.value for each in Outcome if each is not Outcome.HANDED_OFF
    )


# -- signals

SENT = {"SIGKILL", "SIGABRT"}
"""Signals that a supervisor sends, and does not handle."""


def test_the_signals_are_those_that_the_programs_handle() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("\n## ")[0]
    tables = page.split("| Signal | What happens |")[1:]
    told = [
        set(re.findall(r"\bSIG[A-Z0-9]+", " ".join(re.findall(r"^\| (.*?) \|", each, re.MULTILINE)))) for each in tables
    ]
    handled = []
    for package in ("proxy", "ws_service"):
        source = "".join(path.read_text("utf-8") for path in (ROOT / package).rglob("*.py"))
        handled.append(set(re.findall(r"\bsignal\.(SIG[A-Z0-9]+)", source)) - SENT)
    assert told == handled


# -- answers


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


def get(url: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return json.load(answer)


def shape(value: object) -> object:
    """Return what a value is made of: the keys of objects, and the kinds of what is in them."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.mark.system
def test_the_service_answers_with_such_a_status(hub: Hub) -> None:
    [shown] = blocks("docs/operations.md", "json")
    with connect(hub.url) as client:
        client.send('{"id": 1, "connect": {}}\n{"id": 2, "subscribe": {"channel": "open:a"}}')
        client.recv()
        hub.publish("open:a", 1)
        client.recv()
        answered = get(f"http://127.0.0.1:{hub.port}/api/status", **{"X-API-Key": API_KEY})
    expected = json.loads(shown)
    for row in (answered["sockets"]["rows"][0], expected["sockets"]["rows"][0]):
        assert row.pop("topics") in (None, 1)  # of the hub's sockets alone
        assert row.pop("close_code", None) is None
    assert shape(answered) == shape(expected)


@pytest.mark.system
def test_readyz_has_such_addresses(hub: Hub) -> None:
    [shown] = [text for text in blocks("docs/scaling.md", "console") if "/readyz" in text]
    command, *lines = shown.splitlines()
    names = re.findall(r"\w+", re.search(r"\{(.*?)\}", command)[1])  # type: ignore[index]
    addresses = get(f"http://127.0.0.1:{hub.gateway.admin_port}/readyz")["upstreams"]["ws"]["addresses"]
    real = {name: addresses[0][name] for name in names}
    assert all(shape(json.loads(line)) == shape(real) for line in lines)
