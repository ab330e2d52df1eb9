"""The page: one HTML document, put together when the program starts, and the fields that it is sent with.

It has no figures in it. Its script asks for them as JSON, and writes them as text; so nothing that a client has sent
is ever read as HTML. The policy allows the page's own script and style, by their hashes, and no other source (CSP 3).
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from proxy.http1.headers import Fields

SCRIPTS = ("format.js", "plots.js", "tables.js", "status.js")
"""In the order in which they run."""


@cache
def page() -> tuple[bytes, Fields]:
    """Return the page, and the fields of its response beside the usual ones."""
    folder = files("proxy.status") / "static"
    html, style, *scripts = (
        folder.joinpath(name).read_text("utf-8") for name in ("status.html", "status.css", *SCRIPTS)
    )
    elements = "\n".join(f"<script>{script}</script>" for script in scripts)
    whole = html.replace("@STYLE@", style).replace("@SCRIPTS@", elements)
    return whole.encode(), (*FIELDS, (b"Content-Security-Policy", policy(style, scripts).encode()))


FIELDS: Fields = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Vary", b"Accept"),
)
"""For the page and for the JSON."""


def policy(style: str, scripts: list[str]) -> str:
    """Return the Content-Security-Policy of a page with one style and some scripts in it, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {' '.join(map(_hash, scripts))}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
