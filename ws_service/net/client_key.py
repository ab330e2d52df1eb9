"""The key under which a client is counted, for every limit of one client: of the gateway, and of the service (issue
9)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from sys import intern

_LONGEST = 64
"""Characters of an address, with a port and a zone; a longer text is not an address, and is not cached."""

_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")


def client_key(address: str) -> str:
    """Return the key under which a client is counted.

    Of IPv6 the /64, which is what one customer gets (RFC 6177); an address
    that stands for one of IPv4 (mapped, NAT64, 6to4, Teredo) is that one.
    Some proxies write a port after the address in X-Forwarded-For. All texts
    that are not addresses are one client, ``unknown``: a name that a client chooses
    would bypass every limit. ``unix`` is all clients of a socket file.
    """
    return _key(address) if len(address) <= _LONGEST else "unknown"


@lru_cache(maxsize=1024)  # the same clients come again, and reading an IPv6 address takes as long as an accept
def _key(address: str) -> str:
    if address == "unix":
        return address
    host = address.partition("%")[0]  # fe80::1%eth0
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        ip = ip_address(host)
    except ValueError:
        return "unknown"
    client = ip if isinstance(ip, IPv4Address) else _within(ip) or IPv6Network((int(ip) >> 64 << 64, 64))
    return intern(str(client))  # one string for all counts of a client


def _within(ip: IPv6Address) -> IPv4Address | IPv6Address | None:
    """Return the IPv4 address that an IPv6 address stands for; None where it stands for itself.

    Behind NAT64 all IPv4 clients come from one /64, and would be one client. A site with 6to4 has 65,536 of them, and
    all clients of a Teredo server have one. A client cannot choose any of these addresses freely: the response
    goes to the IPv4 address within.
    """
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)  # RFC 6052, section 2.2
    if ip in _NAT64_LOCAL:
        return ip  # RFC 8215: only its network knows where in it the IPv4 address is; each network has one of these
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)  # RFC 3056, RFC 4380
