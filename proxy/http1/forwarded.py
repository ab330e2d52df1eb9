"""Forwarding headers: the scheme, host, port and client of a request, read once, from a trusted proxy only.

Proxies send them under many names: lists, addresses with ports, five names for
the scheme. All uses (the origin check, limits, the access log, the hand-off,
the upstream) take the result from here, so no two can differ. Each of these
headers is written anew or removed, so the upstream cannot read it differently
either (docs/decisions/009-forwarding-headers.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

from proxy.config import split_port
from proxy.http1.headers import FORWARDING_HEADERS, Fields, Head, is_valid_host
from proxy.net.peer import UNKNOWN_ADDRESS, Peer, Trusted, address_of, is_trusted
from proxy.origin import DEFAULT_PORT

_T = TypeVar("_T")

_MOST_MEMBERS = 64
"""Members of one field that are read. Each proxy in front adds one; chains have two to four. The field may have
7,000, which a client can all make up to look trusted, and reading all of them took 26 ms (issue 9)."""

_REMEMBERED = 256
"""Results for a proxy's fields that are kept: 2 MiB at most."""

_LONGEST_REMEMBERED = 4096
"""Bytes of such fields, with the host."""

_REMEMBERED_CLIENTS = 1024
"""Results that are kept for clients without a trusted proxy: an address and a host."""

_LONGEST_HOST = 262
"""Characters of a host with its port."""

_ADDRESSES = (b"x-forwarded-for", b"x-real-ip")
_HOSTS = (b"x-forwarded-host", b"x-original-host")
_SCHEMES = {
    b"x-forwarded-proto": (b"http", b"https"),
    b"x-forwarded-scheme": (b"http", b"https"),
    b"x-forwarded-protocol": (b"http", b"ssl"),
    b"x-scheme": (b"http", b"https"),
    b"x-url-scheme": (b"http", b"https"),
    b"x-forwarded-ssl": (b"off", b"on"),
    b"x-forwarded-https": (b"off", b"on"),
    b"front-end-https": (b"off", b"on"),
}
"""The headers of the scheme, in order of precedence, and their values for http and for https.

``ssl`` because gunicorn takes any other value of X-Forwarded-Protocol for http, and answers 400 where two differ."""

_MOST_PROXIES_WRITE = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"))
"""Beside any of these Forwarded is not used: few proxies write it, and the others pass on what a client wrote."""

_SPELLINGS = {
    **dict.fromkeys((b"http", b"ws", b"off", b"0", b"false", b"no"), "http"),
    **dict.fromkeys((b"https", b"wss", b"ssl", b"tls", b"on", b"1", b"true", b"yes"), "https"),
}
_NODE = re.compile(r"(?:\[([^\]]*)\]|([0-9.]+))(?::(?:[0-9]{0,5}|_[A-Za-z0-9._-]*))?")
"""An address and perhaps a port (RFC 7239, section 6): Azure and IIS write one. An IPv6 address without brackets has
none: it could not be known where it begins."""

_WRITTEN = _MOST_PROXIES_WRITE | {b"x-forwarded-port", b"x-request-id"}
"""Fields that the upstream gets in any case; the others only where a trusted proxy wrote them."""

_PORT = re.compile(rb"0*([1-9][0-9]{0,4})")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}")
_MARKS = b' \t"'


class OriginalRequest(NamedTuple):
    """The original request, as far as the gateway knows it.

    client: its address; ``unix`` for a peer on a unix socket, ``unknown`` where no proxy names one.
    scheme: ``http`` or ``https``. is_scheme_known: False where it is http here and no trusted proxy names the scheme in
    front of it.
    hosts: what the page's URL may have after the scheme: the host of the request, and the same with the port that a
    proxy names where the host has none. Empty for HTTP/1.0 without a Host.
    port: of the URL, or the scheme's default.
    chain: the value of X-Forwarded-For for Dash: every address in front (64 at most), and the peer's, without
    ports, as nginx and HAProxy write it.
    fields: for the upstream, all but X-Forwarded-For and the request id. lines: the same as bytes, with line ends.
    request_id: a trusted proxy's; None where it sent none.
    """

    client: str
    scheme: str
    is_scheme_known: bool
    hosts: tuple[str, ...]
    port: int
    chain: bytes
    fields: Fields
    lines: bytes
    request_id: bytes | None

    @property
    def host(self) -> str:
        """The host of the request, with its port if it had one."""
        return self.hosts[0] if self.hosts else ""

    @property
    def is_secure(self) -> bool:
        """Whether the browser's own connection is encrypted, as far as it is known."""
        return self.scheme == "https"

    def fields_of(self, request_id: str, upstream: str) -> Fields:
        """Return the forwarding headers for an upstream.

        request_id: used where no proxy has sent one. upstream: its name.
        """
        given = self.request_id or request_id.encode()
        return ((b"X-Forwarded-For", self._addresses(upstream)), *self.fields, (b"X-Request-ID", given))

    def lines_of(self, request_id: str, upstream: str) -> bytes:
        """Return the same as bytes."""
        given = self.request_id or request_id.encode()
        return b"X-Forwarded-For: %b\r\n%bX-Request-ID: %b\r\n" % (self._addresses(upstream), self.lines, given)

    def _addresses(self, upstream: str) -> bytes:
        """Return the value of X-Forwarded-For.

        The service gets the client's address alone: it does not know the gateway's trusted proxies, and must see the
        same client for a tunnelled socket as for one that is handed over.
        """
        return self.client.encode("latin-1") if upstream == "ws" else self.chain


