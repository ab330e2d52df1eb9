"""What a request for the status asks for: HTML or JSON, and which of the open WebSockets."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

ORDERS = ("oldest", "newest", "sent")
"""Of the sockets: by age either way, or those first to which most bytes were sent. The service has the same."""

SHOWN = 50
MOST_SHOWN = 500
"""Sockets in one answer: without a number in the query, and at the most. Precedent: Envoy's /clusters and HAProxy's
``show sess`` list all of them, and stop everything else meanwhile."""

_LONGEST = 100
"""Characters that are looked for."""


class BadQuery(ValueError):
    """The query asks for what there is not. Its text is a sentence for the client."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which sockets are listed.

    order: one of ``ORDERS``. limit: how many at the most. find: text in the client's address or in the path; empty:
    all of them.
    """

    order: str = "oldest"
    limit: int = SHOWN
    find: str = ""


def read_query(target: str) -> Query:
    """Return what the query of a target asks for. Names that are not known are passed over. Raises BadQuery."""
    try:
        # As latin-1, which is how targets are kept: so that what was typed is found in them.
        given = dict(parse_qsl(target.partition("?")[2], max_num_fields=16, encoding="latin-1"))
    except ValueError:
        raise BadQuery("The query has more than 16 parameters.") from None
    order, find = given.get("order", "oldest"), given.get("find", "")
    if order not in ORDERS:
        raise BadQuery(f"order is one of {', '.join(ORDERS)}.")
    if len(find) > _LONGEST:
        raise BadQuery(f"find has {_LONGEST} characters at the most.")
    limit = given.get("limit", str(SHOWN))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and int(limit) <= MOST_SHOWN):
        raise BadQuery(f"limit is a number up to {MOST_SHOWN}.")
    return Query(order, int(limit), find)


def wants_page(accept: bytes | None) -> bool:
    """Tell whether a client wants HTML rather than JSON (RFC 9110, section 12.5.1).

    accept: its Accept field. HTML has to be named, and JSON wins where both are wanted as much: a script that sends
    ``*/*``, as curl does, or nothing gets JSON.
    """
    weights = dict(map(_weight, (accept or b"").lower().split(b",")))
    html = weights.get(b"text/html", 0.0)
    return html > weights.get(b"application/json", 0.0)


def _weight(member: bytes) -> tuple[bytes, float]:
    kind, *parameters = (part.strip() for part in member.split(b";"))
    weight = next((part[2:] for part in parameters if part.startswith(b"q=")), b"1")
    try:
        return kind, float(weight)
    except ValueError:
        return kind, 0.0
