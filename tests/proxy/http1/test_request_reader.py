"""The strict reading: what is refused, where a request ends, and that cutting the stream changes neither."""

from __future__ import annotations

import re
import time
from ipaddress import ip_network
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.config import Limits
from proxy.gateway.routing import Forward, Refuse, Table, Upgrade, decide
from proxy.http1.chunked import ProtocolError
from proxy.http1.forwarded import ForwardedReader
from proxy.http1.head_checks import HeadLimits
from proxy.http1.headers import Head, request_head
from proxy.http1.request_reader import RequestReader
from proxy.net.peer import Peer, Trusted
from tests.fuzz.grammar import write_play
from tests.wire.generated import REQUESTS, lines_of
from tests.wire.reading import arrived, end_to_end, origin_form, read_all_public, read_at_origin, read_public

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

LIMITS = HeadLimits.of(Limits())

Reading = tuple[list[bytes], str]


def read(*pieces: bytes) -> Reading:
    """Return what each request is taken for, and how it ended: ``whole``, ``open``, or why not."""
    reader, requests, good = RequestReader(LIMITS), [], b""
    for piece in pieces:
        while piece:
            try:
                more, piece = reader.feed(piece)
            except ProtocolError as error:
                return [*requests, good], f"{error.status} {error}"
            if reader.head is not None and not good:
                good = written(reader.head)
            good += more
            if reader.is_whole:
                requests.append(good)
                good = b""
                reader.next()
    return [*requests, good], "open" if reader.has_begun else "whole"


def written(head: Head) -> bytes:
    """Return a head as it would be written."""
    lines = [f"{head.method} {head.target} HTTP/{head.version[0]}.{head.version[1]}".encode("latin-1")]
    lines += [name + b": " + value for name, value in head.headers]
    return b"\r\n".join((*lines, b"", b""))


def test_requests_are_told_apart() -> None:
    assert read(GET + POST + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + GET) == (
        [GET, POST, CHUNKED + b"abc", GET, b""],
        "whole",
    )


def test_a_head_is_given_on_as_a_whole_and_a_body_as_it_comes() -> None:
    assert read(POST[:20]) == ([b""], "open")
    assert read(POST[:20], POST[20:-1]) == ([POST[:-1]], "open")
    assert read(CHUNKED + b"3\r\na") == ([CHUNKED + b"a"], "open")


def test_chunks_that_come_together_are_joined() -> None:
    assert read(CHUNKED + b"1\r\na\r\n" * 3 + b"2;x=y\r\nbc\r\n0\r\n\r\n") == ([CHUNKED + b"aaabc", b""], "whole")


def test_a_body_may_be_in_small_chunks_as_long_as_it_is_not_mostly_framing() -> None:
    assert read(CHUNKED + b"5\r\nabcde\r\n" * 100_000 + b"0\r\n\r\n")[1] == "whole"
    assert read(CHUNKED + b"1\r\na\r\n" * 4096 + b"0\r\n\r\n")[1] == "whole"


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("chunk", [b"1\r\na\r\n", b'1;a="b"\r\na\r\n', b"000000000000004\r\nabcd\r\n"])
def test_a_body_that_is_mostly_framing_is_refused(chunk: bytes, size: int) -> None:
    stream = CHUNKED + chunk * 5000
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert read(*pieces)[1] == "400 a chunked body whose chunks are mostly framing; larger chunks are needed"


HOSTILE = {
    "tiny chunks": (CHUNKED, b"5\r\nabcde\r\n"),
    "empty lines": (b"", b"\r\n"),
    "a long field": (b"GET /a HTTP/1.1\r\nHost: x\r\nA: ", b"a"),
    "a long request line": (b"GET /", b"a"),
    "many short fields": (b"GET /a HTTP/1.1\r\n", b"A:\r\n"),
    "a body": (POST[:-3].replace(b": 3", b": 999999"), b"a"),
}


