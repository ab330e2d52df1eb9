"""The judge is judged: the strict origin takes what is good, and flags everything that it is there to flag."""

from __future__ import annotations

import re

import pytest

from tests.wire.reading import end_to_end, origin_form, read_all_public, read_at_origin, read_public
from tests.wire.strict_origin import ask, strict_origins

ADDED = (
    b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: x\r\nX-Forwarded-Port: 80\r\n"
    b"X-Request-ID: a\r\n"
)
GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nCookie: c=d\r\n" + ADDED + b"\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x:1\r\nContent-Length: 3\r\n" + ADDED + b"\r\nabc"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: [::1]:80\r\n" + ADDED + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
HANDSHAKE = (
    b"GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + ADDED + b"\r\n"
)


@pytest.mark.parametrize("data", [GET, POST, CHUNKED, HANDSHAKE, GET.replace(b"GET /a?b", b"OPTIONS *")])
def test_a_good_request_has_no_fault(data: bytes) -> None:
    for read in (read_at_origin, read_public):
        request = read(data)
        assert request is not None
        assert request.faults == []
        assert request.is_whole
        assert request.raw == data
    for size in range(1, len(data)):
        cut = read_at_origin(data[:size])
        assert cut is not None
        assert not cut.is_whole
        assert cut.faults == [], f"nothing is wrong with the first {size} bytes"


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


