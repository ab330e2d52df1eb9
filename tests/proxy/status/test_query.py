"""What a request for the status asks for."""

from __future__ import annotations

import pytest

from proxy.status.query import BadQuery, Query, read_query, wants_page

CHROMIUM = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (None, False),
        (b"", False),
        (b"*/*", False),  # curl
        (CHROMIUM, True),
        (b"application/json", False),
        (b"text/html", True),
        (b"TEXT/HTML; charset=utf-8", True),
        (b"application/json, text/html", False),
        (b"text/html, application/json;q=0.9", True),
        (b"text/html;q=0.1, application/json;q=0.2", False),
        (b"text/html;q=0", False),
        (b"text/html;q=much", False),
        (b"text/html-not", False),
    ],
)
def test_html_has_to_be_named_and_json_wins_where_both_are_wanted_as_much(accept: bytes | None, is_page: bool) -> None:
    assert wants_page(accept) is is_page


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/status", Query()),
        ("/status?", Query()),
        ("/status?other=1", Query()),
        ("/status?order=sent&limit=7", Query("sent", 7)),
        ("/status?limit=0", Query(limit=0)),
        ("/status?find=%2Flive%20x", Query(find="/live x")),
        ("/status?find=%FC", Query(find="ü")),  # as targets are kept
        ("/status?find=", Query()),
    ],
)
def test_the_query_says_which_sockets_are_listed(target: str, query: Query) -> None:
    assert read_query(target) == query


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/status?order=size", "order is one of oldest, newest, sent."),
        ("/status?limit=501", "limit is a number up to 500."),
        ("/status?limit=-1", "limit is"),
        ("/status?limit=%D9%A3", "limit is"),
        ("/status?limit=" + "9" * 4000, "limit is"),
        ("/status?find=" + "x" * 101, "find has 100 characters at the most."),
        ("/status?" + "a=1&" * 17, "more than 16 parameters"),
    ],
)
def test_what_cannot_be_asked_is_said(target: str, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        read_query(target)
