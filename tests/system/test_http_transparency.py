"""Plain HTTP through the gateway: what one side says is what the other one gets, byte for byte and when it is said."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin, running_gateway, serving
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import Message, answer, chunks, request

OURS = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Request-ID")


@pytest.fixture(scope="module")
def origin(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, origin: Origin) -> Gateway:
    # Nothing is held: a probe for a request that waits for an upstream would be taken for the next connection.
    return shared.gateway(dash=origin.url, timeouts={"hold": 0})


def exchange(
    gateway: Gateway, origin: Origin, asked: bytes, answered: bytes, *, has_body: bool = True
) -> tuple[Message, Message]:
    """Carry one exchange; returns the request as the upstream got it and the answer as the client got it."""
    client = gateway.dial()
    client.send(asked)
    upstream = origin.accept()
    received = upstream.read_message()
    upstream.send(answered)
    return received, client.read_message(has_body=has_body)


def without_ours(message: Message) -> list[tuple[str, str]]:
    """Return a request's fields without the ones that the gateway adds, which come last."""
    assert message.names[-len(OURS) :] == list(OURS)
    return message.fields[: -len(OURS)]


# -- the request line


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND", "QUERY", "M-SEARCH"]
)
def test_every_method_passes(gateway: Gateway, origin: Origin, method: str) -> None:
    received, got = exchange(
        gateway,
        origin,
        request(f"{method} /x"),
        answer("200 OK", "Content-Length: 0", body=None),
        has_body=method != "HEAD",
    )
    assert received.line == f"{method} /x HTTP/1.1"
    assert got.status == 200


@pytest.mark.parametrize(
    "target",
    [
        "//a/%2e%2E/b?x=%20&&",
        "/a%2Fb",
        "/a?",
        "/?",
        "/a/../b/./c//",
        "/%7Euser/%c3%BC/+;v=1,2!$'()*",
        "/a?next=/b?c=d&e=http://x/%00",
        '/a?[]={}|\\^`"<>',
        "/:80/@evil.test",
        "/" + "a" * 8000,
        "*",
    ],
)
def test_path_and_query_pass_byte_for_byte(gateway: Gateway, origin: Origin, target: str) -> None:
    method = "OPTIONS" if target == "*" else "GET"
    received, got = exchange(gateway, origin, request(f"{method} {target}"), answer("200 OK"))
    assert received.line == f"{method} {target} HTTP/1.1"
    assert got.status == 200


def test_an_absolute_target_becomes_a_path(gateway: Gateway, origin: Origin) -> None:
    received, _ = exchange(gateway, origin, request("GET http://example.com/a%2Fb?c"), answer("200 OK"))
    assert received.line == "GET /a%2Fb?c HTTP/1.1"
    assert received.all("host") == ["example.com"]


# -- header fields


def test_the_requests_fields_keep_their_spelling_order_and_bytes(gateway: Gateway, origin: Origin) -> None:
    sent = [
        ("hOST", "example.com:8443"),
        ("ACCEPT", "text/html"),
        ("x-One", "1"),
        ("Cookie", 'a=1; b="two"; c=%3D=='),
        ("X-one", ""),
        ("accept", "*/*;q=0.1"),
        ("If-None-Match", 'W/"abc"'),
        ("X-Latin", "caf\xe9 \xff"),
        ("User-agent", "Mozilla/5.0  (two  spaces)"),
        ("x-ONE", "3"),
    ]
    head = "GET / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent) + "\r\n"
    received, _ = exchange(gateway, origin, head.encode("latin-1"), answer("200 OK"))
    assert without_ours(received) == sent


def test_the_answers_fields_keep_their_spelling_order_and_bytes(gateway: Gateway, origin: Origin) -> None:
    fields = [
        "sErVeR: an origin",
        "Set-Cookie: a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        "date: Tue, 24 Nov 2026 00:00:00 GMT",
        "set-cookie: b=2; HttpOnly",
        "Set-Cookie: a=3",
        "X-Latin: caf\xe9",
        "X-Empty: ",
        "content-LENGTH: 2",
    ]
    _, got = exchange(gateway, origin, request("GET /"), answer("200 Fine By Me", *fields, body=None) + b"hi")
    assert got.line == "HTTP/1.1 200 Fine By Me"
    assert [f"{name}: {value}" for name, value in got.fields] == fields


@pytest.mark.parametrize("status", ["200", "299 ", "404 Nothing (Here), Really", "418 I'm a teapot", "599 Odd"])
def test_status_and_reason_pass_as_they_are(gateway: Gateway, origin: Origin, status: str) -> None:
    _, got = exchange(gateway, origin, request("GET /"), answer(status, body=b"x"))
    assert got.line.rstrip() == f"HTTP/1.1 {status}".rstrip()
    assert got.body == b"x"


