"""The plain exchange: whatever is taken for one, the ordinary way reads the same and sends the same."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.gateway.routing import Forward, Table, decide
from proxy.http1.forwarded import ForwardedReader
from proxy.http1.head_limits import HeadLimits
from proxy.http1.headers import Head, request_head
from proxy.http1.request_reader import RequestReader
from proxy.http1.simple_message import MAX_HEAD, recognise_request
from proxy.net.peer import Peer, Trusted

GET = b"GET /a?b=%20 HTTP/1.1\r\nHost: x:1\r\nAccept: */*\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\n\r\n"
POST = b'POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"a": [1]}'[:-1]

# -- requests


def test_a_browsers_request_is_recognised() -> None:
    request = recognise_request(GET)
    assert request is not None
    assert (request.method, request.target, request.host, request.owed) == ("GET", "/a?b=%20", b"x:1", 0)
    assert request.line + request.fields == GET.replace(b"Connection: keep-alive\r\n", b"")[:-2]


def test_a_body_that_is_here_comes_along() -> None:
    request = recognise_request(POST)
    assert request is not None
    assert (request.body, request.owed) == (b'{"a": [1]', 0)


def test_a_body_that_is_still_coming_is_owed() -> None:
    request = recognise_request(POST[:-4])
    assert request is not None
    assert request.owed == 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GET[:-1],
        GET + b"G",
        POST + b"x",
        GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GET.replace(b"GET", b"BREW"),
        GET.replace(b"GET /a", b"GET  /a"),
        GET.replace(b"/a", b"//a"),
        GET.replace(b"/a", b"http://x:1/a"),
        GET.replace(b"/a", b"/a#b"),
        GET.replace(b"/a", b"/a\\b"),
        GET.replace(b"/a", b"/\xc3\xa9"),
        GET.replace(b"\r\n", b"\n"),
        GET.replace(b"Accept", b"Acc ept"),
        GET.replace(b"Accept:", b"Accept :"),
        GET.replace(b"Accept: */*", b"Accept:\r\n */*"),
        GET.replace(b"Accept: */*", b"Accept: \x00"),
        GET.replace(b"Accept: */*", b"Accept: a\rb"),
        GET.replace(b"Accept", b"X_Forwarded_For"),
        GET.replace(b"Accept", b"X.Forwarded.For"),
        GET.replace(b"Accept", b"Upgrade"),
        GET.replace(b"Accept", b"TE"),
        GET.replace(b"Accept", b"expect"),
        GET.replace(b"Accept", b"transfer-encoding"),
        GET.replace(b"Accept", b"sec-websocket-key"),
        GET.replace(b"Accept", b"Host"),
        GET.replace(b"Host: x:1\r\n", b""),
        GET.replace(b"Host: x:1", b"Host: x y"),
        GET.replace(b"keep-alive", b"close"),
        GET.replace(b"Accept: */*", b"Connection: keep-alive"),
        POST.replace(b": 9", b": 9\r\nContent-Length: 9"),
        POST.replace(b": 9", b": +9"),
        POST.replace(b": 9", b": 09"),
        POST.replace(b": 9", b": 9, 9"),
        POST.replace(b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * 64 + b"\r\n"),
        GET.replace(b"a=b", b"a=" + b"b" * MAX_HEAD),
    ],
)
def test_what_is_not_quite_plain_is_left_to_the_ordinary_way(data: bytes) -> None:
    assert recognise_request(data) is None


def test_what_only_a_proxy_may_say_is_taken_out_and_kept_apart() -> None:
    said = GET.replace(b"Accept:", b"x-forwarded-for: 192.0.2.1 \r\nX-Request-ID:a\r\nforwarded: b\r\nAccept:")
    request, unsaid = recognise_request(said), recognise_request(GET)
    assert request is not None
    assert unsaid is not None
    assert request.fields == unsaid.fields
    assert request.words == ((b"x-forwarded-for", b"192.0.2.1"), (b"X-Request-ID", b"a"), (b"forwarded", b"b"))
    assert unsaid.words == ()


def mostly(usual: list[bytes], odd: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Draw something usual nineteen times of twenty: a message with two oddities is refused for either."""
    return st.integers(0, 19).flatmap(lambda n: odd if n == 19 else st.sampled_from(usual))


