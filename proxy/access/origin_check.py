"""The Origin check: pages of which sites may open a WebSocket (RFC 6454, RFC 6455 section 10.2).

Browsers let any page open a WebSocket to any server, with the user's cookies,
and say only in ``Origin`` which site the page is of. Starlette and FastAPI do
not check that. Dash does, for its own socket, which is why that one is left to
it (``routing`` says which one it is).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.errors import ClientError
from proxy.http1.forwarded import OriginalRequest
from proxy.http1.headers import Head
from proxy.origin import DEFAULT_PORT, Origin, parse_origin


class OriginCheck:
    """The sites whose pages may open a WebSocket, or read events of the hub.

    allowed: as ``gateway.origins`` has them.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)
        # What they are matched with is in lower case, whatever the case of the pattern.
        self._patterns = [re.compile(each[6:], re.IGNORECASE) for each in self._allowed if each.startswith("regex:")]
        self._listed = frozenset(filter(None, map(parse_origin, self._allowed)))

    def refusal(self, head: Head, original: OriginalRequest, wish: str = "open a WebSocket") -> ClientError | None:
        """Return why a request is refused; None lets it pass. original: what the browser asked. wish: for the message.

        One without Origin comes from no browser, and passes: a program that
        writes the request writes that field too, and has no user's cookies.
        """
        values = head.all(b"origin")
        if not values or "any" in self._allowed:
            return None
        if len(values) > 1:
            return ClientError("A request has one Origin field at most.")
        text = values[0].decode("latin-1").lower()
        origin = parse_origin(text)
        if self._allows(text, origin, original):
            return None
        if origin is None and text != "null":
            return ClientError(
                "The Origin field is not an origin.",
                advice="Expected: scheme://host, or scheme://host:port.",
                status=403,
            )
        site = str(origin) if origin else "null"
        what = f"Pages of {site} may not {wish} at {original.host.lower()}"
        return ClientError(
            f"{what}.",
            advice=f"For the operator: if they should, add {site} to gateway.origins in the configuration. "
            "If that is the same site, a proxy in front changes Host, and should not.",
            detail=f"{what}: gateway.origins says whose may",
            status=403,
        )

    def _allows(self, text: str, origin: Origin | None, original: OriginalRequest) -> bool:
        if origin is None:
            return text == "null" and "null" in self._allowed
        if origin in self._listed or any(pattern.fullmatch(str(origin)) for pattern in self._patterns):
            return True
        return "same" in self._allowed and _is_same(origin, original)


def _is_same(origin: Origin, original: OriginalRequest) -> bool:
    """Compare with what the browser asked for.

    The scheme counts where it is known: from TLS here, or from a trusted proxy. With one in front that is not trusted,
    HTTP here may be HTTPS there; then the page's own scheme says which port a Host without one means.
    Jupyter, Dash and Go's gorilla/websocket never look at the scheme.
    """
    scheme = original.scheme if original.is_scheme_known else origin.scheme
    return scheme in DEFAULT_PORT and any(parse_origin(f"{scheme}://{host}") == origin for host in original.hosts)


SAME_ORIGIN = OriginCheck(("same",))
