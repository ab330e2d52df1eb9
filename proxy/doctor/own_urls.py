"""URLs of the app itself in an answer of Dash: they show as which scheme and host it was asked.

Three things write them: Werkzeug and Starlette, where a path lacks its last slash; Dash's pages, into ``twitter:url``
and, where they have an image, ``og:image``; and the app, in its redirects to a login.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from proxy.doctor.endpoint import Answer

_WHOLE = re.compile(r'(?:twitter:url|og:url)"\s+content="(https?://[^"<>\s]{1,2000})"')
"""The page's own URL, as the app sees it."""

_ANY = re.compile(r"https?://[^\"'<>\s]{1,2000}")

_MOST = 2000
"""URLs of a page that are looked at."""


def urls_of_itself(answer: Answer) -> Iterator[SplitResult]:
    """Yield the URLs in an answer that can only be the app's own, whatever their host is: ``twitter:url``."""
    for match in _WHOLE.finditer(answer.text):
        if url := _split(match[1]):
            yield url


def redirect(answer: Answer) -> SplitResult | None:
    """Return where an answer leads, with a scheme and a host. None: to a path alone, or nowhere."""
    url = _split(answer.headers.get("Location", ""))
    return url if url is not None and url.scheme in ("http", "https") else None


def is_asked_as_http(answer: Answer, host: str) -> bool:
    """Tell whether an answer has a URL of this host with ``http://``. host: with its port, as in the Host field."""
    found = [redirect(answer)]
    for number, match in enumerate(_ANY.finditer(answer.text)):
        if number == _MOST:
            break
        found.append(_split(match[0]))
    return any(url is not None and (url.scheme, url.netloc) == ("http", host) for url in found)


def _split(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text)
    except ValueError:
        return None
    return url if url.netloc else None
