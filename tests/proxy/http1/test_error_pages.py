"""What a person sees, and what a program reads."""

from __future__ import annotations

import json

import pytest

from proxy.errors import (
    ClientError,
    ProxyError,
    UpstreamError,
    UpstreamFull,
    UpstreamLost,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.http1.error_pages import as_json, error_message, is_callback, is_navigation, own_response, page
from proxy.http1.headers import Head

HTML = (b"Accept", b"text/html,*/*")


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        ("GET", (HTML,), True),
        ("HEAD", (HTML, (b"Sec-Fetch-Mode", b"navigate")), True),
        ("GET", (HTML, (b"Sec-Fetch-Mode", b"cors")), False),
        ("GET", ((b"Accept", b"application/json"),), False),
        ("GET", (), False),
        ("POST", (HTML,), False),
    ],
)
def test_only_a_browser_gets_a_page(method: str, fields: tuple[tuple[bytes, bytes], ...], expected: bool) -> None:
    assert is_navigation(Head(method, "/", (1, 1), fields)) is expected


@pytest.mark.parametrize(("upstream", "title"), [("dash", "Dash is starting"), ("ws", "The ws service is starting")])
def test_an_unreachable_upstream_is_said_to_be_starting(upstream: str, title: str) -> None:
    kind, body = page(UpstreamUnreachable("It cannot be reached.", advice="Is it running?"), upstream)
    assert kind == b"text/html; charset=utf-8"
    text = body.decode()
    assert f"<title>{title}</title>" in text and f"<h1>{title}</h1>" in text
    assert '<meta http-equiv="refresh" content="2">' in text
    assert "It cannot be reached." in text and "Is it running?" in text


@pytest.mark.parametrize(
    ("error", "tries_again"),
    [
        (UpstreamFull("Full."), True),
        (UpstreamLost("Gone."), True),
        (UpstreamTimeout("Slow."), True),
        (UpstreamError("Broken."), False),
        (UpstreamUnreachable("Forbidden.", is_transient=False), False),
        (ClientError("What?"), False),
        (ProxyError("Oh."), False),
    ],
)
def test_a_page_tries_again_where_waiting_may_help(error: ProxyError, tries_again: bool) -> None:
    text = page(error, "")[1].decode()
    assert ("http-equiv" in text) is ("location.reload" in text) is ("tries again" in text) is tries_again
    assert "is starting" not in text


def test_what_a_message_quotes_is_no_markup() -> None:
    assert b"<b>" not in page(ClientError("<b>", advice="<b>"), "")[1]


def test_nothing_is_loaded_from_anywhere() -> None:
    text = page(UpstreamUnreachable("Away."), "dash")[1].decode()
    text = text.replace('href="data:,"', "")  # no icon, or the browser would ask for one, and wait
    assert "src=" not in text and "href=" not in text and "url(" not in text and "@import" not in text


def test_a_program_reads_the_same_as_json() -> None:
    kind, body = as_json(UpstreamUnreachable("Away.", advice="Wait.", detail="secret"))
    assert kind == b"application/json"
    assert json.loads(body) == {"error": "Away.", "advice": "Wait.", "status": 503}


def test_a_response_of_the_gateway_itself_ends_the_connection_unless_it_is_kept() -> None:
    last = own_response(200, b"text/plain", b"ok", ((b"Allow", b"GET"),))
    assert last.endswith(b"Cache-Control: no-store\r\nAllow: GET\r\nConnection: close\r\n\r\nok")
    assert b"Connection" not in own_response(200, b"text/plain", b"ok", keep_alive=True)


def test_a_response_to_a_head_says_how_long_the_body_is_that_it_leaves_out() -> None:
    assert own_response(200, b"text/plain", b"ok", with_body=False).endswith(b"\r\n\r\n")
    assert b"Content-Length: 2\r\n" in own_response(200, b"text/plain", b"ok", with_body=False)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "/_dash-update-component", True),
        ("POST", "/team/app/_dash-update-component?endId=a/b", True),
        ("GET", "/_dash-update-component", False),
        ("POST", "/my_dash-update-component", False),
        ("POST", "/x?/_dash-update-component", False),
    ],
)
def test_a_callback_is_what_a_page_of_dash_posts(method: str, target: str, expected: bool) -> None:
    assert is_callback(Head(method, target, (1, 1), ())) is expected


def test_a_failed_callback_is_json_that_fits_into_dashs_overlay() -> None:
    """The overlay shows the body in a ``<pre>`` of 71 columns, and cuts what is right of that."""
    error = UpstreamTimeout(
        "The upstream dash did not begin to answer within 600 s.",
        advice="For the operator: gateway.timeouts.response in the configuration is the limit, " + "for long ones " * 9,
    )
    message, size = error_message(error, Head("POST", "/_dash-update-component", (1, 1), ()), "dash")
    body = message[-size:].decode()
    assert max(map(len, body.splitlines())) <= 71
    read = json.loads(body)
    assert " ".join(read["error"]) == error.message
    assert " ".join(read["advice"]) == error.advice.strip()
    assert read["status"] == 504
    assert body.startswith('{\n "error": [\n  "The upstream dash')
