"""What is known of Dash is put in force, logged once, and looked for where a page was opened."""

from __future__ import annotations

import logging

import pytest

from proxy.config import Settings
from proxy.dash.facts import UNKNOWN, DashFacts
from proxy.dash.page_config import PageConfig
from proxy.dash.reader import DashReader
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.gateway.runtime import make_runtime
from proxy.server.dash_watch import DashWatch, ask_once
from tests.processes import free_port

PAGE = PageConfig("4.4.1", "/app/", has_dev_tools=False, has_hot_reload=False, websocket=None)
KNOWN = DashFacts(PAGE, "", "/app/", frozenset(("/app/_dash-ws-callback",)))


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths at which the reader is told to look."""
    paths: list[str] = []
    monkeypatch.setattr(DashReader, "look_at", lambda _, path: paths.append(path))
    return paths


def watch(**values: object) -> tuple[DashWatch, Gateway]:
    gateway = Gateway(make_runtime(Settings.model_validate(values)), Lifecycle())
    return DashWatch(gateway), gateway


def exchange(target: str, status: int = 200, upstream: str = "dash") -> Exchange:
    return Exchange("1", 0.0, 0.0, target=target, status=status, upstream=upstream)


async def test_what_is_known_is_in_force_for_new_exchanges() -> None:
    one, gateway = watch()
    before = gateway.runtime
    one._changed(KNOWN)
    assert gateway.runtime.dash == KNOWN
    assert gateway.runtime.table.leaves_origin_to_dash("dash", "/app/_dash-ws-callback")
    assert before.dash == UNKNOWN, "an exchange that is under way keeps what it began with"


async def test_a_restart_of_the_same_dash_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")
    one, _ = watch(dash_prefix="/")
    for facts in (KNOWN, KNOWN.without_proof(), KNOWN):
        one._changed(facts)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "Dash 4.4.1 at /app/; it has no WebSocket of its own"
    assert second.startswith("gateway.dash_prefix is /, and Dash's page says /app/")


async def test_while_dash_is_unreachable_nothing_is_said_of_it(caplog: pytest.LogCaptureFixture) -> None:
    one, gateway = watch()
    gateway.runtime.upstreams["dash"].health.missed("refused")
    caplog.clear()
    one._changed(KNOWN.without_proof())
    assert caplog.messages == []


@pytest.mark.parametrize("target", ["/app/_dash-layout", "/app/_dash-layout?x=/"])
async def test_a_page_that_a_client_has_opened_says_where_dash_may_be(looked_at: list[str], target: str) -> None:
    watch()[0].exchange_ended(exchange(target))
    assert looked_at == ["/app/"]


@pytest.mark.parametrize(
    "other",
    [
        exchange("/app/_dash-layout", status=404),
        exchange("/app/_dash-layout", upstream="ws"),
        exchange("/app/_dash-dependencies"),
        exchange("/app/my_dash-layout"),
        exchange("//_dash-layout"),
        exchange("/../_dash-layout"),
        exchange("/a%2fb/_dash-layout"),
    ],
)
async def test_other_requests_say_nothing(looked_at: list[str], other: Exchange) -> None:
    watch()[0].exchange_ended(other)
    assert looked_at == []


async def test_no_request_is_looked_at_when_dash_is_known_or_not_to_be_asked(looked_at: list[str]) -> None:
    known, _ = watch()
    known._reader._become(KNOWN)
    known.exchange_ended(exchange("/app/_dash-layout"))
    silent, _ = watch(health={"interval": 0})
    silent.exchange_ended(exchange("/app/_dash-layout"))
    assert looked_at == []


async def test_a_command_is_told_why_dash_is_not_known() -> None:
    settings = Settings.model_validate({"upstreams": {"dash": f"http://127.0.0.1:{free_port()}"}})
    facts = await ask_once(settings, "/_dash-ws-callback")
    assert facts == DashFacts(why="The upstream dash cannot be reached: connection refused.")