@pytest.mark.parametrize("size", [1, 13, 1 << 18])
@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_bytes_take_twice_the_time(name: str, size: int) -> None:
    """A reader that looks at everything again for each piece takes four times as long for twice the bytes."""
    begin, repeated = HOSTILE[name]
    limits = HeadLimits(1 << 20, 1 << 20, 1 << 20)

    def seconds(count: int) -> float:
        stream = begin + repeated * (count // len(repeated))
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        best = 9.0
        for _ in range(3):
            reader = RequestReader(limits)
            before = time.process_time()
            for piece in pieces:
                reader.feed(piece)
            best = min(best, time.process_time() - before)
        return best

    count = 30_000 if size == 1 else 400_000
    assert seconds(2 * count) < 3 * seconds(count) + 0.005


def test_empty_lines_before_a_request_are_nothing() -> None:
    """RFC 9112, section 2.2."""
    assert read(b"\r\n\r\n" + GET) == ([GET, b""], "whole")
    assert read(POST + b"\r\n", b"\r", b"\n" + GET) == ([POST, GET, b""], "whole")
    assert read(b"\r\n") == ([b""], "whole"), "nothing has begun"
    assert read(b"\r", b"\n") == read(b"\r", b"\n\r", b"\n") == ([b""], "open"), "what has begun has a deadline"
    assert read(b"\r\n\r") == ([b""], "open"), "half a line end may be something else yet"


def test_the_length_of_a_body_is_known_where_it_is_not_chunked() -> None:
    for request, length in ((GET, 0), (POST[:-1], 3), (CHUNKED, None)):
        reader = RequestReader(LIMITS)
        reader.feed(request)
        assert (reader.length, reader.is_whole) == (length, request is GET)


@pytest.mark.parametrize("length", [b"03", b"0003", b"\t3 ", b"0" * 300 + b"3"])
def test_a_length_is_a_number_however_many_zeros_are_in_front(length: bytes) -> None:
    """RFC 9110, section 8.6: 1*DIGIT."""
    assert read(POST.replace(b" 3", length) + GET) == ([POST, GET, b""], "whole")


@pytest.mark.parametrize("target", ["http://a:81/b", "http://a:81?b", "HTTP://a:81"])
def test_the_host_of_an_old_client_may_be_in_its_target(target: str) -> None:
    """RFC 9112, section 3.2.2."""
    reader = RequestReader(LIMITS)
    reader.feed(f"GET {target} HTTP/1.0\r\nA: b\r\n\r\n".encode())
    assert reader.head is not None
    assert reader.head.headers == ((b"Host", b"a:81"), (b"A", b"b"))


@pytest.mark.parametrize("target", ["/a?http://evil.test/", "//evil.test/", "/http://evil.test"])
def test_a_url_within_a_target_is_no_host(target: str) -> None:
    reader = RequestReader(LIMITS)
    reader.feed(f"GET {target} HTTP/1.0\r\nA: b\r\n\r\n".encode())
    assert reader.head is not None
    assert reader.head.headers == ((b"A", b"b"),)


@pytest.mark.parametrize("length", [b"0", b"000"])
def test_a_length_of_nothing_is_one_spelling(length: bytes) -> None:
    empty = POST[:-3].replace(b" 3", b" 0")
    assert read(empty.replace(b" 0", length) + GET) == ([empty, GET, b""], "whole")


@pytest.mark.parametrize("line", [b"0" * 1000 + b"3", b"3 ;a", b"3\t; a=b ;\tc", b'3;a = "b;\\" c"', b"3;a= b;c =d"])
def test_white_space_around_extensions_and_zeros_are_nothing(line: bytes) -> None:
    """RFC 9112, section 7.1.1: BWS MUST be parsed."""
    whole = CHUNKED + b"abc"
    stream = CHUNKED + line + b"\r\nabc\r\n" + line[:-1].replace(b"3", b"0") + line[-1:].replace(b"3", b"0")
    stream += b"\r\n\r\n" + GET
    assert read(stream) == ([whole, GET, b""], "whole")
    in_bytes = [stream[index : index + 1] for index in range(len(stream))]
    assert read(*in_bytes)[0] == [whole, GET, b""]


def test_extensions_and_trailers_of_a_chunked_body_end_here() -> None:
    whole = CHUNKED + b"abc"
    assert read(CHUNKED + b'3;a;b=c;d="e;\\" f"\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n' + GET) == (
        [whole, GET, b""],
        "whole",
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET  /a HTTP/1.1\r\n\r\n", "400 the request line is malformed"),
        (b"GET /a  HTTP/1.1\r\n\r\n", "400 the request line is malformed"),
        (b"GET\t/a HTTP/1.1\r\n\r\n", "400 the request line is malformed"),
        (b"GET /a HTTP/1.1 \r\n\r\n", "400 the request line is malformed"),
        (b"GET /a http/1.1\r\n\r\n", "400 the request line is malformed"),
        (b"GET /a\r\n", "400 the request line is malformed"),
        (b"G@T /a HTTP/1.1\r\n\r\n", "400 the request line is malformed"),
        (b"OPTIONS /a RTSP/1.0\r\n\r\n", "400 the request line is malformed"),
        (b"GET /a HTTP/1.10\r\n\r\n", "400 the request line is malformed"),
        (b"GET /a HTTP/2.0\r\n\r\n", "505 another version of HTTP than 1.0 and 1.1"),
        (b"GET /a HTTP/1.2\r\n\r\n", "505 another version of HTTP than 1.0 and 1.1"),
        (b"GET /a HTTP/1.1\r\n Host: x\r\n\r\n", "400 line 2 of the head is malformed"),
        (GET[:-2] + b"A : b\r\n\r\n", "400 line 3 of the head is malformed"),
        (GET[:-2] + b"A: b\r\n c\r\n\r\n", "400 line 4 of the head is malformed"),
        (GET[:-2] + b": b\r\n\r\n", "400 line 3 of the head is malformed"),
        (GET[:-2] + b"A\r\n\r\n", "400 line 3 of the head is malformed"),
        (GET[:-2] + b"A: \0\r\n\r\n", "400 line 3 of the head is malformed"),
        (GET[:-2] + b"A: a\rb\r\n\r\n", "400 line 3 of the head is malformed"),
        (GET[:-2] + b"A: a\nb\r\n\r\n", "400 line 3 of the head is malformed"),
        (GET.replace(b"\r\n", b"\n"), "400 a control character, or a line end that is not CRLF"),
        (b"\x16\x03\x01\x02\x00", "400 a control character, or a line end that is not CRLF"),
        (b"\n" + GET, "400 the request line is malformed"),
        (POST.replace(b": 3", b": +3"), "400 Content-Length is not a number"),
        (POST.replace(b": 3", b": 3, 3"), "400 Content-Length is not a number"),
        (POST.replace(b": 3", b": 9999999999999999999"), "400 Content-Length is not a number"),
        (POST.replace(b": 3", b": 3\r\ncontent-length: 3"), "400 more than one field says how long the body is"),
        (CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n", "400 more than one field says how long the body is"),
        (CHUNKED.replace(b" chunked", b""), "400 the transfer coding is not chunked"),
        (CHUNKED.replace(b"chunked", b", chunked"), "400 the transfer coding is not chunked"),
        (CHUNKED.replace(b"chunked", b"xchunked"), "400 the transfer coding is not chunked"),
        (CHUNKED.replace(b"chunked", b"chunked, chunked"), "400 the transfer coding is not chunked"),
        (CHUNKED.replace(b"chunked", b"gzip, chunked"), "501 the transfer coding is not chunked"),
        (CHUNKED.replace(b"1.1", b"1.0"), "400 HTTP/1.0 knows no Transfer-Encoding"),
        (CHUNKED + b"3 \r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"3;a=b \r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b" 3\r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"3 ; ;a\r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"0x3\r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"\r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"3;\r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"3;a=\r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"3;a\rb\r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"1000000000000000\r\n", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"3\nabc", "400 the size of a chunk, or an extension of it, is malformed"),
        (CHUNKED + b"3;a\0", "400 a control character in a chunked body's own lines"),
        (CHUNKED + b"3;" + b"a" * 2000, "400 a line of a chunked body is too long"),
        (CHUNKED + b"3;" + b"a" * 2000 + b"\r\nabc", "400 a line of a chunked body is too long"),
        (CHUNKED + b"3\r\nabcd", "400 a chunk is longer than its size"),
        (CHUNKED + b"3\r\nabc\n", "400 a chunk is longer than its size"),
        (CHUNKED + b"0\r\nHost: y\r\n", "400 Host is no trailer"),
        (CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n", "400 Transfer-Encoding is no trailer"),
        (CHUNKED + b"0\r\nA: b\r\n c\r\n", "400 a trailer is malformed"),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 20000, "431 the trailers are too large"),
        (b"GET /" + b"a" * 16384, "414 The request line is longer than 16384 bytes."),
        (GET[:-2] + b"A: " + b"a" * 65536, "431 The header fields are larger than 65536 bytes."),
        (GET[:-2] + b"A: b\r\n" * 128, "431 There are more than 128 header fields."),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes, why: str) -> None:
    assert read(data)[1] == why
    assert read(GET + data)[1] == why, "behind another request too"


PIECES = st.sampled_from(
    [
        GET,
        POST,
        CHUNKED,
        b"3\r\nabc\r\n",
        b'10;a="b"\r\n0123456789abcdef\r\n',
        b"0\r\n\r\n",
        b"0\r\nX-Sum: 1\r\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"0",
        b"GET / HTTP/1.1\r\n",
        b"Content-Length: 4\r\n",
        b"A: b\r\n",
        b"\0",
    ]
)
STREAMS = st.lists(PIECES, max_size=5).map(b"".join) | st.lists(REQUESTS, max_size=3).map(b"".join) | st.binary()


@settings(max_examples=200)
@given(STREAMS, st.lists(st.integers(0, 400), max_size=8))
@example(b"GET / HTTP/1.1\r\nA: b\r\n\r\n" + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", list(range(100)))
@example(b"\r\n", [1])
def test_any_cut_of_a_stream_is_read_the_same(stream: bytes, cuts: list[int]) -> None:
    points = sorted({min(cut, len(stream)) for cut in (0, *cuts, len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(points)]
    whole, verdict = read(stream)
    in_parts, verdict_in_parts = read(*pieces)
    if (verdict, verdict_in_parts) != ("whole", "open"):
        assert verdict_in_parts[:3] == verdict[:3]
    else:  # an empty line before a request is its beginning where it does not come whole
        assert in_parts[-1] == b"" and stream.endswith(b"\r\n")
    assert in_parts[:-1] == whole[:-1]
    if verdict in ("open", "whole"):
        assert in_parts[-1] == whole[-1]


# -- simple requests

BROWSERS = b"GET /a?b=%20 HTTP/1.1\r\nHost: x:1\r\nAccept: */*\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\n\r\n"
CALLBACK = b'POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"a": [1]'


def head_of(data: bytes, limits: HeadLimits = LIMITS) -> Head:
    reader = RequestReader(limits)
    reader.feed(data)
    assert reader.head is not None
    return reader.head


@pytest.mark.parametrize("data", [BROWSERS, CALLBACK, CALLBACK[:-4], BROWSERS.replace(b"keep-alive", b"Keep-Alive")])
def test_a_browsers_request_is_simple(data: bytes) -> None:
    assert head_of(data).is_simple


@pytest.mark.parametrize(
    "data",
    [
        BROWSERS.replace(b"HTTP/1.1", b"HTTP/1.0"),
        BROWSERS.replace(b"GET", b"BREW"),
        BROWSERS.replace(b"/a", b"//a"),
        BROWSERS.replace(b"/a", b"http://x:1/a"),
        BROWSERS.replace(b"/a", b"/a#b"),
        BROWSERS.replace(b"/a", b"/a\\b"),
        BROWSERS.replace(b"/a", b"/\xc3\xa9"),
        BROWSERS.replace(b"Accept", b"Upgrade"),
        BROWSERS.replace(b"Accept", b"TE"),
        BROWSERS.replace(b"Accept", b"expect"),
        BROWSERS.replace(b"Accept: */*", b"transfer-encoding: chunked"),
        BROWSERS.replace(b"Accept", b"sec-websocket-key"),
        BROWSERS.replace(b"Accept", b"Host"),
        BROWSERS.replace(b"Host: x:1\r\n", b""),
        BROWSERS.replace(b"Host: x:1", b"Host: x y"),
        BROWSERS.replace(b"keep-alive", b"close"),
        BROWSERS.replace(b"Accept: */*", b"Connection: keep-alive"),
        CALLBACK.replace(b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * 64 + b"\r\n"),
        BROWSERS.replace(b"a=b", b"a=" + b"b" * 8192),
    ],
)
def test_what_a_proxy_must_act_on_is_not_simple(data: bytes) -> None:
    assert not head_of(data).is_simple


def test_a_head_that_narrow_limits_allow_is_not_simple_and_one_that_they_do_not_allow_is_refused() -> None:
    assert not head_of(BROWSERS, HeadLimits(1000, 1000, 64)).is_simple
    with pytest.raises(ProtocolError, match="more than 3 header fields"):
        head_of(BROWSERS, HeadLimits(1000, 1000, 3))


def test_the_reading_of_a_block_of_fields_is_shared() -> None:
    one, other = head_of(BROWSERS), head_of(BROWSERS.replace(b"GET /a", b"HEAD /b"))
    assert (one.method, other.method, one.target, other.target) == ("GET", "HEAD", "/a?b=%20", "/b?b=%20")
    assert one.block is other.block


def test_what_only_a_proxy_may_write_is_left_out_and_kept_apart() -> None:
    said = BROWSERS.replace(b"Accept:", b"x-forwarded-for: 192.0.2.1 \r\nX-Request-ID:a\r\nforwarded: b\r\nAccept:")
    head = head_of(said)
    assert head.block.end_to_end == head_of(BROWSERS).block.end_to_end
    assert head.block.forwarding == ((b"x-forwarded-for", b"192.0.2.1"), (b"X-Request-ID", b"a"), (b"forwarded", b"b"))
    assert head_of(BROWSERS).block.forwarding == ()


PEER = Peer("192.0.2.7")
TRUSTED: tuple[Trusted, ...] = ((), (ip_network("192.0.2.0/24"),))


@settings(max_examples=400)
@given(REQUESTS)
@example(BROWSERS)
@example(CALLBACK)
@example(BROWSERS.replace(b"*/*", b"*/* \t"))
@example(BROWSERS.replace(b"Accept: ", b"Accept:"))
@example(BROWSERS.replace(b"Accept", b"X_Forwarded_For"))
def test_a_simple_request_is_forwarded_as_any_other_would_be(data: bytes) -> None:
    reader = RequestReader(LIMITS)
    try:
        reader.feed(data)
    except ProtocolError:
        return
    head = reader.head
    if head is None or not head.is_simple:
        return
    raw = re.sub(rb"(Content-Length: )0+(?=[0-9])", rb"\1", data[: data.index(b"\r\n\r\n") + 4])
    assert lines_of(written(head)) == lines_of(raw)
    other = Head(head.method, head.target, head.version, head.headers, head.has_body)
    decision = decide(other, Table())
    assert isinstance(decision, Forward)
    assert (decision.upstream, decision.route) == Table().match(head.target, head.host, [], upgrade=False)
    assert decision.target == head.target
    for trusted in TRUSTED:
        forwarded = ForwardedReader(trusted)
        original = forwarded.read(other, PEER)
        for _ in range(2):  # read, and remembered
            assert forwarded.read(head, PEER) == original
        expected = request_head(other, decision.target, original.fields_of("id", "dash"))
        line = f"{head.method} {head.target} HTTP/1.1\r\n".encode()
        assert line + head.block.end_to_end + original.lines_of("id", "dash") + b"\r\n" == expected


def heads(stream: bytes) -> list[tuple[Head, bytes]]:
    """Return the head and the bytes of each request that is let through."""
    reader, found = RequestReader(LIMITS), []
    try:
        while stream:
            before = stream
            _, stream = reader.feed(stream)
            if not reader.is_whole:
                break
            assert reader.head is not None
            found.append((reader.head, before[: len(before) - len(stream)]))
            reader.next()
    except ProtocolError:
        pass
    return found


@settings(max_examples=300)
@given(st.integers(0, 1 << 30))
def test_whatever_is_let_through_is_one_request_for_the_strictest_origin(seed: int) -> None:
    """From the bytes of a hostile client to those for the upstream, without a network: what is written is unambiguous,
    is what the client wrote, and what the gateway itself says is always there and comes last."""
    for head, raw in heads(write_play(Random(seed), 0).data):
        decision = decide(head, Table())
        if isinstance(decision, Refuse):
            continue
        ours = ForwardedReader().read(head, Peer("192.0.2.9")).fields_of("our-id", decision.upstream)
        if head.get(b"host") is None:
            ours = ((b"Host", b"upstream"), *ours)
        upgrade = isinstance(decision, Upgrade)
        sent = request_head(head, decision.target, ours, upgrade=upgrade)
        got, asked = read_at_origin(sent), read_public(raw)
        assert got is not None
        assert asked is not None
        assert got.faults == asked.faults == []
        assert (got.method, got.target) == (asked.method, origin_form(asked))
        assert [field for field in arrived(got) if field != (b"Host", b"upstream")] == end_to_end(asked)
        assert tuple(got.fields[-len(ours) :]) == ours


@settings(max_examples=300)
@given(st.integers(0, 1 << 30))
def test_what_all_readers_read_in_one_way_is_accepted_and_nothing_else(seed: int) -> None:
    """The judge knows nothing of this code, and takes whatever the RFCs allow."""
    stream = write_play(Random(seed), 0).data
    reader = RequestReader(LIMITS)
    for asked in read_all_public(stream):
        try:
            _, stream = reader.feed(stream)
            passes = reader.is_whole
        except ProtocolError:
            passes = False
        decision = decide(reader.head, Table()) if passes and reader.head is not None else None
        passes = passes and not isinstance(decision, Refuse)
        assert passes == (asked.is_whole and not asked.faults), (asked.raw, asked.faults)
        reader.next()
