"""How big a message may be: what is over a limit is answered as such, ends there, and never piles up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.gateway import (
    DEADLINE,
    Gateway,
    Origin,
    Wire,
    answer,
    chunks,
    frame,
    open_tunnel,
    request,
    running_gateway,
)

LINE, HEADER, FIELDS, BODY = 2048, 4096, 20, 65536
"""What the gateway of these plays allows."""


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, origin: Origin) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("limits")
    limits = {"request_line": "2KiB", "header": "4KiB", "fields": FIELDS, "body": "64KiB"}
    with running_gateway(folder, dash=origin.url, limits=limits) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _clean(gateway: Gateway, origin: Origin) -> Iterator[None]:
    yield
    gateway.hang_up()
    origin.hang_up()


def refused(client: Wire, status: int, *, error: str = "", still_sending: bool = False) -> None:
    """Expect our own answer, and behind it an end in peace: a reset could take the answer away."""
    message = client.read_message()
    assert message.status == status, message
    assert message.get("Connection") == "close"
    assert error in message.json()["error"], message.body
    if not still_sending:
        client.end()  # or the gateway waits a while for the rest of what was announced
    assert client.read_to_cut() == (b"", "end")


# -- bodies


def test_a_body_that_says_it_is_too_large_never_reaches_the_upstream(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /upload", f"Content-Length: {BODY + 1}"))
    refused(client, 413, error="larger than 65536 bytes")
    assert not origin.has_visitor()


def test_a_small_request_over_the_limit_is_refused_on_the_short_way_too(gateway: Gateway, origin: Origin) -> None:
    """The first one is carried without a parser, because a connection to the upstream waits for it."""
    client = gateway.dial()
    for size in (BODY, BODY + 1):
        client.send(request("POST /upload", f"Content-Length: {size}", body=b"x" * size))
        if size == BODY:
            upstream = origin.accept()
            assert len(upstream.read_message().body) == size
            upstream.send(answer("200 OK"))
            assert client.read_message().status == 200
    refused(client, 413)
    assert not upstream.has_something()


def test_who_asks_before_sending_is_told_413_and_not_100(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /upload", f"Content-Length: {BODY + 1}", "Expect: 100-continue"))
    refused(client, 413)
    assert not origin.has_visitor()


def test_the_answer_reaches_a_client_that_goes_on_sending(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    size = 16 << 20
    sending = client.send_later(request("POST /upload", f"Content-Length: {size}", body=b"x" * size))
    refused(client, 413, still_sending=True)
    sending.join(DEADLINE)
    assert not origin.has_visitor()


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_a_body_of_exactly_the_limit_passes(framing: str, gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    half = b"x" * (BODY // 2)
    if framing == "chunked":
        head, parts = request("POST /upload", "Transfer-Encoding: chunked"), [b"8000\r\n", half, b"\r\n", chunks(half)]
    else:
        head, parts = request("POST /upload", f"Content-Length: {BODY}"), [half, half]
    client.send(head)
    upstream = origin.accept()
    for part in parts:
        client.send(part)
    assert len(upstream.read_message().body) == BODY
    upstream.send(answer("200 OK"))
    assert client.read_message().status == 200


def test_a_chunked_body_is_cut_where_it_exceeds_the_limit(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /upload", "Transfer-Encoding: chunked"))
    upstream = origin.accept()
    client.send(chunks(b"x" * BODY)[:-5])
    upstream.read_until(b"x")
    client.send(b"1\r\nx\r\n")
    refused(client, 413)
    got, _ = upstream.read_to_cut()
    assert not got.endswith(b"0\r\n\r\n"), "half a body must never look like a whole one"


def test_a_chunked_body_that_is_here_already_never_reaches_the_upstream(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /upload", "Transfer-Encoding: chunked", body=chunks(b"x" * (BODY + 1))))
    refused(client, 413)
    if origin.has_visitor():  # it came in pieces after all
        assert not origin.accept().read_to_cut()[0].endswith(b"0\r\n\r\n")


def test_an_answer_that_has_begun_is_cut_with_the_body(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /upload", "Transfer-Encoding: chunked"))
    upstream = origin.accept()
    upstream.read_head()
    upstream.send(answer("200 OK", "Content-Length: 100", body=None) + b"begun")
    assert client.read_until(b"begun").startswith(b"HTTP/1.1 200 OK\r\n")
    client.send(b"%x\r\n%b" % (BODY + 1, b"x" * (BODY + 1)))
    client.read_to_cut()
    assert upstream.read_to_cut()[1] in ("end", "reset")


def test_a_tunnel_has_no_body(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    large = frame(2, b"x" * (2 * BODY), mask=b"abcd")
    client.send_later(large)
    assert upstream.read(len(large)) == large