FLAGGED_BY_BOTH = {
    "two lengths": changed(POST, b"Length: 3", b"Length: 3\r\nContent-Length: 4"),
    "two equal lengths": changed(POST, b"Length: 3", b"Length: 3\r\ncontent-length: 3"),
    "length and coding": changed(POST, b"Length: 3", b"Length: 3\r\nTransfer-Encoding: chunked"),
    "coding and length": changed(CHUNKED, b"chunked", b"chunked\r\nContent-Length: 3"),
    "length with plus": changed(POST, b"Length: 3", b"Length: +3"),
    "length with comma": changed(POST, b"Length: 3", b"Length: 3,3"),
    "empty length": changed(POST, b"Length: 3", b"Length:"),
    "two codings": changed(CHUNKED, b"chunked", b"chunked, chunked"),
    "two coding fields": changed(CHUNKED, b"chunked", b"chunked\r\nTransfer-Encoding: chunked"),
    "coding with vertical tab": changed(CHUNKED, b"chunked", b"\x0bchunked"),
    "bare line feed": changed(GET, b"Host: x\r\n", b"Host: x\n"),
    "bare carriage return": changed(GET, b"c=d", b"c\rd"),
    "folded line": changed(GET, b"c=d", b"c=d\r\n e"),
    "space before colon": changed(GET, b"Cookie:", b"Cookie :"),
    "no colon": changed(GET, b"Cookie: c=d", b"Cookie"),
    "no name": changed(GET, b"Cookie:", b":"),
    "nul in value": changed(GET, b"c=d", b"c\0d"),
    "delete in value": changed(GET, b"c=d", b"c\x7fd"),
    "high byte in name": changed(GET, b"Cookie", b"Cooki\xe9"),
    "white space before first field": changed(GET, b"Host", b" Host"),
    "no host": changed(GET, b"Host: x\r\n", b""),
    "two hosts": changed(GET, b"Host: x", b"Host: x\r\nHost: y"),
    "host with path": changed(GET, b"Host: x", b"Host: x/y"),
    "host with user": changed(GET, b"Host: x", b"Host: a@x"),
    "host with space": changed(GET, b"Host: x", b"Host: x y"),
    "empty host": changed(GET, b"Host: x", b"Host:"),
    "host with two ports": changed(GET, b"Host: x", b"Host: x:1:2"),
    "fragment": changed(GET, b"/a", b"/a#f"),
    "non-ASCII in target": changed(GET, b"/a", b"/\xc3\xa9"),
    "no slash": changed(GET, b"/a", b"@a"),
    "asterisk": changed(GET, b"/a?b", b"*"),
    "backslash in path": changed(GET, b"/a", b"/\\a"),
    "HEAD in other letters": changed(GET, b"GET", b"hEAD"),
    "CONNECT": changed(GET, b"GET /a?b", b"CONNECT x:1"),
    "two spaces": changed(GET, b"GET ", b"GET  "),
    "tab": changed(GET, b"GET ", b"GET\t"),
    "other version": changed(GET, b"HTTP/1.1", b"HTTP/2.0"),
    "method that is no token": changed(GET, b"GET", b"G(T"),
    "chunk size with prefix": changed(CHUNKED, b"\r\n3\r\n", b"\r\n0x3\r\n"),
    "chunk size with space": changed(CHUNKED, b"\r\n3\r\n", b"\r\n3 \r\n"),
    "chunk size with space first": changed(CHUNKED, b"\r\n3\r\n", b"\r\n 3\r\n"),
    "chunk extension with space last": changed(CHUNKED, b"\r\n3\r\n", b"\r\n3;a \r\n"),
    "chunk extension with two names": changed(CHUNKED, b"\r\n3\r\n", b"\r\n3;a b\r\n"),
    "chunk size that overflows": changed(CHUNKED, b"\r\n3\r\n", b"\r\n10000000000000003\r\n"),
    "chunk longer than its size": changed(CHUNKED, b"\r\n3\r\n", b"\r\n2\r\n"),
    "chunk line with bare line feed": changed(CHUNKED, b"\r\n3\r\n", b"\r\n3\n"),
    "trailer that is a length": changed(CHUNKED, b"0\r\n\r\n", b"0\r\nContent-Length: 3\r\n\r\n"),
    "handshake with body": changed(HANDSHAKE, b"Host: x", b"Host: x\r\nContent-Length: 1") + b"x",
    "handshake of another version": changed(HANDSHAKE, b"13", b"8"),
    "handshake without key": changed(HANDSHAKE, b"dGhlIHNhbXBsZSBub25jZQ==", b""),
    "handshake with two keys": changed(
        HANDSHAKE, b"Host: x", b"Host: x\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    ),
    "handshake that is no GET": changed(HANDSHAKE, b"GET", b"PUT"),
    "two upgrades": changed(HANDSHAKE, b"websocket", b"websocket, h2c"),
}

FLAGGED_AT_THE_ORIGIN = {
    "empty line before": b"\r\n" + GET,
    "version 1.0": changed(GET, b"HTTP/1.1", b"HTTP/1.0"),
    "absolute target": changed(GET, b"/a?b", b"http://x/a"),
    "keep-alive": changed(GET, b"Cookie: c=d", b"Connection: keep-alive"),
    "another upgrade": changed(GET, b"Cookie: c=d", b"Upgrade: h2c"),
    "HTTP2-Settings": changed(GET, b"Cookie", b"HTTP2-Settings"),
    "TE": changed(GET, b"Cookie", b"TE"),
    "Trailer": changed(CHUNKED, b"Host", b"Trailer: X-Sum\r\nHost"),
    "alias of a length": changed(GET, b"Cookie", b"Content_Length"),
    "alias of a proxy's word": changed(GET, b"Cookie", b"X_Forwarded-For"),
    "nothing about the client": changed(GET, b"X-Forwarded-For: 192.0.2.1\r\n", b""),
    "two request ids": changed(GET, b"Cookie", b"X-Request-ID"),
    "scheme ws": changed(GET, b"Proto: http", b"Proto: ws"),
    "handshake that closes": changed(HANDSHAKE, b"Connection: Upgrade", b"Connection: close, Upgrade"),
    "length with zero in front": changed(POST, b"Length: 3", b"Length: 03"),
    "chunk size with zero in front": changed(CHUNKED, b"\r\n3\r\n", b"\r\n03\r\n"),
    "white space around a chunk extension": changed(CHUNKED, b"\r\n3\r\n", b"\r\n3 ;\ta = b ; c\r\n"),
    "an empty upgrade beside": changed(HANDSHAKE, b"Host: x", b"Upgrade:\r\nHost: x"),
    "a default port": changed(GET, b"/a?b", b"http://x:80/a"),
    "chunk extension": changed(CHUNKED, b"\r\n3\r\n", b"\r\n3;a=b\r\n"),
    "trailer": changed(CHUNKED, b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n"),
}


@pytest.mark.parametrize("data", FLAGGED_BY_BOTH.values(), ids=FLAGGED_BY_BOTH.keys())
def test_what_two_servers_could_read_in_two_ways_is_flagged(data: bytes) -> None:
    for read in (read_at_origin, read_public):
        request = read(data)
        assert request is not None
        assert request.faults


@pytest.mark.parametrize("data", FLAGGED_AT_THE_ORIGIN.values(), ids=FLAGGED_AT_THE_ORIGIN.keys())
def test_what_a_client_may_write_and_a_gateway_may_not_is_flagged_at_the_origin(data: bytes) -> None:
    request = read_at_origin(data)
    assert request is not None
    assert request.faults
    public = read_public(data)
    assert public is not None
    assert public.faults == []


def test_a_stream_is_read_up_to_its_first_fault() -> None:
    requests = read_all_public(b"\r\n" + GET + CHUNKED + POST + GET[:-1])
    assert [(r.method, r.is_whole) for r in requests] == [
        (b"GET", True),
        (b"POST", True),
        (b"POST", True),
        (b"", False),
    ]
    assert requests[1].body == b"abc"
    assert [bool(r.faults) for r in read_all_public(GET + b"\0" + GET)] == [False, True]


def test_what_a_client_writes_for_one_hop_is_not_expected_at_the_origin() -> None:
    request = read_public(
        b"GET http://x?q HTTP/1.1\r\nHost: x\r\nA: b\r\nConnection: close, A, Host\r\nX_Forwarded_For: c\r\n"
        b"forwarded: d\r\nTE: e\r\nX_Other: f\r\n\r\n"
    )
    assert request is not None
    assert origin_form(request) == b"/?q"
    assert end_to_end(request) == [(b"Host", b"x"), (b"X_Other", b"f")]


def test_the_origin_answers_what_is_good_and_writes_down_what_is_not() -> None:
    with strict_origins() as origins:
        answers = ask(origins.dash.url, GET + HANDSHAKE.replace(b"/live", b"/refuse/403") + POST + b"\r\n" + GET)
        assert re.findall(rb"HTTP/1.1 [^\r]+", answers) == [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 403 Refused",
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 400 Ambiguous",
        ]
        origins.settle()
        assert [bool(seen.request.faults) for seen in origins.dash.seen] == [False, False, False, True]
        assert len(origins.dash.faults) == 1
        origins.forget()
        assert ask(origins.ws.url, HANDSHAKE + b"hello").endswith(b"\r\n\r\nhello")
        assert ask(origins.ws.url, POST[:-1]) == b""
        assert ask(origins.ws.url, POST[:20]) == b""
        origins.settle()
        tunnel, cut, head = origins.ws.seen
        assert (tunnel.is_tunnel, bytes(tunnel.tunnel)) == (True, b"hello")
        assert (cut.request.is_whole, cut.request.faults) == (False, [])
        assert head.request.faults, "a gateway sends whole heads"
