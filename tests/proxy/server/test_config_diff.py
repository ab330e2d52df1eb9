"""What a config that is read again changes, in words, and what of it has to wait for a restart."""

from __future__ import annotations

import pytest

from proxy.config import Settings
from proxy.server.config_diff import NEEDS_RESTART, CannotApply, differences, merge


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


def test_what_lets_everybody_pass_is_told_although_it_is_null() -> None:
    (change,) = differences(settings(), settings(auth=[{"path": "/login", "ask": None}]))
    assert change == "auth: added {path: /login, ask: null}"


def test_a_long_list_and_a_long_value_are_cut() -> None:
    (change,) = differences(settings(), settings(trusted_proxies=[f"10.0.0.{n}" for n in range(200)]))
    assert (
        change == "trusted_proxies: added 10.0.0.0/32, 10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, 10.0.0.4/32 and 195 more"
    )
    (change,) = differences(settings(), settings(routes=[{"path": "/" + "x" * 300, "to": "ws"}]))
    assert len(change) < 300
    assert change.endswith("...")


CHANGED: dict[str, dict[str, object]] = {
    "listen": {"listen": "127.0.0.1:9000"},
    "admin": {"admin": "127.0.0.1:9001"},
    "admin_public": {"admin_public": True},
    "proxy_protocol": {"proxy_protocol": True, "trusted_proxies": ["10.0.0.0/8"]},
    "handoff": {"handoff": "off"},
    "tls": {"tls": TLS},
}


@pytest.mark.parametrize("key", CHANGED)
def test_what_takes_a_restart_stays_and_is_named_and_the_rest_is_applied(key: str) -> None:
    merged, staying = merge(settings(), settings(**CHANGED[key], timeouts={"drain": "90s"}))
    assert getattr(merged, key) == getattr(settings(), key)
    assert merged.timeouts.drain == 90
    (change,) = staying
    assert change.startswith(f"{key}: ")


def test_every_setting_that_takes_a_restart_is_tried_here() -> None:
    assert set(CHANGED) == {*NEEDS_RESTART, "tls"}


def test_other_files_for_the_certificate_need_no_restart() -> None:
    read = settings(tls={"certificate": "b.pem", "key": "b.key"})
    assert merge(settings(tls=TLS), read) == (read, [])


def test_the_new_and_what_stays_must_fit_together() -> None:
    """A listener that goes on to ask for PROXY headers, and believes nobody's, would close every connection."""
    running = settings(proxy_protocol=True, trusted_proxies=["10.0.0.0/8"])
    with pytest.raises(CannotApply, match=r"^proxy_protocol cannot change without a restart, and then: proxy"):
        merge(running, settings())
