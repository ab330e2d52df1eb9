"""``/status``: HTML for people, JSON for programs, on one path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.http1.headers import Head
from proxy.server.admin import AdminResponse
from proxy.server.status_route import StatusRoute
from proxy.status.document import StatusDocument
from proxy.status.query import Query

HTML, JSON = b"text/html; charset=utf-8", b"application/json; charset=utf-8"


class Document(StatusDocument):
    """Returns the query that it was asked for."""

    def __init__(self) -> None:
        pass

    async def make(self, query: Query) -> dict[str, Any]:
        return {"order": query.order, "limit": query.limit, "find": query.find}


async def ask(target: str, accept: bytes | None = None) -> AdminResponse:
    fields = ((b"Host", b"x"), *(() if accept is None else ((b"Accept", accept),)))
    response = StatusRoute(Document()).status(Head("GET", target, (1, 1), fields))
    return response if isinstance(response, AdminResponse) else await response()


async def test_a_browser_gets_the_page_and_a_program_json() -> None:
    page, figures = await ask("/status", b"text/html"), await ask("/status?order=sent&limit=3&find=x")
    assert (page.status, page.kind) == (200, HTML)
    assert page.body.startswith(b"<!doctype html>")
    assert (figures.status, figures.kind) == (200, JSON)
    assert json.loads(figures.body) == {"order": "sent", "limit": 3, "find": "x"}


async def test_a_query_that_cannot_be_answered_is_said() -> None:
    response = await ask("/status?order=size")
    assert (response.status, response.kind) == (400, JSON)
    assert json.loads(response.body) == {"error": "order is one of oldest, newest, sent."}


@pytest.mark.parametrize(
    ("accept", "target"), [(b"text/html", "/status"), (None, "/status"), (None, "/status?limit=x")]
)
async def test_what_is_answered_depends_on_accept_and_is_for_this_origin_alone(accept: bytes, target: str) -> None:
    fields = dict((await ask(target, accept)).fields)
    assert fields[b"Vary"] == b"Accept"
    assert fields[b"X-Content-Type-Options"] == b"nosniff"
    assert fields[b"Cross-Origin-Resource-Policy"] == b"same-origin"
    assert (b"Content-Security-Policy" in fields) is (accept is not None)
