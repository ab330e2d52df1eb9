"""The setting ``upstreams``: names of the operator's own, lists of addresses, and what is wrong with either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.config import ConfigError, Settings, load_settings
from proxy.upstream_settings import UpstreamAddress, Upstreams

ROUTED = "routes: [{path: /api, to: api}]"


@pytest.fixture
def mistakes(tmp_path: Path) -> Callable[[str], list[tuple[str, str]]]:
    """What is wrong with the gateway's section: each key, and the sentence."""

    def find(text: str) -> list[tuple[str, str]]:
        file = tmp_path / "config.yaml"
        file.write_text(f"gateway:\n{text}")
        try:
            load_settings(file, {})
        except ConfigError as error:
            return [(mistake.key, mistake.message) for mistake in error.mistakes]
        return []

    return find


def test_an_upstream_may_have_a_name_of_its_own_and_several_addresses() -> None:
    upstreams = Upstreams.model_validate({"api": "http://a", "ws": ["http://b", {"url": "unix:c", "handoff": "d"}]})
    assert {name: [one.url for one in each] for name, each in upstreams.by_name.items()} == {
        "dash": ["http://127.0.0.1:8050"],
        "ws": ["http://b", "unix:c"],
        "api": ["http://a"],
    }
    assert len(list(upstreams.all_addresses)) == 4


def test_what_is_written_back_is_as_short_as_it_was() -> None:
    written = {"dash": "http://a", "ws": ["http://b", {"url": "unix:c", "handoff": "d"}], "api": "http://e"}
    assert Upstreams.model_validate(written).model_dump(mode="json") == written
    one = {"dash": "http://a", "ws": [{"url": "http://b", "handoff": "off"}]}
    assert Upstreams.model_validate(one).model_dump(mode="json") == one


@pytest.mark.parametrize("url", ["unix:/run/ws.sock", "http://127.0.0.1:1", "http://localhost:1", "https://[::1]:1"])
def test_a_loopback_address_and_a_socket_are_on_this_host(url: str) -> None:
    assert UpstreamAddress(url=url).is_on_this_host


@pytest.mark.parametrize("url", ["http://10.0.0.7:1", "http://ws:8765", "http://[fd00::1]:1"])
def test_of_any_other_address_that_is_not_certain(url: str) -> None:
    assert not UpstreamAddress(url=url).is_on_this_host


def test_a_name_that_no_route_leads_to_is_most_likely_misspelt(
    mistakes: Callable[[str], list[tuple[str, str]]],
) -> None:
    assert mistakes("  upstreams: {dahs: 'http://a'}\n") == [
        ("gateway", "upstreams.dahs gets nothing: did you mean dash? Or write routes: [{path: /dahs, to: dahs}]")
    ]
    assert mistakes("  upstreams: {api: 'http://a'}\n") == [
        ("gateway", "upstreams.api gets nothing: no route leads to it; write routes: [{path: /api, to: api}]")
    ]
    assert mistakes(f"  upstreams: {{api: 'http://a'}}\n  {ROUTED}\n") == []


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("upstreams: {Api: 'http://a'}", "gateway.upstreams.Api", "a name of your own has small letters"),
        ("upstreams: {my_api: 'http://a'}", "gateway.upstreams.my_api", "a name of your own has small letters"),
        ("upstreams: {limits: 5}", "gateway.upstreams.limits", "expected a URL such as"),
        ("upstreams: {ws: []}", "gateway.upstreams.ws", "is an empty list"),
        ("upstreams: {ws: ['http://a', 'ftp://b']}", "gateway.upstreams.ws[1]", "does not begin with http://"),
        ("upstreams: {ws: ['http://a', {url: 'ftp://b'}]}", "gateway.upstreams.ws[1].url", "does not begin with"),
        ("upstreams: {ws: [{handoff: a}]}", "gateway.upstreams.ws[0].url", "is missing"),
        ("upstreams: {ws: [{url: 'http://a', handof: b}]}", "gateway.upstreams.ws[0].handof", "mean handoff?"),
        ("upstreams: {ws: ['http://a', 'http://a/']}", "gateway.upstreams.ws", "has http://a twice"),
        ("upstreams: {ws: [{url: 'http://a', handoff: ''}]}", "gateway.upstreams.ws[0].handoff", "is not the path"),
        ("upstreams: {dash: [{url: 'http://a', handoff: b}]}", "gateway", "handed over to ws alone"),
        (
            "upstreams: {ws: [{url: 'http://a', handoff: b}, {url: 'http://c', handoff: b}]}",
            "gateway",
            "b is the handoff of two addresses",
        ),
        (
            "upstreams: {ws: [{url: 'http://a', handoff: b}, {url: 'http://c', handoff: b.1}]}",
            "gateway",
            "b.1 is a worker's of the service at b",
        ),
        (ROUTED, "gateway.routes[0].to", "'api' is no upstream; gateway.upstreams has dash, ws"),
        ("routes: [{path: /a, to: wss}]", "gateway.routes[0].to", "did you mean ws?"),
        ("health: {api: /healthz}", "gateway.health.api", "'api' is no upstream"),
        ("health: {intervall: 5s}", "gateway.health.intervall", "did you mean interval?"),
        ("health: {zzz: 5}", "gateway.health.zzz", "known here: interval, timeout, fails, passes, and the names"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(
    mistakes: Callable[[str], list[tuple[str, str]]], text: str, key: str, words: str
) -> None:
    [(where, message)] = mistakes(f"  {text}\n")
    assert where == key
    assert words in message


def test_an_upstream_with_a_name_of_its_own_has_a_health_path_too() -> None:
    settings = Settings.model_validate(
        {
            "upstreams": {"api": "http://a"},
            "routes": [{"path": "/api", "to": "api"}],
            "health": {"api": "/healthz", "dash": "/"},
        }
    )
    assert [settings.health.path_for(name) for name in ("api", "dash", "ws")] == ["/healthz", "/", None]
