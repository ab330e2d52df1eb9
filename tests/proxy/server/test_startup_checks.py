"""Mistakes that take a look at files and names: each with its line and its key, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config import ConfigError, Settings, load_settings
from proxy.server.startup_checks import objections
from tests.certificates import Authority, encrypt


def mistakes(path: Path, text: str) -> list[str]:
    path.write_text(text)
    try:
        load_settings(path, {}, objections)
    except ConfigError as error:
        return [f"{m.line}:{m.key}: {m.message}" for m in error.mistakes]
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.mark.parametrize("address", ["127.0.0.1:8001", "127.1.2.3:80", "[::1]:8001", "localhost:8001", "unix:run/a"])
def test_an_admin_listener_for_this_host_alone_is_taken(address: str) -> None:
    assert not list(objections(Settings(admin=address)))


@pytest.mark.parametrize("address", ["0.0.0.0:8001", "[::]:8001", "*:8001", "192.0.2.1:8001", "[2001:db8::1]:8001"])
def test_an_admin_listener_that_others_reach_takes_a_word(path: Path, address: str) -> None:
    text = f"gateway:\n  listen: 127.0.0.1:8000\n  admin: '{address}'\n"
    (found,) = mistakes(path, text)
    assert found.startswith(f"3:gateway.admin: {address} can be reached from other hosts")
    assert found.endswith("or set admin_public: true if that is meant")
    assert not mistakes(path, text + "  admin_public: true\n")


def test_a_name_counts_by_its_addresses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert host == "gateway.test"
        return [(0, 0, 0, "", ("127.0.0.1", port)), (0, 0, 0, "", ("192.0.2.7", port))]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    (found,) = mistakes(path, "gateway: {admin: 'gateway.test:8001'}\n")
    assert "(192.0.2.7)" in found


def test_an_unknown_host_name_is_left_to_the_start() -> None:
    assert not list(objections(Settings(admin="gateway.invalid:8001")))


def test_files_of_tls_are_looked_for_beside_the_config_file_and_named_with_their_lines(path: Path) -> None:
    text = "gateway:\n  tls:\n    certificate: a.pem\n    key: server.key\n  upstream_ca: none.pem\n"
    assert mistakes(path, text) == [
        f"3:gateway.tls.certificate: {path.parent}/a.pem cannot be read: no such file or directory",
        f"4:gateway.tls.key: {path.parent}/server.key cannot be read: no such file or directory",
        f"5:gateway.upstream_ca: {path.parent}/none.pem cannot be read: no such file or directory",
    ]
    files = Authority(path.parent).issue()
    text = "gateway:\n  tls:\n    certificate: server.pem\n    key: server.key\n  upstream_ca: authority.pem\n"
    assert not mistakes(path, text)
    encrypt(Path(files["key"]))
    (found,) = mistakes(path, text)
    assert found.startswith("4:gateway.tls.key: ") and "is encrypted" in found


def test_what_is_not_well_formed_and_what_takes_a_look_are_said_at_once(path: Path) -> None:
    text = (
        "gateway:\n  buffer: 1\n  admin: '0.0.0.0:8001'\n  limits: {fields: 1}\n"
        "  tls: {certificate: a.pem, key: b.pem}\n  proxy_protocol: true\n  routes: [{to: dash}]\n  lisen: a\n"
    )
    assert [line.partition(": ")[0] for line in mistakes(path, text)] == [
        "2:gateway.buffer",
        "3:gateway.admin",
        "4:gateway.limits.fields",
        "5:gateway.tls.certificate",
        "5:gateway.tls.key",
        "6:gateway",
        "7:gateway.routes[0]",
        "8:gateway.lisen",
    ]


def test_what_only_follows_from_another_mistake_is_not_said(path: Path) -> None:
    """The trusted proxies are there, and what is wrong is how one is written."""
    assert mistakes(path, "gateway: {proxy_protocol: true, trusted_proxies: [nobody]}\n") == [
        "1:gateway.trusted_proxies[0]: 'nobody' is not a network; write 10.0.0.7 or 10.0.0.0/8, or unix for clients "
        "of the unix socket"
    ]


def test_every_address_is_public() -> None:
    (found,) = objections(Settings(admin="*:8001"))
    assert "*:8001 can be reached from other hosts (" in found[1]
