"""What of a configuration that is read again has to wait for a restart."""

from __future__ import annotations

import pytest

from proxy.config import Settings
from proxy.server.config_diff import NEEDS_RESTART, CannotApply, merge


def settings(**values: object) -> Settings:
    return Settings.model_validate(values)


TLS = {"certificate": "a.pem", "key": "a.key"}


CHANGED: dict[str, dict[str, object]] = {
    "listen": {"listen": "127.0.0.1:9000"},
    "reuse_port": {"reuse_port": True},
    "admin": {"admin": "127.0.0.1:9001"},
    "admin_public": {"admin_public": True},
    "proxy_protocol": {"proxy_protocol": True, "trusted_proxies": ["10.0.0.0/8"]},
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
    """A listener that goes on to ask for PROXY headers, and trusts no proxy, would close every connection."""
    running = settings(proxy_protocol=True, trusted_proxies=["10.0.0.0/8"])
    with pytest.raises(CannotApply, match=r"^proxy_protocol cannot change without a restart, and then: proxy"):
        merge(running, settings())
