"""The other end of a client's connection, and whether what it says about the client is trusted."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

_LONGEST_ADDRESS = 64
"""Characters of an address with its zone; a longer text is not an address."""


class Peer(NamedTuple):
    """The other end of the client's connection.

    address: IP address, or ``unix`` for a unix socket.
    scheme: ``http`` or ``https``, from the transport, or from a trusted proxy's PROXY header; not from what a client
        can write.
    """

    address: str
    scheme: str = "http"


UNKNOWN_PEER = Peer("-")
"""A peer of which nothing is known, and which is not trusted."""

UNKNOWN_ADDRESS = "unknown"
"""The address of a client whose address the proxy does not know (RFC 7239, section 6.2): it came through a unix socket,
or by a protocol that the header has no form for. Not the proxy's own address, although the protocol's text would allow
that: the proxy is trusted, and the X-Forwarded-For of such a client would be trusted too."""

Trusted = tuple[IPv4Network | IPv6Network | str, ...]


def is_trusted(address: str, trusted: Trusted) -> bool:
    """Tell whether a peer is a trusted proxy (``gateway.trusted_proxies``)."""
    if not trusted:
        return False
    if address == "unix":
        return "unix" in trusted
    ip = _ip(address) if len(address) <= _LONGEST_ADDRESS else None
    return ip is not None and any(ip in network for network in trusted if not isinstance(network, str))


@lru_cache(maxsize=1024)  # the same few come again, and reading one takes ten times as long as looking it up
def _ip(address: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = None if isinstance(ip, IPv4Address) else ip.ipv4_mapped  # a dual-stack socket shows ::ffff:10.0.0.7
    return mapped or ip


def address_of(text: str) -> str:
    """Return an IP address in its one spelling (RFC 5952), without a zone and as IPv4 where it stands for one.

    Empty for a text that is not an address.
    """
    ip = _ip(text) if len(text) <= _LONGEST_ADDRESS else None
    return "" if ip is None else str(ip)
