"""Whether a browser asks what is for the operator alone on behalf of a page of another site. Pure."""

from __future__ import annotations


def is_of_another_site(site: bytes | None, mode: bytes | None, destination: bytes | None) -> bool:
    """Tell whether a browser asks for a page of another origin: it gets nothing to read, but each answer costs time,
    and other processes are asked for it.

    site, mode, destination: the fields Sec-Fetch-Site, Sec-Fetch-Mode and Sec-Fetch-Dest; None where there is none.

    A link to here is followed: it opens a page of its own. What sends no Sec-Fetch-Site is no browser, or an old one
    (https://www.w3.org/TR/fetch-metadata).
    """
    return site not in (None, b"same-origin", b"none") and (mode, destination) != (b"navigate", b"document")
