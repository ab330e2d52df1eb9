"""Who is one client, for the gateway and for the service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.net import client_limits as limits
from ws_service.net import client_key as clients
from ws_service.net.client_key import client_key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("64:ff9b::203.0.113.7", "203.0.113.7"),  # NAT64, RFC 6052
        ("64:ff9b::cb00:7108", "203.0.113.8"),
        ("64:ff9b:0:0:1::1", "64:ff9b::/64"),  # not of the /96
        ("64:ff9b:1:abcd::203.0.113.7", "64:ff9b:1:abcd::cb00:7107"),  # a network's own NAT64, RFC 8215
        ("64:ff9b:1:abcd::203.0.113.8", "64:ff9b:1:abcd::cb00:7108"),
        ("2002:cb00:7107::1", "203.0.113.7"),  # 6to4, RFC 3056
        ("2002:cb00:7107:ffff::1", "203.0.113.7"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),  # Teredo; the example of RFC 4380, section 4
        ("::FFFF:cb00:7107", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:51234", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unix", "unix"),
        ("unknown", "unknown"),
        ("_hidden", "unknown"),
        ("", "unknown"),
        ("x" * 60000, "unknown"),
        ("203.0.113.7, 10.0.0.1", "unknown"),
        ("-", "unknown"),
    ],
)
def test_a_client_is_an_address_or_a_64(address: str, key: str) -> None:
    assert client_key(address) == key


@given(st.text())
def test_whatever_stands_for_an_address_makes_a_short_key(address: str) -> None:
    assert len(client_key(address)) <= 43


@given(st.ip_addresses(v=6))
def test_all_of_a_64_is_one_client(address: object) -> None:
    upper = str(address).partition("%")[0]
    key = client_key(upper)
    assert client_key(key.removesuffix("/64")) == key


def test_gateway_and_service_agree() -> None:
    assert limits.client_key is clients.client_key
