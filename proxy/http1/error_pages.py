"""The body of an error response: a page for browsers, JSON for programs, and JSON in short lines for Dash's overlay."""

from __future__ import annotations

import html
import json
import textwrap
from email.utils import formatdate
from http import HTTPStatus

from proxy.errors import ProxyError, UpstreamUnreachable
from proxy.http1.headers import Fields, Head, response_head

RETRY = 5
"""Seconds after which a client may try again: a Dash server with a few pages starts in about as long."""

_SOON = 2
"""Seconds after which the page of an unreachable upstream reloads. That request waits for the upstream, so a short time
costs little."""

_AGAIN = """<script>setTimeout(() => location.reload(), {0}000)</script>
<noscript><meta http-equiv="refresh" content="{0}"></noscript>"""
"""A script first: the element alone does not reload an address with a fragment, which it takes for a place on the same
page."""


_CALLBACK = "/_dash-update-component"
"""What a page of Dash posts callbacks to, after whatever prefix."""

_OVERLAY_WIDTH = 62
"""Columns of a text in the list of errors that Dash shows in debug mode. It shows the body of a failed callback as it
is, whatever its type, in a ``<pre>`` of 71 columns, and what is right of that has to be scrolled to."""


def error_message(
    error: ProxyError, head: Head | None = None, upstream: str = "", *, keep_alive: bool = False
) -> tuple[bytes, int]:
    """Return the whole response to an error, and how many bytes its body has.

    head: of the request; None: it was not read. upstream: the one that was asked; empty where none was.
    keep_alive: whether the connection goes on.
    """
    if head is not None and is_navigation(head):
        kind, body = page(error, upstream)
    else:
        kind, body = as_json(error, in_short_lines=head is not None and is_callback(head))
    fields = error.headers
    if error.is_transient and not any(name == b"Retry-After" for name, _ in fields):
        fields += ((b"Retry-After", b"%d" % RETRY),)
    with_body = head is None or head.method != "HEAD"
    message = own_response(error.status, kind, body, fields, keep_alive=keep_alive, with_body=with_body)
    return message, len(body) if with_body else 0


def own_response(
    status: int, kind: bytes, body: bytes, fields: Fields = (), *, keep_alive: bool = False, with_body: bool = True
) -> bytes:
    """Return a response of the gateway itself. kind: the type of its body. with_body: False if the method is HEAD."""
    added = (
        (b"Date", formatdate(usegmt=True).encode()),
        (b"Content-Type", kind),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        *fields,
        *(() if keep_alive else ((b"Connection", b"close"),)),
    )
    head = response_head(status, HTTPStatus(status).phrase.encode(), (), added=added)
    return head + body if with_body else head


def is_navigation(head: Head) -> bool:
    """Tell whether a person waits for a page: Dash's own requests, and scripts, want JSON."""
    if head.method not in ("GET", "HEAD"):
        return False
    mode = head.get(b"sec-fetch-mode")
    accepts = head.get(b"accept") or b""
    return mode in (None, b"navigate") and b"text/html" in accepts


def is_callback(head: Head) -> bool:
    """Tell whether a page of Dash waits for a callback."""
    return head.method == "POST" and head.target.partition("?")[0].endswith(_CALLBACK)


def as_json(error: ProxyError, *, in_short_lines: bool = False) -> tuple[bytes, bytes]:
    """Return the type and the body of a response for a program.

    in_short_lines: each text is a list of lines, for the overlay of a page of Dash.
    """
    fields: dict[str, object] = {"error": error.message, "advice": error.advice, "status": error.status}
    fields = {key: value for key, value in fields.items() if value}
    if in_short_lines:
        lines = {k: textwrap.wrap(v, _OVERLAY_WIDTH) if isinstance(v, str) else v for k, v in fields.items()}
        return b"application/json", json.dumps(lines, indent=1, ensure_ascii=False).encode() + b"\n"
    return b"application/json", json.dumps(fields).encode() + b"\n"


def page(error: ProxyError, upstream: str) -> tuple[bytes, bytes]:
    """Return the type and the body of a response for a person. It asks again by itself where waiting may help.

    upstream: the one that was asked; empty where none was.
    """
    title = f"{error.status} {HTTPStatus(error.status).phrase}"
    again, mark, first, then = "", "", html.escape(error.message), html.escape(error.advice)
    if isinstance(error, UpstreamUnreachable) and error.is_transient:
        title = "Dash is starting" if upstream == "dash" else f"The {upstream} service is starting"
        again = _AGAIN.format(_SOON)
        mark = '<div class=mark aria-hidden="true"><i></i><i></i><i></i></div>'
        first, then = "This page opens by itself as soon as it is there.", f"{first} {then}"
    elif error.is_transient:
        again = _AGAIN.format(RETRY)
        then += " This page tries again by itself."
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">{again}
<link rel="icon" href="data:,"><title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.55 system-ui, sans-serif; max-width: 34rem; margin: 22vh auto 0; padding: 0 1.5rem }}
h1 {{ font-size: 1.5rem; font-weight: 600; margin: 0 0 .75rem }} p {{ margin: 0 0 .5rem }}
.aside {{ opacity: .65; font-size: .875rem; margin-top: 1.5rem }}
.mark {{ display: flex; align-items: end; gap: 5px; height: 34px; margin-bottom: 1.5rem }}
.mark i {{ width: 9px; height: 100%; border-radius: 3px; background: #5a67f2; transform-origin: bottom;
  animation: rise 1.2s ease-in-out infinite alternate; transform: scaleY(.35) }}
.mark i:nth-child(2) {{ animation-delay: -.4s }} .mark i:nth-child(3) {{ animation-delay: -.8s }}
@keyframes rise {{ to {{ transform: scaleY(1) }} }}
@media (prefers-reduced-motion: reduce) {{ .mark i {{ animation: none; transform: none }} }}
</style></head><body>{mark}<h1>{title}</h1>
<p>{first}</p><p class=aside>{then}</p></body></html>
"""
    return b"text/html; charset=utf-8", text.encode()
