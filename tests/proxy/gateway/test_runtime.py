"""The rules of a reading of the config hold what it says."""

from __future__ import annotations

from proxy.config import Auth, Route, Settings, Upstreams
from proxy.dash.facts import UNKNOWN, DashFacts
from proxy.dash.page_config import PageConfig, PageSocket
from proxy.gateway.routing import Upgrade
from proxy.gateway.runtime import make_runtime

KNOWN = DashFacts(
    PageConfig("4.4.1", "/", False, False, PageSocket(False, "/_dash-ws-callback", 30.0)),
    checks_origin=frozenset(("/_dash-ws-callback",)),
)


async def test_the_rules_are_those_of_the_settings() -> None:
    settings = Settings(routes=(Route(path="/live", to="ws"),), upstreams=Upstreams(dash="http://127.0.0.1:1"))
    rules = make_runtime(settings)
    assert rules.settings is settings
    assert rules.table.match("/live", b"", [], upgrade=False)[0] == "ws"
    assert {name: upstream.urls for name, upstream in rules.upstreams.items()} == {
        "dash": "http://127.0.0.1:1",
        "ws": "http://127.0.0.1:8765",
    }


async def test_dash_is_asked_as_the_settings_say() -> None:
    rules = make_runtime(Settings(auth=(Auth(ask="/auth", copy_headers=("X-User",)),)))
    rule = rules.auth_rules.rule_for("/", b"")
    assert rule is not None and rule.ask == "/auth"
    assert rules.auth_rules.identity_headers == {b"x-user"}


async def test_an_upstream_with_the_same_url_is_the_same_object_and_another_is_not() -> None:
    before = make_runtime(Settings())
    settings = Settings(upstreams=Upstreams(dash="http://127.0.0.1:1"), buffer="8KiB")
    after = make_runtime(settings, before)
    assert after.upstreams["ws"] is before.upstreams["ws"]
    assert after.upstreams["dash"] is not before.upstreams["dash"]
    assert after.upstreams["dash"].urls == "http://127.0.0.1:1"
    assert before.upstreams["dash"].urls == "http://127.0.0.1:8050", "who began with it ends with it"


async def test_making_rules_changes_nothing_that_is_in_force_until_they_are_put_in_place() -> None:
    before = make_runtime(Settings())
    dash = before.upstreams["dash"]
    after = make_runtime(Settings.model_validate({"timeouts": {"upstream_idle": "3s"}}), before)
    assert after.upstreams["dash"] is dash
    assert dash.addresses[0]._pool._idle_timeout == 1.5
    after.reconfigure_upstreams()
    assert dash.addresses[0]._pool._idle_timeout == 3


async def test_what_is_known_of_dash_stays_in_a_reload_unless_dash_has_another_address() -> None:
    before = make_runtime(Settings())
    known = before.with_dash(KNOWN)
    assert (before.dash, known.dash) == (UNKNOWN, KNOWN)
    assert not before.table.leaves_origin_to_dash("dash", "/_dash-ws-callback")
    assert known.table.leaves_origin_to_dash("dash", "/_dash-ws-callback")
    assert make_runtime(Settings(buffer="8KiB"), known).dash == KNOWN
    moved = make_runtime(Settings(upstreams=Upstreams(dash="http://127.0.0.1:1")), known)
    assert moved.dash == UNKNOWN
    assert not moved.table.leaves_origin_to_dash("dash", "/_dash-ws-callback")


async def test_the_idle_timeout_follows_dashs_heartbeat_for_dashs_own_websocket_alone() -> None:
    known = make_runtime(Settings()).with_dash(KNOWN)
    dashs = Upgrade("dash", "dash socket", "/_dash-ws-callback", b"")
    assert known.tunnel_idle(dashs) == 120
    assert make_runtime(Settings()).tunnel_idle(dashs) == 3600
    for other in (Upgrade("dash", "routes[0]", "/chat", b""), Upgrade("ws", "websocket", "/live", b"")):
        assert known.tunnel_idle(other) == 3600
