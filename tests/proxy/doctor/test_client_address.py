"""Where a listener is found by a client of this host."""

from __future__ import annotations

import pytest

from proxy.doctor.client_address import client_address


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("*:80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
        ("[::1]:80", "http://[::1]:80"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("off", None),
        ("systemd", None),
        ("systemd:web", None),
        ("127.0.0.1:0", None),
    ],
)
def test_an_address_is_one_to_connect_to_or_is_not_known(listen: str, address: str | None) -> None:
    assert client_address(listen) == address


def test_a_listener_with_a_certificate_speaks_https() -> None:
    assert client_address("127.0.0.1:443", has_tls=True) == "https://127.0.0.1:443"
