"""What is removed from a report before it is written, because reports are put where everyone can read them.

Secrets become ``***``. Hosts and addresses of other machines become ``host-1``, ``address-1``, the same one each time,
so that it can still be seen which of them are equal. The folder of a user becomes ``~``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

HIDDEN = "***"

_LOCAL = frozenset(("localhost", "0.0.0.0", "::", "*", ""))

_URL_HOST = re.compile(r"(?<=://)(?:[^/\s@\"']*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")
"""To the last ``@`` before the path, as in ``urlsplit``: a password may have one, and quotes."""

_EXPRESSION = re.compile(r"regex:\S+")
"""One of ``gateway.origins``, which names hosts in its own way."""

_HOST_AND_PORT = re.compile(r"([A-Za-z][A-Za-z0-9.-]*):\d{1,5}")
_QUERY = re.compile(r"\?[\w.~%-]+=[^\s\"']*")
_NAMED_SECRET = re.compile(
    r"(?i)\b(pass(?:word|wd)?|secret|token|api[_-]?key|session)(\"?'?\s*[:=]\s*\"?'?)([^\s\"',;&)]{3,})"
)
_SECRET_FIELD = re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\"?'?\s*[:=]\s*)\S.*")
"""To the end of the line: what stands there may have several parts."""

_IPV4 = r"(?:\d{1,3}\.){3}\d{1,3}"
_ADDRESS = re.compile(
    rf"(?<![\w.]){_IPV4}(?![\w.])|(?<![\w:.])(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}(?:{_IPV4}|[0-9A-Fa-f]{{0,4}})(?![\w:])"
)
_LIKE_HOST = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z][A-Za-z0-9-]*")
_HOME = re.compile(r"/(?:home|Users)/[^/\s\"':]+|/(?:root)(?=[/\s\"':]|$)")


class Redaction:
    """Redacts the texts of one report. hosts: names that must not be in it, wherever they stand."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        for host in hosts:
            self._host(host.strip("[]").lower())

    def values(self, value: Any) -> Any:
        """Return values for JSON with each text in them redacted; keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.values(each) for key, each in value.items()}
        if isinstance(value, Sequence):
            return [self.values(each) for each in value]
        return value

    def text(self, text: str) -> str:
        """Return a text redacted."""
        text = _CREDENTIALS.sub(f"{HIDDEN}@", text)
        text = _QUERY.sub(f"?{HIDDEN}", text)
        text = _EXPRESSION.sub(f"regex:{HIDDEN}", text)
        text = _SECRET_FIELD.sub(rf"\1\2{HIDDEN}", text)
        text = _NAMED_SECRET.sub(rf"\1\2{HIDDEN}", text)
        for match in _URL_HOST.finditer(text):
            self._host(match[1].strip("[]").lower())
        for host in sorted(self._hosts, key=len, reverse=True):
            text = re.sub(rf"(?i)(?<![\w-]){re.escape(host)}(?![\w-])", self._hosts[host], text)
        text = _ADDRESS.sub(lambda match: self._address(match[0]), text)
        return _HOME.sub("~", text)

    def _host(self, host: str) -> None:
        if host not in _LOCAL and not _is_address(host) and not _is_pseudonym(host):
            self._hosts.setdefault(host, f"host-{len(self._hosts) + 1}")

    def _address(self, text: str) -> str:
        if not _is_address(text):
            return text
        address = ip_address(text)
        if address.is_loopback or address.is_unspecified:
            return text
        return self._addresses.setdefault(str(address), f"address-{len(self._addresses) + 1}")


def hosts_in(value: Any) -> Iterable[str]:
    """Yield the hosts of settings: of URLs and of addresses to listen on, what stands below keys named host or
    admin_hosts, and parts of paths that look like one, such as the folder of a certificate.
    """
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key in ("host", "admin_hosts") and each:
                yield from [each] if isinstance(each, str) else each
            elif key in ("listen", "admin") and isinstance(each, str):
                yield from (match[1] for match in [_HOST_AND_PORT.fullmatch(each)] if match)
            else:
                yield from hosts_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from hosts_in(each)
    elif isinstance(value, str) and "://" in value:
        yield from _host_of(value)
    elif isinstance(value, str) and "/" in value:
        path = PurePath(value)
        yield from (part for part in (*path.parts[:-1], path.stem) if _LIKE_HOST.fullmatch(part))


def _host_of(url: str) -> Iterable[str]:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return
    if host:
        yield host


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_pseudonym(text: str) -> bool:
    return re.fullmatch(r"(?:host|address)-\d+", text) is not None
