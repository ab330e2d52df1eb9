from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.net.peer import Trusted, address_of, is_trusted

FRONT: Trusted = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), "unix")
NO_PROXIES: Trusted = ()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("fe80::1", False),
        ("unix", True),
        ("-", False),
        ("", False),
        ("10.1.2", False),
        ("10.1.2.3:80", False),
        ("unknown", False),
    ],
)
def test_trust_is_a_matter_of_the_peers_address(address: str, expected: bool) -> None:
    assert is_trusted(address, FRONT) is expected
    assert is_trusted(address, NO_PROXIES) is False


def test_a_unix_socket_is_trusted_only_where_it_is_named() -> None:
    assert not is_trusted("unix", (ip_network("0.0.0.0/0"), ip_network("::/0")))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:cb00:7107", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("203.0.113.7:80", ""),
        ("[::1]", ""),
        ("unix", ""),
        ("", ""),
        ("1" * 100, ""),
        ("010.0.0.1", ""),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert address_of(text) == address
