"""What follows from Dash's page: nothing that makes the gateway less safe than its configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.dash.facts import (
    UNKNOWN,
    DashFacts,
    as_json,
    idle_timeout,
    judged_by_dash,
    socket_paths,
    summary,
    warnings,
)
from proxy.dash.page_config import PageConfig, PageSocket

SOCKET = PageSocket(False, "/_dash-ws-callback", 30.0)
PAGE = PageConfig("4.4.1", "/", has_dev_tools=False, has_hot_reload=False, websocket=SOCKET)
HOUR = 3600.0


def facts(prefix: str = "/", heartbeat: float | None = 30.0, *, proved: bool = False) -> DashFacts:
    path = f"{prefix}_dash-ws-callback"
    socket = replace(SOCKET, url=path, heartbeat_interval=heartbeat)
    page = replace(PAGE, requests_pathname_prefix=prefix, websocket=socket)
    return DashFacts(page, "", prefix, frozenset((path,)) if proved else frozenset())


@pytest.mark.parametrize(
    ("heartbeat", "closed_after"),
    [(30.0, 120.0), (45.0, 180.0), (1.0, 60.0), (0.001, 60.0), (900.0, HOUR), (7200.0, HOUR), (None, HOUR)],
)
def test_dashs_own_websocket_is_idle_after_four_heartbeats(heartbeat: float | None, closed_after: float) -> None:
    assert idle_timeout(HOUR, facts(heartbeat=heartbeat)) == closed_after


def test_what_dash_says_only_makes_the_limit_shorter() -> None:
    assert idle_timeout(20.0, facts(heartbeat=30.0)) == 20.0
    assert idle_timeout(20.0, UNKNOWN) == 20.0


def test_an_origin_is_left_to_dash_where_it_has_shown_that_it_checks_them() -> None:
    assert judged_by_dash("auto", UNKNOWN) == frozenset()
    assert judged_by_dash("auto", facts("/app/")) == frozenset(), "a claim opens nothing"
    assert judged_by_dash("auto", facts("/app/", proved=True)) == {"/app/_dash-ws-callback"}


def test_a_prefix_in_the_file_counts_whatever_a_page_says() -> None:
    assert judged_by_dash("/mine/", facts("/app/", proved=True)) == {"/mine/_dash-ws-callback"}


def test_a_dash_that_goes_takes_its_proof_along_and_leaves_the_rest() -> None:
    assert facts("/app/", proved=True).without_proof() == facts("/app/")


def test_the_websocket_is_where_the_page_says_or_beside_the_page() -> None:
    page = replace(PAGE, websocket=replace(SOCKET, url="/app/_dash-ws-callback"))
    assert socket_paths(page, "/app/") == ("/app/_dash-ws-callback",)
    assert socket_paths(page, "/app/report?tone=a/b") == ("/app/_dash-ws-callback",)
    stripped = socket_paths(page, "/")
    assert stripped == ("/app/_dash-ws-callback", "/_dash-ws-callback"), "a proxy in front may remove the prefix"
    assert socket_paths(replace(PAGE, websocket=None), "/") == ()


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "wss://elsewhere.example/_dash-ws-callback",
        "//elsewhere.example/_dash-ws-callback",
        "/a/../_dash-ws-callback",
        "/a%2f/_dash-ws-callback",
        "/a;b/_dash-ws-callback",
        "/a b/_dash-ws-callback",
        "/chat/general",
        "/" + "a" * 2000 + "/_dash-ws-callback",
    ],
)
def test_a_path_that_servers_read_differently_is_no_place_of_a_websocket(url: str | None) -> None:
    page = replace(PAGE, websocket=replace(SOCKET, url=url))
    assert socket_paths(page, "/app/") == ("/app/_dash-ws-callback",)


@pytest.mark.parametrize("prefix", [None, "app", "/app", "//", "/a//", "/../", "/a?/", "/\N{LATIN SMALL LETTER E}é/"])
def test_a_prefix_that_dash_would_not_have_is_not_known(prefix: str | None) -> None:
    assert DashFacts(replace(PAGE, requests_pathname_prefix=prefix)).prefix is None


def test_one_sentence_says_what_is_known() -> None:
    assert summary(UNKNOWN, "auto", HOUR) == "Dash's page is not known: it was not asked yet"
    flask = DashFacts(replace(PAGE, dash_version=None, websocket=None, has_dev_tools=True))
    assert summary(flask, "auto", HOUR) == "Dash before 3 at /, in debug mode; it has no WebSocket of its own"
    assert summary(facts("/app/", proved=True), "auto", HOUR) == (
        "Dash 4.4.1 at /app/; its WebSocket checks origins at /app/_dash-ws-callback, has a heartbeat every 30 s, and "
        "is closed after 120 s without a byte"
    )
    assert summary(facts(heartbeat=None), "auto", HOUR) == (
        "Dash 4.4.1 at /; its WebSocket is for the pages that gateway.origins allows, has no heartbeat, and is closed "
        "after 3600 s without a byte"
    )


def test_a_setting_that_does_not_fit_the_page_is_named_with_what_to_write() -> None:
    assert warnings(facts("/app/"), "auto", HOUR) == []
    assert warnings(facts("/app/"), "/app/", HOUR) == []
    assert warnings(UNKNOWN, "/app/", HOUR) == []
    assert warnings(replace(facts("/app/"), page_path="/"), "/", HOUR) == [], "a proxy in front removes the prefix"
    (told,) = warnings(facts("/app/"), "/", HOUR)
    assert told == "gateway.dash_prefix is /, and Dash's page says /app/; write /app/, or auto"
    (told,) = warnings(facts(heartbeat=60.0), "auto", 30.0)
    assert told.startswith("gateway.timeouts.tunnel_idle is 30 s, and pages of Dash send a heartbeat each 60 s")


def test_readyz_has_the_same_as_data() -> None:
    assert as_json(UNKNOWN, "auto", HOUR) == {"known": False, "why": "it was not asked yet"}
    assert as_json(facts("/app/", proved=True), "auto", HOUR) == {
        "known": True,
        "version": "4.4.1",
        "prefix": "/app/",
        "page": "/app/",
        "debug": False,
        "websocket": {
            "paths": ["/app/_dash-ws-callback"],
            "origin_checked_by_dash": ["/app/_dash-ws-callback"],
            "heartbeat": 30.0,
            "idle_timeout": 120.0,
        },
    }
