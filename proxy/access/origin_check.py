"""Other sites: whose pages may open a WebSocket (RFC 6454, RFC 6455 section 10.2).

Browsers let any page open a WebSocket to any server, with the user's cookies,
and say only in ``Origin`` whose page it is. Nobody behind the gateway looks:
Starlette and FastAPI do not. Dash does, for its own socket, which is why that
one is left to it (``routing`` says which one it is).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.errors import ClientError
from proxy.http1.forwarded import OriginalRequest
from proxy.http1.headers import Head
from proxy.origin import DEFAULT_PORT, Origin, parse_origin


class OriginCheck:
    """The sites whose pages may open a WebSocket.

    allowed: as ``gateway.origins`` has them.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._words = frozenset(allowed)
        # What they are matched with is in lower case, whatever the case of the pattern.
        self._patterns = [re.compile(word[6:], re.IGNORECASE) for word in self._words if word.startswith("regex:")]
        self._listed = frozenset(filter(None, map(parse_origin, self._words)))

    def refusal(self, head: Head, asked: OriginalRequest) -> ClientError | None:
        """Return why a handshake is refused; None lets it pass. asked: what the browser asked.

        One without Origin comes from no browser, and passes: whoever writes
        the request writes that field too, and needs no user's cookies.
        """
        values = head.all(b"origin")
        if not values or "any" in self._words:
            return None
        if len(values) > 1:
            return ClientError("A request has one Origin field at most.")
        text = values[0].decode("latin-1").lower()
        origin = parse_origin(text)
        if self._allows(text, origin, asked):
            return None
        if origin is None and text != "null":
            return ClientError(
                "The Origin field is not an origin.",
                advice="Expected: scheme://host, or scheme://host:port.",
                status=403,
            )
        site = str(origin) if origin else "null"
        what = f"Pages of {site} may not open a WebSocket at {asked.host.lower()}"
        return ClientError(
            f"{what}.",
            advice=f"For whoever runs this: if they should, add {site} to gateway.origins in the configuration. "
            "If that is the same site, a proxy in front changes Host, and should not.",
            detail=f"{what}: gateway.origins says whose may",
            status=403,
        )

    def _allows(self, text: str, origin: Origin | None, asked: OriginalRequest) -> bool:
        if origin is None:
            return text == "null" and "null" in self._words
        if origin in self._listed or any(pattern.fullmatch(str(origin)) for pattern in self._patterns):
            return True
        return "same" in self._words and _is_same(origin, asked)


def _is_same(origin: Origin, asked: OriginalRequest) -> bool:
    """Compare with what the browser asked for.

    The scheme counts where it is known: from TLS here, or from a proxy that is believed. Behind one that is not,
    plain HTTP here may be HTTPS there; then the page's own scheme says which port a Host without one means.
    Jupyter, Dash and Go's gorilla/websocket never look at the scheme.
    """
    scheme = asked.scheme if asked.is_scheme_known else origin.scheme
    return scheme in DEFAULT_PORT and any(parse_origin(f"{scheme}://{host}") == origin for host in asked.hosts)


SAME_ORIGIN = OriginCheck(("same",))
