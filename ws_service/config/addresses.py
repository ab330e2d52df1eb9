"""Addresses in ``config.yaml``: to listen on, of an upstream, of a socket file, and networks.

The one place that takes ``host:port`` apart.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from ws_service.logs.formatter import shown

_EXAMPLE = "127.0.0.1:8000"

SYSTEMD = "systemd"
"""In the place of an address: systemd listens, and passes the socket. A name may follow: ``systemd:gateway``."""

OFF = "off"
"""In the place of an address: there is no listener."""

_PASSED_NAME = re.compile(r"[!-9;-~][ -9;-~]{0,254}")
"""What systemd takes for a name (sd_pid_notify_with_fds(3), FDNAME): up to 255 characters of ASCII, and no colon."""


def split_port(address: str) -> tuple[str, str | None]:
    """Split ``host:port``: the host as it is written, an IPv6 address in brackets, and the port, unchecked.

    The port is None where there is no colon, and empty where nothing follows the colon.
    """
    host, colon, port = address.rpartition(":")
    return (host, port) if colon and "]" not in port else (address, None)


def split_listen(address: str) -> tuple[str, int] | str:
    """Split a checked address: ``(host, port)`` without brackets, or the path of a unix socket.

    ``off``, and what ``passed_name`` knows, are none: they are to be looked for first.
    """
    if address.startswith("unix:"):
        return address[5:]
    host, port = split_port(address)
    return host.strip("[]"), int(port or 0)


def passed_name(address: str) -> str | None:
    """Return the name of the socket that systemd passes; empty for its usual name, None where it passes none."""
    word, _, name = address.partition(":")
    return name if word == SYSTEMD else None


def split_url(url: str) -> tuple[str, int]:
    """Split a checked ``http://host:port``: the host without brackets, and the port, 80 or 443 where none is given."""
    scheme, _, rest = url.partition("://")
    host, port = split_port(rest)
    return host.strip("[]"), int(port) if port else 443 if scheme == "https" else 80


def parse_listen(value: object) -> str:
    """Check an address to listen on: ``host:port``, ``[v6]:port`` or ``unix:path``.

    The host ``*`` is every address, IPv4 and IPv6. Port 0 is one that is free. Returns it as it came.

    Raises ValueError with a sentence for the operator.
    """
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not an address; write host:port, for example {_EXAMPLE}")
    if value.startswith("unix:"):
        if not value[5:]:
            raise ValueError("the path after unix: is missing")
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not host:
        every = f"; '*:{port}' is every address of this host" if colon else ""
        raise ValueError(f"{shown(value)} is not an address; write host:port, for example {_EXAMPLE}{every}")
    if ":" in host and not (host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1])):
        raise ValueError(_advice_on_ipv6(value))
    check_port(port, lowest=0)
    return value


def _advice_on_ipv6(value: str) -> str:
    """Return what to write instead of an address with colons that cannot be read.

    ``::8000`` is an IPv6 address too, but what is meant are ``::`` and a port.
    """
    host, _, port = value.rpartition(":")
    if host == ":" and len(port) > 1:
        return f"{shown(value)}: an IPv6 address needs brackets: [::]:{port}, or '*:{port}' for IPv4 as well"
    if _is_ipv6(host):
        return f"{shown(value)}: an IPv6 address needs brackets: [{host}]:{port}"
    address = value.strip("[]")
    if _is_ipv6(address):
        return f"{shown(value)} has no port; write [{address}]:8000"
    return f"{shown(value)} is not an address; write host:port, for example {_EXAMPLE} or [::1]:8000"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def check_port(text: str, lowest: int = 1) -> int:
    """Return a port from its digits; ValueError when it is not a number from ``lowest`` to 65535."""
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ValueError(f"port {shown(text)} is not a number")
    if not lowest <= int(text) <= 65535:
        raise ValueError(f"port {text} is out of range (1 to 65535)")
    return int(text)


def check_host(host: str) -> str:
    """Return a host name or an address that a resolver can be asked for.

    Raises ValueError for others: Python's resolver raises UnicodeError for them.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        reason = "a part between two dots is empty, or longer than 63 characters"
        raise ValueError(f"{shown(host)} is not the name of a host: {reason}") from None
    return host


def listen_like(example: str, *words: str) -> BeforeValidator:
    """Return ``parse_listen`` with an example of its own in its messages, the setting's default; it checks the host.

    words: ``SYSTEMD`` and ``OFF``, where the setting knows them; ``false`` is read as ``OFF`` too.
    """

    def parse(value: object) -> str:
        if OFF in words and (value is False or value == OFF):
            return OFF
        if SYSTEMD in words and isinstance(value, str) and passed_name(value) is not None:
            return _check_passed(value)
        try:
            address = parse_listen(value)
        except ValueError as error:
            raise ValueError(str(error).replace(_EXAMPLE, example)) from None
        place = split_listen(address)
        if isinstance(place, tuple):
            check_host(place[0])
        return address

    return BeforeValidator(parse)


def _check_passed(value: str) -> str:
    word, colon, name = value.partition(":")
    if colon and not _PASSED_NAME.fullmatch(name):
        raise ValueError(f"{shown(value)} names no socket; write {word}, or {word}: and a FileDescriptorName=")
    return value


def parse_socket_path(value: object) -> str:
    """Check the path of a socket file, or ``off``; ``false`` is read as ``off`` too. Raises ValueError."""
    if value is False:
        return "off"
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{shown(value)} is not the path of a socket file; write run/ws.sock, or off")
    return value


SocketPath = Annotated[str, BeforeValidator(parse_socket_path)]
"""The path of a socket file, or ``off``."""


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """Read ``10.0.0.7`` or ``10.0.0.0/8`` into a network; ValueError for anything else."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value), strict=False)
    except ValueError:
        raise ValueError(f"{shown(value)} is not a network; write 10.0.0.7 or 10.0.0.0/8") from None


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network), PlainSerializer(str)]
"""An address or a network of addresses."""
