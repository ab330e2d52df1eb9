"""The upstream's answer is held to the same rules: what could be read in two ways is a 502 or a cut.

Each answer comes to a request on the fast path (an idle connection is
there) and on the ordinary one, in one piece and in two; and the client that
comes next gets its own answer.
"""

from __future__ import annotations

import pytest

from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin
from tests.wire.connection import Wire
from tests.wire.messages import answer, handshake, request

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ABC = b"3\r\nabc\r\n0\r\n\r\n"

NO_ANSWER = {
    "noise": b"\x15\x03\x01\x00\x02\x02\x0a",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/0.9 by name": b"HTTP/0.9 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "lower-case version": b"http/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status of four digits": b"HTTP/1.1 1000 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 3\r\n\r\nabc",
    "status with a sign": b"HTTP/1.1 +20 OK\r\nContent-Length: 3\r\n\r\nabc",
    "two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "tab": b"HTTP/1.1\t200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "empty line before": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "line feed before": b"\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "carriage return before": b"\rHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "nul in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 3\r\n\r\nabc",
    "escape in the reason": b"HTTP/1.1 200 \x1b[31m\r\nContent-Length: 3\r\n\r\nabc",
    "delete in the reason": b"HTTP/1.1 200 O\x7fK\r\nContent-Length: 3\r\n\r\nabc",
    "carriage return in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 3\r\n\r\nabc",
    "line feed behind the status line": b"HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\nabc",
    "line feeds": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
    "line feed at the end of the head": OK + b"Content-Length: 3\r\n\nabc",
    "line feed in a field": OK + b"A: b\nContent-Length: 3\r\n\r\nabc",
    "carriage return in a field": OK + b"A: b\rC: d\r\nContent-Length: 3\r\n\r\nabc",
    "nul in a field": OK + b"A: b\0\r\nContent-Length: 3\r\n\r\nabc",
    "control character in a field": OK + b"A: \x01\r\nContent-Length: 3\r\n\r\nabc",
    "delete in a field": OK + b"A: \x7f\r\nContent-Length: 3\r\n\r\nabc",
    "folded line": OK + b"A: b\r\n c\r\nContent-Length: 3\r\n\r\nabc",
    "white space before the first field": OK + b" A: b\r\nContent-Length: 3\r\n\r\nabc",
    "space before a colon": OK + b"A : b\r\nContent-Length: 3\r\n\r\nabc",
    "space before the length's colon": OK + b"Content-Length : 3\r\n\r\nabc",
    "no colon": OK + b"A\r\nContent-Length: 3\r\n\r\nabc",
    "no name": OK + b": b\r\nContent-Length: 3\r\n\r\nabc",
    "8-bit name": OK + b"\xe9: b\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "two equal lengths": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "length in a list": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "length with plus": OK + b"Content-Length: +3\r\n\r\nabc",
    "length with minus": OK + b"Content-Length: -3\r\n\r\nabc",
    "length in hexadecimal": OK + b"Content-Length: 0x3\r\n\r\nabc",
    "length empty": OK + b"Content-Length:\r\n\r\nabc",
    "length that overflows": OK + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "length of 2**64 - 1": OK + b"Content-Length: 18446744073709551615\r\n\r\nabc",
    "length and chunked": OK + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n" + ABC,
    "chunked and length": OK + CHUNKED + b"Content-Length: 3\r\n\r\n" + ABC,
    "chunked twice": OK + CHUNKED + CHUNKED + b"\r\n" + ABC,
    "chunked twice in one": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + ABC,
    "xchunked": OK + b"Transfer-Encoding: xchunked\r\n\r\n" + ABC,
    "chunked behind a vertical tab": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + ABC,
    "coding empty": OK + b"Transfer-Encoding:\r\n\r\n" + ABC,
    "coding identity": OK + b"Transfer-Encoding: identity\r\n\r\nabc",
    "coding gzip": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + ABC,
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n" + ABC,
    "switch that nobody asked for": b"HTTP/1.1 101 Go\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nabc",
    "switch to websocket": b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nabc",
    "switch to nothing": b"HTTP/1.1 101 Go\r\n\r\n",
    "switch, and an answer": b"HTTP/1.1 101 Go\r\n\r\n" + OK + b"Content-Length: 3\r\n\r\nabc",
    "interim answer with a body": b"HTTP/1.1 103 Hints\r\nContent-Length: 3\r\n\r\nabc"
    + OK
    + b"Content-Length: 0\r\n\r\n",
    "huge head": OK + b"A: " + b"b" * 100_000 + b"\r\nContent-Length: 3\r\n\r\nabc",
    "many fields": OK + b"A: b\r\n" * 20_000 + b"Content-Length: 3\r\n\r\nabc",
    "head without an end": OK + b"A: b\r\n" * 20_000,
    "huge reason": b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\nContent-Length: 3\r\n\r\nabc",
    "flood of interim answers": b"HTTP/1.1 102 Wait\r\n\r\n" * 10_000 + OK + b"Content-Length: 3\r\n\r\nabc",
}