class ForwardedReader:
    """Reads forwarding headers.

    trusted: the proxies in front that are trusted (``gateway.trusted_proxies``).
    """

    def __init__(self, trusted: Trusted = ()) -> None:
        self._trusted = trusted
        self._remembered = lru_cache(_REMEMBERED)(self._read)
        self._remembered_client = lru_cache(_REMEMBERED_CLIENTS)(self._read)

    def read(self, head: Head, peer: Peer) -> OriginalRequest:
        """Read the head of a request. peer: of its connection. The result is remembered."""
        host, forwarding = head.block.host, head.block.forwarding
        if forwarding and not is_trusted(peer.address, self._trusted):
            forwarding = ()
        if not forwarding and len(host) <= _LONGEST_HOST:
            return self._remembered_client(peer, host, ())
        if len(host) + sum([len(name) + len(value) for name, value in forwarding]) > _LONGEST_REMEMBERED:
            return self._read(peer, host, forwarding)
        given = _request_id(forwarding)
        if given is None:
            return self._remembered(peer, host, forwarding)
        # The id differs each time, and all the rest is the same for one client.
        rest = tuple(field for field in forwarding if field[0].lower() != b"x-request-id")
        return self._remembered(peer, host, rest)._replace(request_id=given)

    def _read(self, peer: Peer, host: bytes, forwarding: Fields) -> OriginalRequest:
        """Read the forwarding headers of a trusted proxy; empty for any other peer."""
        client = address_of(peer.address) or peer.address
        chain = client
        scheme, asked, forwarded_port = None, None, None
        if forwarding:
            by_name: dict[bytes, list[bytes]] = {}
            for name, value in forwarding:
                by_name.setdefault(name.lower(), []).append(value)
            forwarded = by_name.get(b"forwarded", ()) if _MOST_PROXIES_WRITE.isdisjoint(by_name) else ()
            elements = [_pairs(member) for member in _from_last(forwarded)]
            hops = [_node(hop) for hop in _hops(by_name, elements)]
            client = self._client(client, hops)
            # No text that a program could read as an address stands for a unix socket.
            chain = ", ".join((*reversed(hops), *([] if hops and peer.address == "unix" else [chain])))
            scheme = _first(_scheme, by_name, _SCHEMES, elements, b"proto")
            asked = _first(_host, by_name, _HOSTS, elements, b"host")
            forwarded_port = _first(_port, by_name, (b"x-forwarded-port",), (), b"")
        is_known = scheme is not None or peer.scheme == "https"
        scheme = scheme or peer.scheme
        asked = asked or host.decode("latin-1")
        hosts: tuple[str, ...] = (asked,) if asked else ()
        bare, port = _split(asked)
        if port is None:
            port = DEFAULT_PORT[scheme]
            # 80 and 443 are the schemes' defaults: the one of the other scheme is the listener of an inner proxy.
            if forwarded_port is not None and forwarded_port not in DEFAULT_PORT.values():
                port = forwarded_port
                hosts = (asked, f"{bare}:{port}") if asked else ()
        fields = tuple(_written(forwarding, client, scheme, asked, port))
        lines = b"".join([b"%b: %b\r\n" % field for field in fields])
        return OriginalRequest(
            client, scheme, is_known, hosts, port, chain.encode("latin-1"), fields, lines, _request_id(forwarding)
        )

    def _client(self, address: str, hops: Iterable[str]) -> str:
        """Return the client's address: the last one that is not a trusted proxy's. address: the peer's."""
        for hop in hops:
            address = hop
            if not is_trusted(address, self._trusted):
                break
        return address


def _hops(by_name: Mapping[bytes, list[bytes]], elements: Iterable[Mapping[bytes, bytes]]) -> Iterable[bytes]:
    """Return the addresses in front, from the last one on: those of one field, because each names them all."""
    for name in _ADDRESSES:
        if hops := [hop for hop in _from_last(by_name.get(name, ())) if hop]:
            return hops
    return [hop for element in elements if (hop := element.get(b"for"))]


