"""Other sites: whose pages may open a WebSocket (RFC 6454, RFC 6455 section 10.2).

Browsers let any page open a WebSocket to any server, with the user's cookies,
and say only in ``Origin`` whose page it is. Nobody behind the gateway looks:
Starlette and FastAPI do not. Dash does, for its own socket, which is why that
one is left to it (``routing`` says which one it is).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from proxy.errors import ClientError
from proxy.headers import HTTP_SCHEME, Head, Peer, Trusted, is_trusted

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,31})://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._~!$&'()*+,=%-]{1,255})"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORT = {"http": 80, "https": 443}


class _Origin(NamedTuple):
    """A scheme, a host and a port (RFC 6454, section 4); no port where none is said and the scheme has no default."""

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        """Write it as browsers do: without the port that the scheme means anyway."""
        port = "" if self.port == _DEFAULT_PORT.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


class Origins:
    """The sites whose pages may open a WebSocket.

    allowed: as ``gateway.origins`` has them. trusted: the proxies in front that are believed.
    """

    def __init__(self, allowed: Iterable[str], trusted: Trusted = ()) -> None:
        self._words = frozenset(allowed)
        self._trusted = trusted
        self._patterns = [re.compile(word[6:]) for word in self._words if word.startswith("regex:")]
        self._listed = frozenset(filter(None, map(_parse, self._words)))

    def refusal(self, head: Head, peer: Peer) -> ClientError | None:
        """Return why a handshake is refused; None lets it pass.

        One without Origin comes from no browser, and passes: whoever writes
        the request writes that field too, and needs no user's cookies.
        """
        values = head.all(b"origin")
        if not values or "any" in self._words:
            return None
        if len(values) > 1:
            return ClientError("A request has one Origin field at most.")
        text = values[0].decode("latin-1").lower()
        origin = _parse(text)
        if self._allows(text, origin, head, peer):
            return None
        if origin is None and text != "null":
            return ClientError(
                "The Origin field is not an origin.",
                advice="Expected: scheme://host, or scheme://host:port.",
                status=403,
            )
        site = str(origin) if origin else "null"
        what = f"Pages of {site} may not open a WebSocket at {_asked_host(head, self._believes(peer))}"
        return ClientError(
            f"{what}.",
            advice=f"For whoever runs this: if they should, add {site} to gateway.origins in the configuration. "
            "If that is the same site, a proxy in front changes Host, and should not.",
            detail=f"{what}: gateway.origins says whose may",
            status=403,
        )

    def _allows(self, text: str, origin: _Origin | None, head: Head, peer: Peer) -> bool:
        if origin is None:
            return text == "null" and "null" in self._words
        if origin in self._listed or any(pattern.fullmatch(str(origin)) for pattern in self._patterns):
            return True
        return "same" in self._words and self._is_same(origin, head, peer)

    def _is_same(self, origin: _Origin, head: Head, peer: Peer) -> bool:
        """Compare with what the browser asked for.

        The scheme counts where it is known: from TLS here, or from a proxy that is believed. Behind one that is not,
        plain HTTP here may be HTTPS there; then the page's own scheme says which port a Host without one means.
        Jupyter, Dash and Go's gorilla/websocket never look at the scheme.
        """
        believed = self._believes(peer)
        scheme = _asked_scheme(head, peer, believed) or origin.scheme
        return scheme in _DEFAULT_PORT and _parse(f"{scheme}://{_asked_host(head, believed)}") == origin

    def _believes(self, peer: Peer) -> bool:
        return is_trusted(peer.address, self._trusted)


def _asked_scheme(head: Head, peer: Peer, believed: bool) -> str:
    """Return the scheme that the browser asked with; nothing where nobody knows."""
    said = (head.get(b"x-forwarded-proto") or b"").lower() if believed else b""
    if said:
        return HTTP_SCHEME.get(said, said).decode("latin-1")
    return "https" if peer.scheme == "https" else ""


def _asked_host(head: Head, believed: bool) -> str:
    """Return the host that the browser asked for. Apache appends to X-Forwarded-Host: the first is the browser's."""
    said = head.get(b"x-forwarded-host") if believed else None
    host = said.partition(b",")[0].strip() if said else head.get(b"host") or b""
    return host.decode("latin-1").lower()


def _parse(text: str) -> _Origin | None:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else _DEFAULT_PORT.get(match["scheme"])
    return _Origin(match["scheme"], match["host"], port)


SAME_ORIGIN = Origins(("same",))