BROKEN_BODY = {
    "size of a chunk with a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size of a chunk with plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "size of a chunk with a space": b"3 \r\nabc\r\n0\r\n\r\n",
    "size of a chunk empty": b"\r\nabc\r\n0\r\n\r\n",
    "size of a chunk that overflows": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "chunk lines with line feeds": b"3\nabc\n0\n\n",
    "extension with a line feed": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "extension with a carriage return": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "chunk longer than its size": b"2\r\nabc\r\n0\r\n\r\n",
    "chunk with two bytes for its end": b"3\r\nabcXX0\r\n\r\n",
    "trailer on a folded line": b"3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n",
    "trailer with a line feed": b"3\r\nabc\r\n0\r\nA: b\n\r\n",
    "extension with a space last": b"3;a \r\nabc\r\n0\r\n\r\n",
}


ODD = {
    "length with zeros first": OK + b"Content-Length: 003\r\n\r\nabc",
    "length with white space": OK + b"Content-Length:\t3 \t\r\n\r\nabc",
    "chunked with white space": OK + b"Transfer-Encoding:\tChunked\t \r\n\r\n" + ABC,
    "white space around an extension": OK + CHUNKED + b'\r\n3 ; a = "b"\r\nabc\r\n0\r\n\r\n',
    "chunk size with zeros": OK + CHUNKED + b"\r\n" + b"0" * 40 + b"3\r\nabc\r\n000\r\n\r\n",
    "trailer that is a length": OK + CHUNKED + b"\r\n3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n",
    "trailers that are fields of the connection": OK
    + CHUNKED
    + b"\r\n3\r\nabc\r\n0\r\nTransfer-Encoding: gzip\r\nConnection: close\r\nSet-Cookie: a=b\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc",
    "upgrade that is only an offer": OK + b"Upgrade: h2,h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc",
}
"""Odd, and legal: the client gets the answer in one spelling, and the connection serves the next request."""


@pytest.fixture(scope="module")
def origin(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, origin: Origin) -> Gateway:
    return shared.gateway(dash=origin.url, timeouts={"hold": 0})


def ask(gateway: Gateway, origin: Origin, way: str, method: str = "POST") -> tuple[Wire, Wire]:
    """Send a request that the origin is to answer; returns both ends.

    way: ``fast path`` has an idle connection, and a simple request; ``ordinary`` has a request that is not.
    """
    client = gateway.dial()
    if way == "fast path":
        client.send(request("GET /first"))
        upstream = origin.accept()
        upstream.read_message()
        upstream.send(answer("200 OK", body=b"first"))
        assert client.read_message().body == b"first"
        client.send(request(f"{method} /asked"))
    else:
        client.send(request(f"{method} /asked", "TE: trailers"))
        upstream = origin.accept()
    assert upstream.read_message().line == f"{method} /asked HTTP/1.1"
    return client, upstream


def check_next(gateway: Gateway, origin: Origin, dropped: Wire) -> None:
    """Check that the connection is not used again, and that the next client gets the answer to its own question."""
    dropped.read_to_cut()
    client = gateway.dial()
    client.send(request("GET /next"))
    upstream = origin.accept()
    assert upstream.read_message().line == "GET /next HTTP/1.1"
    upstream.send(answer("200 OK", body=b"next"))
    assert client.read_message().body == b"next"