def test_hop_by_hop_fields_end_at_the_gateway_in_both_directions(gateway: Gateway, origin: Origin) -> None:
    hop = [
        "Connection: keep-alive, X-Mine",
        "Keep-Alive: timeout=9",
        "X-Mine: secret",
        "Proxy-Authorization: Basic eA==",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Trailer: X-Sum",
    ]
    received, got = exchange(
        gateway,
        origin,
        request("GET /", *hop, "X-Stays: 1"),
        answer("200 OK", "connection: x-yours, keep-alive", "X-Yours: 1", "Keep-Alive: timeout=5", "X-Stays: 2"),
    )
    assert without_ours(received) == [("Host", "example.com"), ("X-Stays", "1")]
    assert got.fields == [("X-Stays", "2"), ("Content-Length", "0")]


def test_connection_cannot_nominate_the_fields_that_the_message_needs(gateway: Gateway, origin: Origin) -> None:
    nominated = "Connection: Host, Content-Length, X-Forwarded-For, X-Request-ID, Cookie"
    received, got = exchange(
        gateway,
        origin,
        request("POST /", nominated, "Cookie: a=1", "Content-Length: 3", body=b"abc"),
        answer("200 OK", "Connection: Content-Length", body=b"hi"),
    )
    assert without_ours(received) == [("Host", "example.com"), ("Content-Length", "3")]
    assert received.body == b"abc"
    assert got.body == b"hi"


# -- who the client is


def test_no_proxy_is_trusted_by_default(gateway: Gateway, origin: Origin) -> None:
    lies = [
        "X-Forwarded-For: 6.6.6.6",
        "x-forwarded-proto: https",
        "X-FORWARDED-HOST: evil.test",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-User: admin",
        "X_Forwarded_For: 6.6.6.6",
        "X-Forwarded_Proto: https",
        "Forwarded: for=6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "X-Request-ID: theirs",
    ]
    asked = request("GET /", *lies, "X-Stays: 1", host="example.com:8443")
    received, _ = exchange(gateway, origin, asked, answer("200 OK"))
    assert without_ours(received) == [("Host", "example.com:8443"), ("X-Stays", "1")]
    ours = dict(received.fields[-len(OURS) :])
    assert ours.pop("X-Request-ID") not in ("", "theirs")
    assert ours == {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "example.com:8443",
        "X-Forwarded-Port": "8443",
    }


