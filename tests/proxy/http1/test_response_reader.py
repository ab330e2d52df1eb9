"""The reader of responses: where one ends, what is none, and what may be passed on as bytes."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.http1.headers import response_head
from proxy.http1.response_reader import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_SIMPLE_HEAD,
    BadResponse,
    Framing,
    Response,
    ResponseReader,
)
from tests.system.test_hostile_answers import BROKEN_BODY, NO_ANSWER
from tests.wire.generated import lines_of, messages
from tests.wire.odd import ANSWERS as ODD
from tests.wire.odd import SERVED, Odd

OK = b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nwhole"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STATUSES = st.sampled_from([200, 404, 500, 204, 304, 101, 100, 999])
RESPONSES = messages(STATUSES.map(lambda number: b"HTTP/1.1 %d OK" % number), [])


def read(data: bytes, method: str = "GET", size: int = 1 << 20) -> tuple[ResponseReader, bytes]:
    """Feed a response in pieces of a size; return its reader and its body."""
    reader, body = ResponseReader(method), list[bytes]()
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size], body)
    return reader, b"".join(body)


# -- responses as they come


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("data", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_what_is_not_strictly_http_is_no_response(data: bytes, size: int) -> None:
    with pytest.raises(BadResponse):
        read(data, size=size)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_what_is_odd_is_read_in_the_one_way_that_it_can_be_read(odd: Odd, size: int) -> None:
    if odd.ours != SERVED:
        with pytest.raises(BadResponse):
            read(odd.raw, odd.method, size)
        return
    reader, body = read(odd.raw, odd.method, size)
    reader.end()
    assert reader.is_complete
    assert reader.is_reusable is not odd.closes or b"Transfer-Encoding: chunked," in odd.raw
    assert body == odd.body
    assert reader.body_size == len(body)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("data", BROKEN_BODY.values(), ids=BROKEN_BODY.keys())
def test_a_chunked_body_that_is_broken_never_ends_and_keeps_what_came_before(data: bytes, size: int) -> None:
    reader, body = ResponseReader("GET"), list[bytes]()
    data = CHUNKED + b"5\r\nbegun\r\n" + data
    with pytest.raises(BadResponse):
        for start in range(0, len(data), size):
            reader.feed(data[start : start + size], body)
    assert not reader.is_complete
    assert b"".join(body).startswith(b"begun")


@pytest.mark.parametrize(("data", "framing"), [(OK, Framing.LENGTH), (CHUNKED, Framing.CHUNKED)])
def test_the_end_of_a_connection_is_no_end_of_a_body_that_has_another(data: bytes, framing: Framing) -> None:
    reader, _ = read(data[:-1] if framing is Framing.LENGTH else data + b"5\r\nwhole")
    reader.end()
    assert reader.head is not None
    assert reader.head.framing is framing
    assert not reader.is_complete


@pytest.mark.parametrize("more", [b"!", OK])
@pytest.mark.parametrize("data", [OK, CHUNKED + b"0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_comes_after_a_response_is_no_part_of_it_and_it_is_the_last(data: bytes, more: bytes, size: int) -> None:
    reader, body = read(data + more, size=size)
    assert reader.is_complete
    assert not reader.is_reusable
    assert body in (b"whole", b"")


def test_a_switch_of_protocols_is_complete_with_its_head_and_keeps_what_came_with_it() -> None:
    reader = ResponseReader("GET", may_switch=True)
    reader.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi", [])
    assert (reader.status, reader.leftover) == (101, b"\x81\x02hi")
    assert reader.is_complete
    assert not reader.is_reusable


def test_interim_responses_are_told_in_their_order_and_count_for_the_limits() -> None:
    told: list[int] = []
    reader = ResponseReader("GET", lambda response: told.append(response.status))
    hint = b"HTTP/1.1 103 Early Hints\r\n" + b"A:\r\n" * 250 + b"\r\n"
    reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n" + hint, [])
    reader.feed(hint, [])
    with pytest.raises(BadResponse, match=f"more than {MAX_FIELDS} header fields"):
        reader.feed(hint, [])
    assert told == [100, 103, 103]


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_a_head_of_the_largest_size_is_read_and_one_byte_more_is_not(size: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: "
    head += b"b" * (MAX_HEAD - len(head) - 4)
    assert read(head + b"\r\n\r\n", size=size)[0].is_complete
    with pytest.raises(BadResponse, match=f"more than {MAX_HEAD} bytes of header"):
        read(head + b"b\r\n\r\n", size=size)


def test_the_cost_of_a_head_grows_with_its_bytes_and_not_with_its_pieces() -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"A: " + b"b" * 60_000
    began = time.process_time()
    read(head, size=1)
    assert time.process_time() - began < 2


def test_a_length_is_told_without_zeros_in_front() -> None:
    reader, body = read(OK.replace(b": 5", b": 005"))
    assert reader.head is not None
    assert reader.head.all(b"content-length") == [b"5"]
    assert body == b"whole"


@settings(max_examples=300)
@given(
    RESPONSES | st.binary(max_size=60).map(lambda data: b"HTTP/1.1 200 OK\r\n" + data), st.sampled_from(["GET", "HEAD"])
)
def test_whatever_counts_as_a_response_is_written_on_without_a_second_meaning(data: bytes, method: str) -> None:
    reader = ResponseReader(method)
    try:
        reader.feed(data, [])
    except BadResponse:
        pass
    response = reader.head
    if response is None:
        return
    head = response_head(response.status, response.reason, response.headers)
    assert re.fullmatch(rb"HTTP/1\.1 [1-9][0-9]{2} [\t -~\x80-\xff]*\r\n([!-9;-~]+: [\t -~\x80-\xff]*\r\n)*\r\n", head)
    lengths = response.all(b"content-length")
    assert len(lengths) + len(response.all(b"transfer-encoding")) <= 1
    assert all(length.isdigit() and str(int(length)).encode() == length for length in lengths)


@settings(max_examples=200)
@given(RESPONSES, st.sampled_from(["GET", "HEAD"]), st.integers(1, 9))
def test_a_response_is_read_alike_in_whatever_pieces_it_comes(data: bytes, method: str, size: int) -> None:
    def outcome(size: int) -> object:
        try:
            reader, body = read(data, method, size)
        except BadResponse:
            return None
        headers = reader.head and reader.head.headers
        return reader.status, headers, body, reader.is_complete, reader.is_reusable

    assert outcome(size) == outcome(1 << 20)


# -- simple ones


def simple(data: bytes, method: str = "GET") -> tuple[bytes | None, ResponseReader]:
    reader = ResponseReader(method)
    return reader.read_simple(data), reader


def test_a_simple_response_passes_as_bytes_but_for_the_field_that_changes_nothing() -> None:
    for data in (OK, OK.replace(b"Connection", b"connection")):
        message, reader = simple(data)
        assert message == OK.replace(b"Connection: keep-alive\r\n", b"")
        assert (reader.status, reader.body_size) == (200, 5)
        assert reader.is_complete
        assert reader.is_reusable


def test_the_body_of_a_simple_response_may_come_in_pieces() -> None:
    message, reader = simple(OK[:-3])
    assert message is not None
    assert message.endswith(b"\r\n\r\nwh")
    assert not reader.is_complete
    body = list[bytes]()
    reader.feed(b"ol", body)
    assert (body, reader.body_size, reader.is_complete) == ([b"ol"], 4, False)
    reader.feed(b"e!", body)
    assert (body, reader.body_size, reader.is_complete) == ([b"ol", b"e"], 5, True)
    assert not reader.is_reusable, "something came after it"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_response_that_can_have_no_body_ends_with_its_head(status: bytes) -> None:
    for head in (OK.replace(b": 5", b": 0"), OK.replace(b"Content-Length: 5\r\n", b"")):
        head = head.replace(b"200 OK", status)[:-5]
        message, reader = simple(head)
        assert message is not None
        assert reader.is_complete
        assert simple(head + b"whole")[0] is None


def test_a_304_may_say_how_long_the_page_is_and_a_204_may_not() -> None:
    assert simple(OK.replace(b"200 OK", b"304 Not Modified")[:-5])[0] is not None
    assert simple(OK.replace(b"200 OK", b"204 No Content")[:-5])[0] is None


def test_a_response_to_head_ends_with_its_head() -> None:
    message, reader = simple(OK[:-5], "HEAD")
    assert message is not None
    assert reader.is_complete
    assert simple(OK, "HEAD")[0] is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        OK[:20],
        OK + b"!",
        OK.replace(b"200", b"101"),
        OK.replace(b"200", b"103"),
        OK.replace(b"200", b"099"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        OK.replace(b"Content-Length: 5\r\n", b""),
        OK.replace(b"Content-Length", b"Transfer-Encoding"),
        OK.replace(b": 5", b": 05"),
        OK.replace(b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 5"),
        OK.replace(b"Content-Length: 5", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
        OK.replace(b"keep-alive", b"close"),
        OK.replace(b"keep-alive", b"keep-alive, x"),
        OK.replace(b"Server:", b"Connection: keep-alive\r\nServer:"),
        OK.replace(b"Server", b"Upgrade"),
        OK.replace(b"Server", b"Keep-Alive"),
        OK.replace(b"Server:", b"Server :"),
        OK.replace(b"Server: gunicorn\r\n", b"A:\r\n" * 65),
        OK.replace(b"\r\n", b"\n"),
        OK.replace(b"gunicorn", b"g" * MAX_SIMPLE_HEAD),
    ],
)
def test_what_is_not_quite_simple_is_left_to_the_ordinary_way(data: bytes) -> None:
    message, reader = simple(data)
    assert message is None
    assert not (reader.has_begun or reader.status)


@settings(max_examples=400)
@given(RESPONSES, st.sampled_from(["GET", "HEAD", "POST"]))
@example(OK, "GET")
@example(OK[:-5], "HEAD")
def test_whatever_is_simple_is_read_and_written_the_same_on_the_ordinary_way(data: bytes, method: str) -> None:
    for _ in range(2):  # read, and remembered
        message, reader = simple(data, method)
    if message is None:
        return
    length = int(re.findall(rb"(?im)^content-length:[ \t]*([0-9]+)", data)[0]) if not reader.is_complete else 0
    rest = b"." * (length - reader.body_size)
    pieces = list[bytes]()
    reader.feed(rest, pieces)
    other, body = read(data + rest, method)
    assert reader.is_complete
    assert reader.is_reusable
    assert (other.is_complete, other.is_reusable, other.status) == (True, True, reader.status)
    response = other.head
    assert isinstance(response, Response)
    assert response.framing in (Framing.LENGTH, Framing.NONE)
    head, _, sent = (message + b"".join(pieces)).partition(b"\r\n\r\n")
    assert sent == body
    assert lines_of(head) == lines_of(response_head(response.status, response.reason, response.headers)[:-4])