@pytest.mark.parametrize("way", ["fast path", "ordinary"])
@pytest.mark.parametrize("said", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_what_is_no_answer_is_a_502_and_ends_its_connection(
    gateway: Gateway, origin: Origin, way: str, said: bytes
) -> None:
    client, upstream = ask(gateway, origin, way)
    upstream.send(said)
    got = client.read_message()
    while got.status in (102, 103):
        got = client.read_message(has_body=False)
    assert got.status == 502
    check_next(gateway, origin, upstream)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("way", ["fast path", "ordinary"])
@pytest.mark.parametrize("said", ODD.values(), ids=ODD.keys())
def test_what_is_only_odd_is_relayed_in_one_spelling_and_its_connection_goes_on(
    gateway: Gateway, origin: Origin, way: str, said: bytes, cut: bool
) -> None:
    client, upstream = ask(gateway, origin, way)
    for start in range(0, len(said), 5 if cut else len(said)):
        upstream.send(said[start : start + 5] if cut else said)
    got = client.read_message()
    assert (got.status, got.body) == (200, b"abc")
    assert got.all("content-length") in ([], ["3"])
    assert got.all("transfer-encoding") in ([], ["chunked"])
    assert [got.all(name) for name in ("upgrade", "connection", "set-cookie", "trailer")] == [[], [], [], []]
    client.send(request("GET /again"))
    assert upstream.read_message().line == "GET /again HTTP/1.1"
    upstream.send(answer("200 OK", body=b"again"))
    assert client.read_message().body == b"again"


@pytest.mark.parametrize("way", ["fast path", "ordinary"])
@pytest.mark.parametrize("said", BROKEN_BODY.values(), ids=BROKEN_BODY.keys())
def test_a_body_that_breaks_off_is_never_ended_as_if_it_were_whole(
    gateway: Gateway, origin: Origin, way: str, said: bytes
) -> None:
    client, upstream = ask(gateway, origin, way)
    upstream.send(OK + CHUNKED + b"\r\n5\r\nbegun\r\n")
    assert client.read_until(b"5\r\nbegun\r\n")
    upstream.send(said)
    data, _ = client.read_to_cut()
    assert b"0\r\n\r\n" not in data
    check_next(gateway, origin, upstream)


@pytest.mark.parametrize("way", ["fast path", "ordinary"])
@pytest.mark.parametrize("said", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_it_is_the_same_in_answer_to_a_handshake(gateway: Gateway, origin: Origin, way: str, said: bytes) -> None:
    client = gateway.dial()
    client.send(handshake())
    upstream = origin.accept()
    upstream.read_head()
    cut = len(said) // 2 if way == "ordinary" else len(said)
    upstream.send(said[:cut])
    if cut < len(said):  # a send of nothing fails where the gateway has cut the connection already
        upstream.send(said[cut:])
    got = client.read_message()
    while got.status in (102, 103):
        got = client.read_message(has_body=False)
    assert got.status == 502
    check_next(gateway, origin, upstream)


@pytest.mark.parametrize("way", ["fast path", "ordinary"])
@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("GET", answer("204 No Content", body=None) + b"abc"),
        ("GET", answer("304 Not Modified", "Content-Length: 3", body=None) + b"abc"),
        ("HEAD", answer("200 OK", body=b"abc")),
        ("GET", answer("200 OK", body=b"abc") + b"more"),
        ("GET", answer("200 OK", body=b"abc") + answer("200 OK", body=b"evil")),
        ("GET", OK + CHUNKED + b"\r\n" + ABC + answer("200 OK", body=b"evil")),
        ("GET", answer("204 No Content", "Content-Length: 3", body=None) + b"abc"),
        ("GET", answer("204 No Content", "Transfer-Encoding: chunked", body=None) + ABC),
    ],
)
def test_bytes_after_a_response_belong_to_no_client(
    gateway: Gateway, origin: Origin, way: str, method: str, said: bytes
) -> None:
    client, upstream = ask(gateway, origin, way, method)
    upstream.send(said)
    got = client.read_message(has_body=method != "HEAD")
    assert got.status in (200, 204, 304)
    assert got.status != 204 or got.all("content-length") == []
    assert got.body in (b"abc", b"")
    client.send(request("GET /again"))
    upstream.read_to_cut()
    fresh = origin.accept()
    assert fresh.read_message().line == "GET /again HTTP/1.1"
    fresh.send(answer("200 OK", body=b"again"))
    assert client.read_message().body == b"again"
