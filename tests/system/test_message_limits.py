"""How big a message may be: what is over a limit is answered as such, ends there, and never piles up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest

from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin, open_tunnel, serving
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import frame
from tests.wire.messages import answer, chunks, handshake, request

LINE, HEADER, FIELDS, BODY = 2048, 4096, 20, 65536
"""What the gateway of these plays allows."""

LIMITS = {"request_line": "2KiB", "header": "4KiB", "fields": FIELDS, "body": "64KiB"}


@pytest.fixture(scope="module")
def origin(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, origin: Origin) -> Gateway:
    return shared.gateway(dash=origin.url, limits=LIMITS)


def memory(gateway: Gateway) -> int:
    return int(psutil.Process(gateway.process.pid).memory_info().rss)


def refused(client: Wire, status: int, *, error: str = "", still_sending: bool = False) -> None:
    """Expect our own answer, and behind it an end in peace: a reset could take the answer away."""
    message = client.read_message()
    assert message.status == status, message
    assert message.get("Connection") == "close"
    assert error in message.json()["error"], message.body
    if not still_sending:
        client.end()  # or the gateway waits a while for the rest of what was announced
    assert client.read_to_cut() == (b"", "end")


# -- heads


def head(*, line: int = 100, header: int = 200, fields: int = 3) -> bytes:
    """A request's head of exactly these sizes."""
    first = b"GET /" + b"x" * (line - len("GET / HTTP/1.1")) + b" HTTP/1.1\r\n"
    lines = [b"Host: a\r\n"] + [b"a:\r\n"] * (fields - 2)
    lines.append(b"b:" + b"x" * (header - sum(map(len, lines)) - 4) + b"\r\n")
    assert (len(first) - 2, sum(map(len, lines)), len(lines)) == (line, header, fields)
    return first + b"".join(lines) + b"\r\n"


def whole(client: Wire, data: bytes) -> None:
    client.send(data)


def in_two(client: Wire, data: bytes) -> None:
    client.send(data[:1000])
    client.send(data[1000:])


def byte_by_byte(client: Wire, data: bytes) -> None:
    for byte in data:
        with suppress(ConnectionError):
            client.sock.send(bytes((byte,)))


def behind_another(client: Wire, data: bytes) -> None:
    """On a connection that is kept, behind a request that is not carried as bytes."""
    client.send(b"GET /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    assert client.read_message().status == 200
    client.send(data)


def behind_an_upload(client: Wire, data: bytes) -> None:
    client.send(request("POST /first", "Content-Length: 3", "Expect: x"))
    client.send(b"abc")
    assert client.read_message().status == 200
    client.send(data)


WAYS = [whole, in_two, byte_by_byte, behind_another, behind_an_upload]


def echo(wire: Wire) -> None:
    """An upstream that answers everything."""
    while True:
        wire.read_message()
        wire.send(answer("200 OK"))


@pytest.fixture(scope="module")
def answered(shared: Shared) -> Iterator[Gateway]:
    """The same limits, before an upstream that answers by itself."""
    with serving(echo) as url:
        yield shared.gateway(dash=url, limits=LIMITS)


@pytest.mark.parametrize("way", WAYS)
def test_a_head_at_all_of_its_limits_passes(way: Callable[[Wire, bytes], None], answered: Gateway) -> None:
    with answered.dial() as client:
        way(client, head(line=LINE, header=HEADER, fields=FIELDS))
        assert client.read_message().status == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("sizes", "status", "error"),
    [
        ({"line": LINE + 1}, 414, "The request line is longer than 2048 bytes."),
        ({"header": HEADER + 1}, 431, "The header fields are larger than 4096 bytes."),
        ({"fields": FIELDS + 1}, 431, "There are more than 20 header fields."),
    ],
    ids=["line", "header", "fields"],
)
def test_a_head_over_one_of_its_limits_is_refused(
    way: Callable[[Wire, bytes], None], sizes: dict[str, int], status: int, error: str, answered: Gateway
) -> None:
    with answered.dial() as client:
        way(client, head(**sizes))
        refused(client, status, error=error)


def test_a_simple_request_over_a_limit_is_refused_on_the_fast_path_too(answered: Gateway) -> None:
    """Between two others it would be carried without a parser."""
    with answered.dial() as client:
        for _ in range(3):
            client.send(head())
            assert client.read_message().status == 200
        client.send(head(fields=FIELDS + 1))
        refused(client, 431)