PLAIN_NAMES = [
    b"X-Forwarded-For",
    b"x-request-id",
    b"X-Forwarded-Host",
    b"X-Forwarded-Proto",
    b"x-forwarded-ssl",
    b"Forwarded",
    b"Accept",
    b"cookie",
    b"Range",
    b"If-None-Match",
    b"Sec-Fetch-Mode",
    b"a!#$%&'*+^`|~",
]
ODD_NAMES = [
    *b"Content-Type User-Agent ETag Server Host Content-Length Connection Keep-Alive Transfer-Encoding Upgrade".split(),
    *b"X_Forwarded_For X.Forwarded.For X-Real-IP X-Scheme a.b Expect TE Sec-WebSocket-Key Via Trailer \xe9".split(),
    b"A b",
    b"",
]
NAMES = mostly(PLAIN_NAMES, st.sampled_from(ODD_NAMES))
VALUES = mostly(
    [
        b"",
        b"x",
        b"a, b",
        b"a: b",
        b" padded\t ",
        b"\xe9",
        b"https, http",
        b"203.0.113.7:4711",
        b"for=[::1];proto=https",
    ],
    st.sampled_from([b"3", b"0", b"chunked", b"keep-alive", b"close", b"websocket"]) | st.binary(max_size=6),
)
TARGETS = mostly(
    [b"/", b"/a", b"/a/../b", b"/%2e?x=1&y", b"/ws/live", b"/a//b", b"/?/"],
    st.sampled_from([b"//a", b"*", b"http://x/", b"/a b", b"/\xe9", b"/a#b"])
    | st.binary(max_size=5).map(lambda tail: b"/" + tail),
)
METHODS = mostly([b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT"], st.sampled_from([b"CONNECT", b"TRACE", b"get", b""]))
SEPARATORS = mostly([b": ", b":"], st.sampled_from([b" :", b""]))
LINE_ENDS = mostly([b"\r\n"], st.sampled_from([b"\n", b"\r", b"\r\n ", b"\0\r\n"]))
LENGTHS = mostly([b"%d"], st.sampled_from([b"+%d", b"0%d", b"%d ", b"%d, 3", b"-%d", b"0x%d"]))


@st.composite
def messages(draw: st.DrawFn, first_line: st.SearchStrategy[bytes], essential: list[bytes]) -> bytes:
    """Messages of which a good part is well made, and most of the rest nearly so."""
    body = draw(st.sampled_from([b"", b"abc", b"0\r\n\r\n", b"GET /"]))
    lines = [name + draw(SEPARATORS) + draw(VALUES) for name in draw(st.lists(NAMES, max_size=4))]
    lines += [field for field in essential if draw(st.integers(0, 9))]
    if draw(st.integers(0, 9)):
        lines.append(b"Content-Length: " + draw(LENGTHS) % len(body))
    if draw(st.booleans()):
        lines.append(b"Connection: keep-alive")
    order = draw(st.permutations(lines))
    return draw(first_line) + b"\r\n" + b"".join(line + draw(LINE_ENDS) for line in order) + b"\r\n" + body


REQUESTS = messages(st.tuples(METHODS, TARGETS).map(lambda p: p[0] + b" " + p[1] + b" HTTP/1.1"), [b"Host: x"])


PEER = Peer("192.0.2.7")
TRUSTED: tuple[Trusted, ...] = ((), (ip_network("192.0.2.0/24"),))


def read_strictly(data: bytes) -> tuple[Head, bytes]:
    """Read a whole request as the ordinary way does; AssertionError if it is not one, or more than one."""
    reader = RequestReader(HeadLimits(16384, 65536, 128))
    good, rest = reader.feed(data)
    assert not rest
    assert reader.is_whole
    assert reader.head is not None
    return reader.head, good


@settings(max_examples=400)
@given(REQUESTS)
@example(GET)
@example(POST)
@example(GET.replace(b"*/*", b"*/* \t"))
@example(GET.replace(b"Accept: ", b"Accept:"))
def test_whatever_is_recognised_the_ordinary_way_reads_and_sends_the_same(data: bytes) -> None:
    request = recognise_request(data)
    if request is None or request.owed:
        return
    head, body = read_strictly(data)
    decision = decide(head, Table())
    assert isinstance(decision, Forward)
    assert (decision.upstream, decision.route) == Table().match(request.target, request.host, [], upgrade=False)
    assert (request.method, request.target, request.body) == (head.method, head.target, body)
    assert request.host == head.get(b"host")
    for trusted in TRUSTED:
        reader = ForwardedReader(trusted)
        asked = reader.read(head, PEER)
        expected = request_head(head, decision.target, asked.fields_of("id", "dash"))
        for _ in range(2):  # read, and remembered
            assert reader.read_plain(PEER, request.host, request.words) == asked
        sent = request.line + request.fields + asked.lines_of("id", "dash") + b"\r\n"
        assert lines_of(sent) == lines_of(expected)
        back = request.to_head()
        assert reader.read(back, PEER) == asked
        assert request_head(back, back.target, asked.fields_of("id", "dash")) == expected


def lines_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Split a head; the white space around a value means nothing (RFC 9110, section 5.5)."""
    pairs = [line.partition(b":") for line in head.split(b"\r\n")]
    return [(name, value.strip(b" \t")) for name, _, value in pairs]