def test_a_trusted_proxys_word_is_read_and_passed_on_as_one(
    origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> None:
    said = [
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-For: 198.51.100.2, 10.0.0.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: public.example",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Prefix: /team",
        "X-Request-ID: abc-123",
    ]
    folder = tmp_path_factory.mktemp("trusting")
    with running_gateway(folder, dash=origin.url, trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"]) as gateway:
        received, _ = exchange(gateway, origin, request("GET /", *said, host="inside:8050"), answer("200 OK"))
        line = gateway.process.wait_for(r'^\S+ (\S+) "GET /" 200 ', timeout=DEADLINE)
    assert ", ".join(received.all("x-forwarded-for")) == "203.0.113.7, 198.51.100.2, 10.0.0.9, 127.0.0.1"
    assert received.all("x-forwarded-proto") == ["https"]
    assert received.all("x-forwarded-host") == ["public.example"]
    assert received.all("x-forwarded-port") == ["443"]
    assert received.all("x-forwarded-prefix") == ["/team"]
    assert received.all("x-request-id") == ["abc-123"]
    assert received.all("host") == ["inside:8050"]
    assert line[1] == "198.51.100.2", "the log names the last address that no trusted proxy stands for"


def test_each_request_has_an_id_of_its_own_and_the_log_names_it(gateway: Gateway, origin: Origin) -> None:
    ids = set()
    for _ in range(3):
        received, _ = exchange(gateway, origin, request("GET /"), answer("200 OK", "Connection: close"))
        ids.add(received.get("x-request-id"))
    assert len(ids) == 3
    for one in ids:
        gateway.process.wait_for(f"id={one}$", timeout=DEADLINE)


# -- bodies


BODY = random.Random(1).randbytes(300_000)
"""More than every buffer on the way holds at once, and nothing that could be compressed."""


def test_a_body_with_a_length_goes_up_as_it_is(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send_later(request("POST /up", f"Content-Length: {len(BODY)}", body=BODY))
    upstream = origin.accept()
    received = upstream.read_message()
    assert received.all("content-length") == [str(len(BODY))]
    assert received.all("transfer-encoding") == []
    assert received.body == BODY
    upstream.send(answer("201 Created", body=b"ok"))
    assert client.read_message().body == b"ok"


def test_a_chunked_body_goes_up_chunked(gateway: Gateway, origin: Origin) -> None:
    pieces = [BODY[:1], BODY[1:70_000], BODY[70_000:]]
    client = gateway.dial()
    client.send_later(request("POST /up", "tRANSFER-encoding: Chunked", body=chunks(*pieces)))
    received = origin.accept().read_message()
    assert received.all("transfer-encoding") == ["chunked"]
    assert received.all("content-length") == []
    assert received.body == BODY


@pytest.mark.parametrize("fields", [("Content-Length: 0",), ("Transfer-Encoding: chunked",)])
def test_an_empty_body_is_still_a_body(gateway: Gateway, origin: Origin, fields: tuple[str, ...]) -> None:
    is_chunked = "chunked" in fields[0]
    asked = request("POST /up", *fields, body=chunks() if is_chunked else b"")
    received, got = exchange(gateway, origin, asked, answer("200 OK", body=b"x"))
    assert received.body == b""
    assert received.all("content-length") == ([] if is_chunked else ["0"])
    assert received.all("transfer-encoding") == (["chunked"] if is_chunked else [])
    assert got.body == b"x"


def test_a_request_body_is_passed_on_while_it_is_sent(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /up", "Transfer-Encoding: chunked"))
    upstream = origin.accept()
    upstream.read_head()
    for number in range(5):
        piece = b"line %d\n" % number
        client.send(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
        assert upstream.read_chunk() == piece
    client.send(b"0\r\n\r\n")
    assert upstream.read_chunk() == b""
    upstream.send(answer("200 OK", body=b"done"))
    assert client.read_message().body == b"done"


def test_an_answer_may_come_before_the_body_has_ended(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /echo", "Transfer-Encoding: chunked", body=b"3\r\none\r\n"))
    upstream = origin.accept()
    upstream.read_head()
    assert upstream.read_chunk() == b"one"
    upstream.send(answer("200 OK", "Transfer-Encoding: chunked", body=None) + b"3\r\nONE\r\n")
    client.read_head()
    assert client.read_chunk() == b"ONE"
    client.send(b"3\r\ntwo\r\n0\r\n\r\n")
    assert upstream.read_chunk() == b"two"
    assert upstream.read_chunk() == b""
    exchange(gateway, origin, request("GET /between"), answer("204 No Content", body=None))
    upstream.send(b"3\r\nTWO\r\n0\r\n\r\n")
    assert client.read_chunk() == b"TWO"
    assert client.read_chunk() == b""


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_get_and_a_delete_may_have_a_body(gateway: Gateway, origin: Origin, method: str) -> None:
    asked = request(f"{method} /", "Content-Length: 5", body=b"query")
    received, _ = exchange(gateway, origin, asked, answer("200 OK"))
    assert received.body == b"query"


def test_an_answer_with_a_length_comes_down_as_it_is(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /down"))
    upstream = origin.accept()
    upstream.read_message()  # an answer before the question is nobody's
    upstream.send_later(answer("200 OK", body=BODY))
    got = client.read_message()
    assert got.all("content-length") == [str(len(BODY))]
    assert got.all("transfer-encoding") == []
    assert got.body == BODY


def test_a_chunked_answer_comes_down_chunked(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /down"))
    coded = chunks(BODY[:3], BODY[3:200_000], BODY[200_000:])
    upstream = origin.accept()
    upstream.read_message()  # an answer before the question is nobody's
    upstream.send_later(answer("200 OK", "transfer-encoding: chunked", body=None) + coded)
    got = client.read_message()
    assert got.all("transfer-encoding") == ["chunked"]
    assert got.all("content-length") == []
    assert got.body == BODY


def test_an_answer_that_ends_with_its_connection_arrives_whole(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /down"))
    upstream = origin.accept()
    upstream.read_head()
    upstream.send(b"HTTP/1.1 200 OK\r\nX-Old: yes\r\n\r\n" + BODY[:5000])
    upstream.close()
    got = client.read_message()
    assert got.body == BODY[:5000]
    client.send(request("GET /next"))
    assert origin.accept().read_message().line == "GET /next HTTP/1.1"


def test_compressed_bodies_stay_compressed(gateway: Gateway, origin: Origin) -> None:
    packed = gzip.compress(b"figure" * 1000)
    received, got = exchange(
        gateway,
        origin,
        request("POST /", "Content-Encoding: gzip", f"Content-Length: {len(packed)}", body=packed),
        answer("200 OK", "Content-Encoding: gzip", body=packed),
    )
    assert received.body == packed
    assert received.all("content-encoding") == ["gzip"]
    assert received.all("accept-encoding") == []
    assert got.body == packed
    assert got.fields == [("Content-Encoding", "gzip"), ("Content-Length", str(len(packed)))]


def test_redirects_are_the_clients_to_follow_and_cookies_the_clients_to_keep(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /old"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("302 Found", "Location: /new?a=%20", "Set-Cookie: a=1"))
    assert client.read_message().all("location") == ["/new?a=%20"]
    client.send(request("GET /new"))
    received = upstream.read_message()
    assert received.line == "GET /new HTTP/1.1"
    assert received.all("cookie") == []
    upstream.send(answer("200 OK"))
    client.read_message()


# -- answers without a body


@pytest.mark.parametrize("fields", [("Content-Length: 12345",), ("Transfer-Encoding: chunked",), ()])
def test_the_answer_to_a_head_has_fields_and_no_body(gateway: Gateway, origin: Origin, fields: tuple[str, ...]) -> None:
    client = gateway.dial()
    client.send(request("HEAD /page"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK", "X-Of: page", *fields, body=None))
    got = client.read_message(has_body=False)
    assert got.all("content-length") == (["12345"] if "12345" in str(fields) else [])
    assert got.all("x-of") == ["page"]
    client.send(request("GET /next"))
    upstream = upstream if fields else origin.accept()
    assert upstream.read_message().line == "GET /next HTTP/1.1"
    upstream.send(answer("200 OK", body=b"next"))
    assert client.read_message().body == b"next"


@pytest.mark.parametrize(
    ("status", "fields"),
    [("204 No Content", ()), ("304 Not Modified", ("Content-Length: 12345",)), ("304 Not Modified", ("ETag: x",))],
)
def test_a_204_and_a_304_have_no_body(gateway: Gateway, origin: Origin, status: str, fields: tuple[str, ...]) -> None:
    client = gateway.dial()
    client.send(request("GET /page"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer(status, *fields, body=None))
    got = client.read_message()
    assert got.line == f"HTTP/1.1 {status}"
    assert [f"{name}: {value}" for name, value in got.fields] == list(fields)
    client.send(request("GET /next"))
    assert upstream.read_message().line == "GET /next HTTP/1.1", "the connection to the upstream is used again"
    upstream.send(answer("200 OK", body=b"next"))
    assert client.read_message().body == b"next"


# -- interim answers


def test_the_upstream_decides_when_a_waiting_client_may_go_on(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /up", "Expect: 100-continue", "Content-Length: 4"))
    upstream = origin.accept()
    received = Message(upstream.read_head())
    assert received.all("expect") == ["100-continue"]
    assert not client.has_something()
    upstream.send(b"HTTP/1.1 100 Carry On\r\n\r\n")
    assert client.read_head() == b"HTTP/1.1 100 Carry On\r\n\r\n"
    client.send(b"body")
    assert upstream.read(4) == b"body"
    upstream.send(answer("200 OK", body=b"thanks"))
    assert client.read_message().body == b"thanks"


@pytest.mark.parametrize("status", ["417 Expectation Failed", "413 Content Too Large", "401 Unauthorized"])
def test_a_refusal_instead_of_100_reaches_the_client_as_it_is(gateway: Gateway, origin: Origin, status: str) -> None:
    client = gateway.dial()
    client.send(request("POST /up", "Expect: 100-continue", "Content-Length: 4000000"))
    upstream = origin.accept()
    upstream.read_head()
    upstream.send(answer(status, "X-Why: too much", body=b"no"))
    got = client.read_message()
    assert got.line == f"HTTP/1.1 {status}", "and no 100 before it"
    assert got.body == b"no"
    assert got.all("x-why") == ["too much"]
    assert got.all("connection") == ["close"], "what comes next on this connection would be taken for the body"


def test_a_client_that_expects_and_does_not_wait_gets_one_answer(gateway: Gateway, origin: Origin) -> None:
    received, got = exchange(
        gateway,
        origin,
        request("POST /up", "Expect: 100-continue", "Content-Length: 4", body=b"body"),
        answer("200 OK", body=b"ok"),
    )
    assert received.body == b"body"
    assert got.line == "HTTP/1.1 200 OK"


def test_early_hints_come_before_the_answer_that_they_hint_at(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /page"))
    upstream = origin.accept()
    upstream.read_message()
    for number in (1, 2):
        hint = f"HTTP/1.1 103 Early Hints\r\nLink: </{number}.css>; rel=preload\r\n\r\n".encode()
        upstream.send(hint)
        assert client.read_head() == hint
    upstream.send(answer("200 OK", body=b"page"))
    got = client.read_message()
    assert (got.status, got.body) == (200, b"page")


def test_an_interim_answer_in_one_packet_with_the_final_one_is_told_apart(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /page"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + answer("200 OK", body=b"page"))
    assert client.read_message().line == "HTTP/1.1 103 Early Hints"
    assert client.read_message().body == b"page"


def test_an_http_1_0_client_gets_no_interim_answer(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n")
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + answer("200 OK", body=b"page"))
    assert client.read_message().status == 200


# -- old clients, connections that are kept, requests in a row


def test_an_http_1_0_client_gets_a_body_that_ends_with_the_connection(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(b"GET /old HTTP/1.0\r\nHost: example.com\r\n\r\n")
    upstream = origin.accept()
    assert upstream.read_message().line == "GET /old HTTP/1.1"
    upstream.send(answer("200 OK", "Transfer-Encoding: chunked", body=None) + chunks(b"one", b"two"))
    got = client.read_message()
    assert got.all("transfer-encoding") == []
    assert got.body == b"onetwo"


def test_an_http_1_0_client_that_asks_for_it_keeps_its_connection(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    upstream = None
    for _ in range(3):
        client.send(b"GET /old HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n")
        upstream = upstream or origin.accept()
        upstream.read_message()
        upstream.send(answer("200 OK", body=b"hi"))
        got = client.read_message()
        assert got.all("connection") == ["keep-alive"]
        assert got.body == b"hi"


def test_an_http_1_0_client_without_a_host_is_given_one(gateway: Gateway, origin: Origin) -> None:
    """Old health checks send none; what the gateway sends is HTTP/1.1, where a server must refuse a missing Host
    (RFC 9112, section 3.2)."""
    received, got = exchange(gateway, origin, b"GET /check HTTP/1.0\r\n\r\n", answer("200 OK"))
    assert received.line == "GET /check HTTP/1.1"
    assert received.all("host") == [f"127.0.0.1:{origin.port}"]
    assert got.status == 200


def test_both_connections_are_kept_for_the_next_request(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    upstream = None
    for number in range(20):
        client.send(request(f"GET /{number}"))
        upstream = upstream or origin.accept()
        assert upstream.read_message().line == f"GET /{number} HTTP/1.1"
        upstream.send(answer("200 OK", body=b"%d" % number))
        assert client.read_message().body == b"%d" % number


def test_a_client_that_says_close_is_closed_behind_its_answer(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /last", "Connection: close"))
    upstream = origin.accept()
    assert upstream.read_message().all("connection") == []
    upstream.send(answer("200 OK", body=b"bye"))
    got = client.read_message()
    assert got.all("connection") == ["close"]
    assert client.read_to_end() == b""


def test_an_upstream_that_says_close_does_not_close_the_client(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    for number in range(2):
        client.send(request(f"GET /{number}"))
        upstream = origin.accept()
        upstream.read_message()
        upstream.send(answer("200 OK", "Connection: close", body=b"bye"))
        assert upstream.read_to_end() == b"", "the gateway closes what the upstream wants closed"
        got = client.read_message()
        assert (got.all("connection"), got.body) == ([], b"bye")


def test_pipelined_requests_are_answered_in_their_order(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(
        request("GET /0")
        + request("POST /1", "Content-Length: 3", body=b"abc")
        + request("POST /2", "Transfer-Encoding: chunked", body=chunks(b"de", b"f"))
        + request("HEAD /3")
        + request("GET /4")
    )
    upstream = origin.accept()
    for number, body in enumerate([b"", b"abc", b"def", b"", b""]):
        received = upstream.read_message()
        assert received.line.split()[1] == f"/{number}"
        assert received.body == body
        upstream.send(answer("200 OK", f"X-Number: {number}", "Content-Length: 1", body=None))
        if number != 3:
            upstream.send(b"%d" % number)
    for number in range(5):
        got = client.read_message(has_body=number != 3)
        assert got.all("x-number") == [str(number)]
        assert got.body == (b"" if number == 3 else b"%d" % number)


def test_a_request_may_come_byte_by_byte(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    for byte in request("POST /slow", "X-Odd:  1\t", "Transfer-Encoding: chunked", body=chunks(b"one", b"two")):
        client.send(bytes((byte,)))
    upstream = origin.accept()
    received = upstream.read_message()
    assert (received.get("x-odd"), received.body) == ("1", b"onetwo")
    for byte in answer("200 OK", "Transfer-Encoding: chunked", body=None) + chunks(b"three", b"four"):
        upstream.send(bytes((byte,)))
    assert client.read_message().body == b"threefour"


# -- as it is produced


@pytest.mark.parametrize("framing", ["chunked", "until close"])
@pytest.mark.parametrize(
    ("kind", "event"), [("text/event-stream", b"data: %d\n\n"), ("application/x-ndjson", b'{"n": %d}\n')]
)
def test_each_event_is_read_before_the_next_one_is_produced(
    gateway: Gateway, origin: Origin, kind: str, event: bytes, framing: str
) -> None:
    """A second request asks for each event, as a click in another tab would: nothing may wait for more to come."""
    reader, asker = gateway.dial(), gateway.dial()
    reader.send(request("GET /events", f"Accept: {kind}"))
    stream = origin.accept()
    stream.read_message()
    is_chunked = framing == "chunked"
    fields = ("Transfer-Encoding: chunked",) if is_chunked else ()
    stream.send(answer("200 OK", f"Content-Type: {kind}", *fields, body=None))
    assert Message(reader.read_head()).all("content-type") == [kind]
    asker.send(request("POST /next"))
    clicks = origin.accept()
    for number in range(6):
        assert clicks.read_message().line == "POST /next HTTP/1.1"
        stream.send(chunks(event % number)[:-5] if is_chunked else event % number)
        clicks.send(answer("204 No Content", body=None))
        assert asker.read_message().status == 204
        assert reader.read_chunk() == event % number
        asker.send(request("POST /next"))
    clicks.read_message()
    clicks.send(answer("204 No Content", body=None))
    stream.send(chunks()) if is_chunked else stream.end()
    assert reader.read_chunk() == b""


# -- trailers and framing


def test_trailers_of_a_request_do_not_break_the_next_one(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    trailers = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"
    client.send(request("POST /a", "Trailer: X-Sum", "Transfer-Encoding: chunked", body=trailers) + request("GET /b"))
    upstream = origin.accept()
    first = upstream.read_message()
    assert (first.line, first.body) == ("POST /a HTTP/1.1", b"abc")
    upstream.send(answer("200 OK", body=b"A"))
    second = upstream.read_message()
    assert (second.line, second.all("content-length"), second.all("x-sum")) == ("GET /b HTTP/1.1", [], [])
    upstream.send(answer("200 OK", body=b"B"))
    assert [client.read_message().body, client.read_message().body] == [b"A", b"B"]


def test_trailers_of_an_answer_do_not_break_the_next_one(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /a") + request("GET /b"))
    upstream = origin.accept()
    upstream.read_message()
    body = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nSet-Cookie: late=1\r\n\r\n"
    upstream.send(answer("200 OK", "Trailer: X-Sum", "Transfer-Encoding: chunked", body=None) + body)
    assert client.read_message().body == b"abc"
    assert upstream.read_message().line == "GET /b HTTP/1.1"
    upstream.send(answer("200 OK", body=b"B"))
    got = client.read_message()
    assert (got.body, got.all("set-cookie")) == (b"B", [])


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3, 3",),
        ("Content-Length: +3",),
        ("Content-Length : 3",),
        ("Content-Length: 3", CHUNKED),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: xchunked",),
        (CHUNKED, CHUNKED),
        ("X-Folded: 1\r\n 2", "Content-Length: 3"),
        ("X-Nul: a\0b", "Content-Length: 3"),
        ("X-Return: a\rb: c", "Content-Length: 3"),
    ],
    ids=lambda fields: " + ".join(fields).encode("unicode_escape").decode(),
)
def test_an_answer_that_two_readers_could_read_in_two_ways_is_a_502(
    gateway: Gateway, origin: Origin, fields: tuple[str, ...]
) -> None:
    client = gateway.dial()
    client.send(request("GET /"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK", *fields, body=None) + (chunks(b"abc") if "chunked" in str(fields) else b"abc"))
    assert client.read_message().status == 502
    assert upstream.read_to_cut()[0] == b"", "its connection is not used again"


@pytest.mark.parametrize("status", ["099", "000"])
def test_a_status_below_100_is_a_502(gateway: Gateway, origin: Origin, status: str) -> None:
    """There is none (RFC 9110, section 15), and written as a number it would have two digits."""
    client = gateway.dial()
    client.send(request("GET /"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer(f"{status} Odd", body=b"x"))
    assert client.read_message().status == 502


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3, 3",),
        ("Content-Length: +3",),
        ("Content-Length : 3",),
        ("Content-Length: 3", CHUNKED),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: xchunked",),
        (CHUNKED, CHUNKED),
    ],
    ids=" + ".join,
)
def test_a_body_that_two_readers_could_read_in_two_ways_is_refused(
    gateway: Gateway, origin: Origin, fields: tuple[str, ...]
) -> None:
    client = gateway.dial()
    body = chunks(b"abc") if "chunked" in str(fields) else b"abcd"
    client.send(request("POST /", *fields, body=body) + request("GET /smuggled"))
    got = client.read_message()
    assert (got.status, got.all("connection")) == (400, ["close"])
    assert client.read_to_cut()[0] == b"", "and what is behind it is not answered"
    assert not origin.has_visitor()


def test_a_transfer_coding_other_than_chunked_is_not_passed_off_as_chunked_alone(
    gateway: Gateway, origin: Origin
) -> None:
    """The upstream would take compressed bytes for the body. RFC 9112, section 6.1: answer 501."""
    client = gateway.dial()
    client.send(request("POST /", "Transfer-Encoding: gzip, chunked", body=chunks(gzip.compress(b"body"))))
    upstream = origin.accept_unless(client)
    assert upstream is None or upstream.read_head() == b""
    assert client.read_message().status in (400, 501)


def test_a_connection_is_not_kept_behind_a_chunked_http_1_0_request(gateway: Gateway, origin: Origin) -> None:
    """Whoever stands in front may have read another end of it (RFC 9112, section 6.1)."""
    client = gateway.dial()
    old = b"POST /old HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(old + chunks(b"abc") + request("GET /smuggled"))
    upstream = origin.accept_unless(client)
    if upstream is not None:
        upstream.read_message()
        upstream.send(answer("200 OK"))
    assert client.read_message().status in (200, 400)
    assert client.read_to_cut()[0] == b""


# -- upstreams that break off


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize(
    "begun",
    [
        answer("200 OK", "Content-Length: 10", body=None) + b"half",
        answer("200 OK", "Transfer-Encoding: chunked", body=None) + b"4\r\nhalf\r\n",
        answer("200 OK", "Transfer-Encoding: chunked", body=None) + b"8\r\nhalf",
    ],
    ids=["length", "between chunks", "inside a chunk"],
)
def test_a_client_can_tell_that_a_body_was_cut(gateway: Gateway, origin: Origin, begun: bytes, how: str) -> None:
    client = gateway.dial()
    client.send(request("GET /"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(begun)
    got = Message(client.read_head())
    is_chunked = got.all("transfer-encoding") == ["chunked"]
    assert client.read(9 if is_chunked else 4) == (b"4\r\nhalf\r\n" if is_chunked else b"half")
    upstream.reset() if how == "reset" else upstream.close()
    rest, _ = client.read_to_cut()
    assert rest == b"", "no last chunk, no filling: the connection ends in mid-body"


def test_an_old_client_can_tell_that_a_body_was_cut(gateway: Gateway, origin: Origin) -> None:
    """Its body ends with the connection, so only a reset can say that this was not the end."""
    client = gateway.dial()
    client.send(b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n")
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK", "Transfer-Encoding: chunked", body=None) + b"4\r\nhalf\r\n")
    client.read_head()
    assert client.read(4) == b"half"
    upstream.close()
    assert client.read_to_cut() == (b"", "reset")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_reset_in_a_body_that_ends_with_its_connection_is_not_its_end(
    gateway: Gateway, origin: Origin, version: str
) -> None:
    client = gateway.dial()
    client.send(f"GET / HTTP/{version}\r\nHost: example.com\r\n\r\n".encode())
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK", body=None) + b"half")
    client.read_head()
    if version == "1.0":
        assert client.read(4) == b"half"
    else:
        assert client.read_chunk() == b"half"
    upstream.reset()
    rest, how = client.read_to_cut()
    assert rest == b""
    assert version == "1.1" or how == "reset"


@pytest.mark.parametrize(
    "partial_answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SSH-2.0-OpenSSH_9.2\r\n", b"\r\n\r\n"]
)
def test_an_upstream_without_an_answer_is_a_502(gateway: Gateway, origin: Origin, partial_answer: bytes) -> None:
    client = gateway.dial()
    client.send(request("POST /", "Content-Length: 2", body=b"ab"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(partial_answer)
    upstream.close()
    got = client.read_message()
    assert got.status == 502
    assert "dash" in got.json()["error"]


# -- connections that wait for the next request


def leave_one_idle(gateway: Gateway, origin: Origin) -> Wire:
    """Carry one exchange, so that the gateway keeps its connection; returns the upstream's end."""
    client = gateway.dial()
    client.send(request("GET /first"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK", body=b"first"))
    assert client.read_message().body == b"first"
    return upstream


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize(
    "asked",
    [
        request("GET /again"),
        request("PUT /again", "Content-Length: 3", body=b"abc"),
        request("POST /again", "Content-Length: 3", body=b"abc"),
        request("POST /again", "Transfer-Encoding: chunked", body=chunks(b"abc")),
        request("PATCH /again", "Content-Length: 0"),
    ],
    ids=["GET", "PUT", "POST", "POST chunked", "PATCH"],
)
def test_an_idle_connection_that_the_upstream_closed_is_nobodys_error(
    gateway: Gateway, origin: Origin, asked: bytes, how: str
) -> None:
    idle = leave_one_idle(gateway, origin)
    client = gateway.dial()
    idle.reset() if how == "reset" else idle.close()
    client.send(asked)
    fresh = origin.accept()
    assert fresh.read_message().line.split()[1] == "/again"
    fresh.send(answer("200 OK", body=b"again"))
    got = client.read_message()
    assert (got.status, got.body) == (200, b"again")


def test_a_get_that_meets_the_upstreams_close_half_way_is_sent_again(gateway: Gateway, origin: Origin) -> None:
    idle = leave_one_idle(gateway, origin)
    client = gateway.dial()
    client.send(request("GET /again"))
    assert idle.read_message().line == "GET /again HTTP/1.1"
    idle.close()
    fresh = origin.accept()
    assert fresh.read_message().line == "GET /again HTTP/1.1"
    fresh.send(answer("200 OK", body=b"again"))
    assert client.read_message().body == b"again"


def test_a_post_that_meets_the_upstreams_close_half_way_is_not_sent_twice(gateway: Gateway, origin: Origin) -> None:
    idle = leave_one_idle(gateway, origin)
    client = gateway.dial()
    client.send(request("POST /pay", "Content-Length: 2", body=b"10"))
    assert idle.read_message().body == b"10"
    idle.close()
    assert client.read_message().status == 502
    assert not origin.has_visitor()


def test_an_upstream_that_began_to_answer_is_not_asked_again(gateway: Gateway, origin: Origin) -> None:
    idle = leave_one_idle(gateway, origin)
    client = gateway.dial()
    client.send(request("GET /again"))
    idle.read_message()
    idle.send(b"HTTP/1.1 200 ")
    idle.close()
    assert client.read_message().status == 502
    assert not origin.has_visitor()


POISON = answer("200 OK", "Set-Cookie: session=of-somebody-else", body=b"poison")
LATE = answer("408 Request Timeout", "Connection: close", body=b"poison")


def expect_clean_answer(gateway: Gateway, origin: Origin, method: str = "GET") -> None:
    """Ask on a new connection and answer it on a new one: what came before must have no part in it."""
    client = gateway.dial()
    body = ("Content-Length: 1",) if method == "POST" else ()
    client.send(request(f"{method} /next", *body, body=b"x" if body else b""))
    fresh = origin.accept()
    assert fresh.read_message().line == f"{method} /next HTTP/1.1"
    fresh.send(answer("200 OK", body=b"mine"))
    got = client.read_message()
    assert (got.status, got.body, got.all("set-cookie")) == (200, b"mine", [])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("words", [POISON, LATE, b"\0", b"\r\n"], ids=["answer", "late 408", "noise", "blank line"])
def test_what_an_idle_connection_sends_unasked_is_given_to_no_client(
    gateway: Gateway, origin: Origin, words: bytes, method: str
) -> None:
    idle = leave_one_idle(gateway, origin)
    idle.send(words)
    assert idle.read_to_cut()[0] == b"", "the gateway throws the connection away"
    expect_clean_answer(gateway, origin, method)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_sent_unasked_just_before_the_next_request_is_given_to_no_client(
    gateway: Gateway, origin: Origin, method: str
) -> None:
    """Both arrive while the gateway holds its breath, so that it finds them in one look."""
    idle = leave_one_idle(gateway, origin)
    client = gateway.dial()
    gateway.pause()
    try:
        client.send(request(f"{method} /next", "Content-Length: 1", body=b"x"))
        idle.send(POISON)
    finally:
        gateway.resume()
    fresh = origin.accept()
    fresh.read_message()
    fresh.send(answer("200 OK", body=b"mine"))
    assert client.read_message().body == b"mine"


@pytest.mark.parametrize(
    ("asked", "ending"),
    [
        (request("HEAD /"), answer("200 OK", f"Content-Length: {len(POISON)}", body=None)),
        (request("HEAD /"), answer("200 OK", "Transfer-Encoding: chunked", body=None)),
        (request("GET /"), answer("204 No Content", body=None)),
        (request("GET /"), answer("304 Not Modified", f"Content-Length: {len(POISON)}", body=None)),
        (request("GET /"), answer("200 OK", body=b"whole")),
        (request("GET /"), answer("200 OK", "Transfer-Encoding: chunked", body=None) + chunks(b"whole")),
    ],
    ids=["HEAD with length", "HEAD chunked", "204", "304", "length", "chunked"],
)
@pytest.mark.parametrize("packets", ["one packet", "two packets"])
def test_bytes_after_a_response_are_given_to_no_client(
    gateway: Gateway, origin: Origin, asked: bytes, ending: bytes, packets: str
) -> None:
    client = gateway.dial()
    client.send(asked)
    upstream = origin.accept()
    upstream.read_message()
    if packets == "one packet":
        upstream.send(ending + POISON)
    else:
        upstream.send(ending)
        upstream.send(POISON)
    got = client.read_message(has_body=not asked.startswith(b"HEAD"))
    assert got.body in (b"", b"whole")
    assert upstream.read_to_cut()[0] == b"", "the gateway throws the connection away"
    client.send(request("GET /next"))
    fresh = origin.accept()
    fresh.read_message()
    fresh.send(answer("200 OK", body=b"mine"))
    assert client.read_message().body == b"mine"


def test_what_comes_behind_an_answer_is_not_given_to_the_pipelined_request(gateway: Gateway, origin: Origin) -> None:
    """The next request is here already, so the connection would be used again without a pause."""
    client = gateway.dial()
    client.send(request("HEAD /first") + request("GET /next"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK", f"Content-Length: {len(POISON)}", body=None) + POISON)
    client.read_message(has_body=False)
    fresh = origin.accept()
    fresh.read_message()
    fresh.send(answer("200 OK", body=b"mine"))
    assert client.read_message().body == b"mine"


def test_the_refusal_of_an_upload_is_not_lost_in_the_reset_that_follows(tmp_path: Path) -> None:
    """The upstream answers and closes with most of the upload unread: the gateway's next write meets the reset."""
    upload = b"x" * 5_000_000

    def refuse(wire: Wire) -> None:
        wire.read_head()
        wire.send(answer("413 Content Too Large", "Connection: close", body=b"too big"))

    with serving(refuse) as url, running_gateway(tmp_path, dash=url) as gateway:
        for _ in range(20):
            with gateway.dial() as client:
                client.send_later(request("POST /upload", f"Content-Length: {len(upload)}") + upload)
                assert client.read_message().body == b"too big"