@pytest.mark.parametrize(
    ("beginning", "more", "status"),
    [
        (b"GET /", b"x", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"a: b\r\n", 431),
        (b"GET / HTTP/1.1\r\na: ", b"b", 431),
    ],
    ids=["line", "fields", "one field"],
)
def test_a_head_without_end_is_cut_at_the_limit(
    beginning: bytes, more: bytes, status: int, gateway: Gateway, origin: Origin
) -> None:
    client = gateway.dial()
    client.send(beginning)
    while not client.has_something():
        client.send(more * (512 // len(more)))
        time.sleep(0.005)  # so that the answer has a chance to stop it
    message = client.read_message()
    assert message.status == status
    assert not origin.has_visitor()


def test_the_answer_to_a_large_head_reaches_a_client_that_goes_on_sending(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    sending = client.send_later(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (1 << 20))
    message = client.read_message()
    assert message.status == 431
    assert client.read_to_end() == b"", "an end, and no reset that takes the answer away"
    client.close()
    sending.join(DEADLINE)
    assert not origin.has_visitor()


def test_the_answer_reaches_a_client_that_goes_on_behind_a_refused_handshake(gateway: Gateway) -> None:
    client = gateway.dial()
    ahead = frame(2, b"x" * (4 << 20), mask=b"abcd")
    sending = client.send_later(handshake().replace(b"Version: 13", b"Version: 7") + ahead)
    assert client.read_message().status == 426
    assert client.read_to_cut() == (b"", "end")
    client.close()
    sending.join(DEADLINE)


def test_the_log_says_which_limit_it_was(gateway: Gateway) -> None:
    behind = len(gateway.process.output)
    gateway.ask(head(line=LINE + 1))
    gateway.process.wait_for(r'"- -" 414 .* refused \[The request line is longer than 2048 bytes\.\]', after=behind)


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


# -- what comes without end


@pytest.mark.parametrize(
    ("beginning", "more"),
    [(b"0\r\n", b"A: b\r\n"), (b"0\r\nA: ", b"b"), (b"1;a=", b"b")],
    ids=["trailers", "one trailer", "a chunk extension"],
)
def test_what_is_no_body_of_a_chunked_request_has_an_end(
    beginning: bytes, more: bytes, gateway: Gateway, origin: Origin
) -> None:
    client = gateway.dial()
    client.send(request("POST /", "Transfer-Encoding: chunked", body=b"1\r\nx\r\n"))
    upstream = origin.accept()
    sending = client.send_later(beginning + more * (8 << 20))
    message = client.read_message()
    assert message.status == 400, message
    client.close()
    sending.join(DEADLINE)
    assert not upstream.read_to_cut()[0].endswith(b"0\r\n\r\n")


def flood(upstream: Wire, beginning: bytes, more: bytes) -> None:
    with suppress(OSError):
        upstream.send(beginning + more * (8 * (1 << 20) // len(more)))


@pytest.mark.parametrize("way", ["plain", "ordinary"])
def test_interim_answers_have_an_end_also_when_the_client_reads_nothing(
    way: str, gateway: Gateway, origin: Origin
) -> None:
    client = gateway.dial(receive_buffer=4096)
    client.send(request("GET /warm"))
    upstream = origin.accept()
    upstream.read_head()
    upstream.send(answer("200 OK"))
    client.read_message()
    client.send(request("GET /", *([] if way == "plain" else ["Expect: x"])))
    upstream.read_head()
    before = memory(gateway)
    flood(upstream, b"", answer("103 Early Hints", "Link: </a.css>", body=None))
    while (message := client.read_message()).status == 103:
        pass
    assert message.status == 502
    assert memory(gateway) - before < 4 << 20


@pytest.mark.parametrize(
    ("beginning", "more"),
    [(b"0\r\n", b"A: b\r\n"), (b"0\r\nA: ", b"b"), (b"1;a=", b"b")],
    ids=["trailers", "one trailer", "a chunk extension"],
)
def test_what_is_no_body_of_an_answer_has_an_end(
    beginning: bytes, more: bytes, gateway: Gateway, origin: Origin
) -> None:
    client = gateway.dial()
    client.send(request("GET /"))
    upstream = origin.accept()
    upstream.read_head()
    before = memory(gateway)
    flood(upstream, answer("200 OK", "Transfer-Encoding: chunked", body=None) + b"1\r\nx\r\n" + beginning, more)
    got, _ = client.read_to_cut()
    assert got.endswith(b"1\r\nx\r\n"), "cut, and not ended"
    assert memory(gateway) - before < 4 << 20