def _from_last(values: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the members of a field from the last one on, ``_MOST_MEMBERS`` at most."""
    left = _MOST_MEMBERS
    for value in reversed(list(values)):
        for part in reversed(value.rsplit(b",", left)[-left:] if left else ()):
            left -= 1
            yield part.strip(_MARKS)


def _from_first(values: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the members of a field from the first one on, ``_MOST_MEMBERS`` at most."""
    left = _MOST_MEMBERS
    for value in values:
        for part in value.split(b",", left)[:left] if left else ():
            left -= 1
            yield part.strip(_MARKS)


def _pairs(element: bytes) -> dict[bytes, bytes]:
    """Read an element of Forwarded (RFC 7239, section 4). No value that is of use here holds a comma or a semicolon."""
    pairs = (pair.partition(b"=") for pair in element.split(b";", _MOST_MEMBERS)[:_MOST_MEMBERS])
    return {name.strip(_MARKS).lower(): value.strip(_MARKS) for name, _, value in pairs}


def _first(
    read: Callable[[bytes], _T | None],
    by_name: Mapping[bytes, list[bytes]],
    names: Iterable[bytes],
    elements: Iterable[Mapping[bytes, bytes]],
    parameter: bytes,
) -> _T | None:
    """Return the first value that can be read: each proxy appends its own, so that one is the browser's.

    names: of the fields, in order of precedence. parameter: of an element of Forwarded.
    """
    for name in names:
        for member in _from_first(by_name.get(name, ())):
            if (value := read(member)) is not None:
                return value
    for element in reversed(list(elements)):
        if (value := read(element.get(parameter, b""))) is not None:
            return value
    return None


def _scheme(member: bytes) -> str | None:
    return _SPELLINGS.get(member.lower())


def _host(member: bytes) -> str | None:
    """Read a host, with its port if it has one. A name beyond ASCII is written as browsers write it (RFC 5891)."""
    if not 0 < len(member) <= _LONGEST_HOST:
        return None
    if not member.isascii():
        name, colon, digits = member.partition(b":")
        try:
            member = name.decode().encode("idna") + colon + digits
        except UnicodeError:
            return None
    if not is_valid_host(member):
        return None
    host = member.decode()
    bare, port = _split(host)
    return host if port is not None or host.rstrip(":") == bare else None  # not one with the port 99999


def _port(member: bytes) -> int | None:
    match = _PORT.fullmatch(member)
    return int(match[1]) if match and int(match[1]) <= 65535 else None


def _split(host: str) -> tuple[str, int | None]:
    """Return a host's name, and its port if it has one."""
    name, digits = split_port(host)
    return name, None if digits is None else _port(digits.encode("latin-1"))


@lru_cache(maxsize=1024)  # the same few come again
def _known_node(text: str) -> str:
    match = _NODE.fullmatch(text)
    return address_of(match[1] or match[2] or "" if match else text) or UNKNOWN_ADDRESS


def _node(hop: bytes) -> str:
    """Return an address as it is written everywhere: without its port, brackets and zone, IPv6 as RFC 5952 has it."""
    return _known_node(hop.decode("latin-1")) if len(hop) <= 128 else UNKNOWN_ADDRESS


def _request_id(forwarding: Fields) -> bytes | None:
    given = next((value for name, value in forwarding if name.lower() == b"x-request-id"), b"")
    return given if _REQUEST_ID.fullmatch(given) else None


def _written(forwarding: Fields, client: str, scheme: str, host: str, port: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the fields for the upstream: three of them, and the others that a trusted proxy sent, with the same
    values."""
    yield b"X-Forwarded-Proto", scheme.encode()
    if host and "," not in host:  # HTTP/1.0 may come without; a host may hold a comma, a list of hosts may not
        yield b"X-Forwarded-Host", host.encode("latin-1")
    yield b"X-Forwarded-Port", b"%d" % port
    again = set(_WRITTEN)
    for name, value in forwarding:
        key = name.lower()
        if key in again:
            continue
        if key in _SCHEMES:
            value = _SCHEMES[key][scheme == "https"]
        elif key in _ADDRESSES:
            value = client.encode("latin-1")
        elif key in _HOSTS:
            value = host.encode("latin-1")
        elif key == b"forwarded":
            value = _element(client, scheme, host)
        if key in FORWARDING_HEADERS or key in _SCHEMES:
            again.add(key)  # all others, such as X-Forwarded-Prefix, are not about this and pass as they came
        if value:
            yield name, value


def _element(client: str, scheme: str, host: str) -> bytes:
    """Write an element of Forwarded (RFC 7239, section 4)."""
    address = address_of(client) or UNKNOWN_ADDRESS
    node = f'"[{address}]"' if ":" in address else address
    about = f'for={node};host="{host}";proto={scheme}' if host else f"for={node};proto={scheme}"
    return about.encode("latin-1")
