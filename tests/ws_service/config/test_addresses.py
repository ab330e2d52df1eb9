"""Addresses of the config file, checked and split."""

from __future__ import annotations

import pytest

from ws_service.config.addresses import parse_listen, parse_socket_path, split_listen, split_port, split_url


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("[::1]:8000", ("::1", 8000)),
        ("localhost:1", ("localhost", 1)),
        ("*:8000", ("*", 8000)),
        ("[::]:8000", ("::", 8000)),
        ("[fe80::1%eth0]:8000", ("fe80::1%eth0", 8000)),
        ("unix:run/ws.sock", "run/ws.sock"),
    ],
)
def test_an_address_is_checked_and_split(address: str, parts: object) -> None:
    assert split_listen(parse_listen(address)) == parts


def test_a_socket_file_is_a_path_or_off() -> None:
    assert [parse_socket_path(value) for value in ("run/ws.sock", "off", False)] == ["run/ws.sock", "off", "off"]
    for value in (True, None, "", 7, "a\0b"):
        with pytest.raises(ValueError, match="is not the path of a socket file"):
            parse_socket_path(value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8050", ("127.0.0.1", 8050)),
        ("http://dash.internal", ("dash.internal", 80)),
        ("http://[::1]:8050", ("::1", 8050)),
        ("http://[::1]", ("::1", 80)),
    ],
)
def test_a_url_is_split_into_host_and_port(url: str, expected: tuple[str, int]) -> None:
    assert split_url(url) == expected


def test_a_url_without_a_port_has_that_of_its_scheme() -> None:
    assert split_url("https://dash.test") == ("dash.test", 443)
    assert split_url("https://[::1]") == ("::1", 443)
    assert split_url("https://dash.test:8443") == ("dash.test", 8443)
    assert split_url("http://dash.test") == ("dash.test", 80)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("dash:80", ("dash", "80")),
        ("dash", ("dash", None)),
        ("dash:", ("dash", "")),
        ("[::1]:80", ("[::1]", "80")),
        ("[::1]", ("[::1]", None)),
        ("", ("", None)),
    ],
)
def test_a_port_is_what_follows_the_last_colon_outside_of_brackets(address: str, parts: tuple[str, str | None]) -> None:
    assert split_port(address) == parts
