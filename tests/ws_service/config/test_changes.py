"""What a configuration that is read again changes, in the words of the log."""

from __future__ import annotations

import logging

import pytest

from proxy.config import Settings
from ws_service.config.changes import differences, log_changes, log_refusal
from ws_service.errors import ConfigError, Mistake

log = logging.getLogger("ws_service.test")


def settings(**values: object) -> Settings:
    return Settings.model_validate(values)


TLS = {"certificate": "a.pem", "key": "a.key"}


def test_what_has_changed_is_told_as_the_file_writes_it() -> None:
    before = settings(routes=[{"path": "/a", "to": "ws"}])
    after = settings(timeouts={"drain": "90s"}, limits={"body": "1MiB"}, upstreams={"dash": "http://127.0.0.1:1"})
    assert differences(before, after) == [
        "upstreams.dash: http://127.0.0.1:8050 -> http://127.0.0.1:1",
        "routes: removed {path: /a, to: ws}",
        "limits.body: null -> 1MiB",
        "timeouts.drain: 20s -> 90s",
    ]


def test_nothing_has_changed_where_nothing_has() -> None:
    assert differences(settings(), settings()) == []


def test_a_section_that_comes_or_goes_is_told_key_by_key() -> None:
    assert differences(settings(tls=TLS), settings()) == [
        "tls.certificate: a.pem -> null",
        "tls.key: a.key -> null",
    ]


def test_of_a_list_is_told_what_came_went_and_changed_and_not_what_stayed() -> None:
    stays = {"path": "/b", "to": "ws"}
    before = settings(
        routes=[{"path": "/a", "to": "ws"}, stays, {"path": "/c", "host": "h.example", "to": "ws"}],
        origins=["same", "https://a.example"],
        auth=[{"path": "/login", "ask": None}, {"path": "/x", "ask": "/auth"}],
        trusted_proxies=["10.0.0.1", "unix"],
        admin_hosts=["a", "b"],
    )
    after = settings(
        routes=[{"path": "/c", "host": "h.example", "to": "dash"}, stays, {"subprotocol": "chat", "to": "ws"}],
        origins=["same", "null", "regex:https://[a-z]+[.]example"],
        auth=[
            {"path": "/login", "ask": None},
            {"path": "/x", "ask": "/auth", "cache": "30s", "copy_headers": ["X-User"]},
        ],
        trusted_proxies=["10.0.0.1", "unix", "192.168.0.0/16"],
        admin_hosts=["b", "a"],
    )
    assert differences(before, after) == [
        "admin_hosts: the same entries in another order",
        "routes: added {subprotocol: chat, to: ws}; removed {path: /a, to: ws}; "
        "changed {path: /c, host: h.example, to: ws} -> {path: /c, host: h.example, to: dash}",
        "trusted_proxies: added 192.168.0.0/16",
        "origins: added 'null', 'regex:https://[a-z]+[.]example'; removed 'https://a.example'",
        "auth: changed {path: /x, ask: /auth} -> {path: /x, ask: /auth, copy_headers: [X-User], cache: 30s}",
    ]


def test_a_rule_that_allows_every_request_is_told_although_it_is_null() -> None:
    (change,) = differences(settings(), settings(auth=[{"path": "/login", "ask": None}]))
    assert change == "auth: added {path: /login, ask: null}"


def test_a_long_list_and_a_long_value_are_cut() -> None:
    (change,) = differences(settings(), settings(trusted_proxies=[f"10.0.0.{n}" for n in range(200)]))
    assert (
        change == "trusted_proxies: added 10.0.0.0/32, 10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, 10.0.0.4/32 and 195 more"
    )
    (change,) = differences(settings(), settings(routes=[{"path": "/" + "x" * 300, "to": "ws"}]))
    assert len(change) < 300
    assert change.endswith("...(317 characters)")


def test_the_log_counts_the_changes_and_names_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", log.name)
    log_changes(log, "gateway", ["buffer: 16KiB -> 4KiB"], ["listen: a -> b", "handoff: c -> off"])
    log_changes(log, "gateway", [], [])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "the configuration was read again; 1 changed, 2 take a restart"),
        ("INFO", "changed: gateway.buffer: 16KiB -> 4KiB"),
        ("WARNING", "takes a restart: gateway.listen: a -> b"),
        ("WARNING", "takes a restart: gateway.handoff: c -> off"),
        ("INFO", "the configuration was read again; nothing changed"),
    ]


def test_the_log_names_each_mistake_of_a_configuration_that_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    log_refusal(log, ConfigError("c.yaml", [Mistake("is 100% wrong", "a"), Mistake("is wrong too", "b")]))
    assert caplog.messages == [
        "c.yaml: a: is 100% wrong",
        "c.yaml: b: is wrong too",
        "the configuration was read again and cannot be used; the one before stays in force",
    ]


def test_an_address_that_comes_or_goes_is_told_as_such() -> None:
    one, other = "http://127.0.0.1:1", "http://127.0.0.1:2"
    before, after = settings(upstreams={"ws": one}), settings(upstreams={"ws": [one, {"url": other, "handoff": "b"}]})
    added = f"upstreams.ws: added {{url: '{other}', handoff: b}}"
    assert differences(before, after) == [added]
    assert differences(after, before) == [added.replace("added", "removed")]
    moved = settings(upstreams={"ws": [one, {"url": other, "handoff": "c"}]})
    (change,) = differences(after, moved)
    assert change.startswith("upstreams.ws: changed {url: ")
