"""One origin, as browsers write it in ``Origin`` and as operators write it in the configuration (RFC 6454, section 6).

The one reader of both, so that whatever a browser can send can be named.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

DEFAULT_PORT = {"http": 80, "https": 443}
"""Of the schemes whose pages can be served by a gateway."""

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,31})://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._~!$&'()*+,;=%-]{1,255}|)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_LONGEST = 300
"""Characters; no origin has more."""
_URL = re.compile(r"(?i)(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[^/?#@]*@)?(?P<place>[^/?#@]*)(?P<rest>[/?#].*)?")


class Origin(NamedTuple):
    """A scheme, a host and a port (RFC 6454, section 4).

    host: empty for ``file://``, and for no scheme that is served. port: None where none is said and the scheme has no
    port of its own.
    """

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        """Write it as browsers do: without the port that the scheme means anyway."""
        port = "" if self.port == DEFAULT_PORT.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def parse_origin(text: str) -> Origin | None:
    """Read a serialised origin, in whatever case; None for what is none.

    ``null`` is none: it is a browser's word for a page that has none.
    """
    return _parsed(text.lower()) if len(text) <= _LONGEST else None


@lru_cache(maxsize=256)  # the same few come with each handshake
def _parsed(text: str) -> Origin | None:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, host = match["scheme"], match["host"]
    if not host and (scheme in DEFAULT_PORT or match["port"]):
        return None
    port = int(match["port"]) if match["port"] else DEFAULT_PORT.get(scheme)
    return Origin(scheme, _one_spelling(host), port)


def _one_spelling(host: str) -> str:
    if not host.startswith("["):
        return host
    try:
        return f"[{IPv6Address(host[1:-1])}]"
    except ValueError:
        return host


def check_origin(text: str) -> str:
    """Return an origin of the configuration as browsers write it. Raises ValueError, with what to write instead."""
    origin = parse_origin(text)
    if origin is None or "*" in origin.host or origin.scheme in ("ws", "wss") or (origin.port or 0) > 65535:
        raise ValueError(f"{text!r} is not an origin; {_advice(text, origin)}")
    return str(origin)


def _advice(text: str, origin: Origin | None) -> str:
    if text == "*":
        return "write any for all of them, or regex:https://.*[.]example[.]com for those of a domain"
    if origin is not None and "*" in origin.host:
        pattern = str(origin).replace(".", "[.]").replace("*", "[a-z0-9-]+")
        return f"a pattern is written regex:{pattern}"
    url = _URL.fullmatch(text.strip())
    if url is None:
        what = text if re.fullmatch(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?", text) else "host"
        return f"write https://{what}, https://host:port, scheme://host, file://, null, same, any or regex:..."
    scheme, place = url["scheme"].lower(), url["place"].lower()
    if not place.isascii():
        place = _as_browsers_write_it(place)
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    better = parse_origin(f"{scheme}://{place}")
    if better is None or (better.port or 0) > 65535 or "*" in better.host:
        return "write scheme://host or scheme://host:port, such as https://app.example.com:8443"
    return f"it is the page's scheme, host and port alone, as a browser writes them: {better}"


def _as_browsers_write_it(place: str) -> str:
    name, colon, port = place.partition(":")
    try:
        return name.encode("idna").decode() + colon + port
    except UnicodeError:
        return place
