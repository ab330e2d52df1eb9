"""Which header fields travel, which end here, and what the gateway says about the client."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.headers import Fields, Head, is_valid_host, request_head, response_head, tokens, upgrade_response_head
from proxy.net.peer import Trusted

NO_PROXIES: Trusted = ()
FRONT: Trusted = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), "unix")

HOP_BY_HOP = [
    b"Connection",
    b"HTTP2-Settings",
    b"Keep-Alive",
    b"Proxy-Authenticate",
    b"Proxy-Authorization",
    b"Proxy-Connection",
    b"TE",
    b"Trailer",
    b"Transfer-Encoding",
    b"Upgrade",
]
A_PROXYS_WORD = [
    b"Forwarded",
    b"X-Forwarded-For",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Host",
    b"X-Forwarded-Port",
    b"X-Forwarded-Prefix",
    b"X-Forwarded-Anything",
    b"X-Real-IP",
    b"X-Request-ID",
    b"X-Forwarded-Ssl",
    b"Front-End-Https",
    b"X-Original-Host",
    b"X-Scheme",
    b"X-Url-Scheme",
]


def head(*fields: tuple[bytes, bytes], host: bytes | None = b"dash.example", method: str = "GET") -> Head:
    first = ((b"Host", host),) if host is not None else ()
    return Head(method, "/", (1, 1), (*first, *fields))


def sent(*fields: tuple[bytes, bytes], upgrade: bool = False) -> list[tuple[bytes, bytes]]:
    """The fields that reach the upstream, when the gateway adds none."""
    return parsed(request_head(Head("GET", "/", (1, 1), fields), "/", (), upgrade=upgrade))


def parsed(message: bytes) -> list[tuple[bytes, bytes]]:
    whole, end, rest = message.partition(b"\r\n\r\n")
    assert end and not rest
    pairs = [line.partition(b": ")[::2] for line in whole.split(b"\r\n")[1:]]
    return [(name, value) for name, value in pairs]


# -- reading fields


def test_a_field_is_found_whatever_its_spelling() -> None:
    it = head((b"ACCEPT", b"a"), (b"accept", b"b"))
    assert it.all(b"accept") == [b"a", b"b"]
    assert it.get(b"accept") == b"a"
    assert it.get(b"cookie") is None


@pytest.mark.parametrize(
    ("values", "members"),
    [
        ([], []),
        ([b""], []),
        ([b"Upgrade"], [b"upgrade"]),
        ([b" keep-alive ,\tUpgrade "], [b"keep-alive", b"upgrade"]),
        ([b"a,,b", b",", b"C"], [b"a", b"b", b"c"]),
    ],
)
def test_a_list_of_tokens_may_be_split_over_fields_and_hold_empty_members(
    values: list[bytes], members: list[bytes]
) -> None:
    assert tokens(values) == members


@pytest.mark.parametrize(
    "value",
    [
        b"localhost",
        b"dash.example",
        b"dash.example:8050",
        b"dash.example:",
        b"127.0.0.1:1",
        b"[::1]",
        b"[::1]:65535",
        b"[fe80::1%25eth0]:80",
        b"a_b-c.example",
    ],
)
def test_a_host_is_a_name_or_an_address_with_an_optional_port(value: bytes) -> None:
    assert is_valid_host(value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b":80",
        b"a b",
        b"a\tb",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a@b",
        b"user:secret@a",
        b"a:80:80",
        b"a:http",
        b"a:123456",
        b"::1",
        b"[::1",
        b"[]",
        b"[::1]x",
        b"[g::1]",
        b"d\xc3\xa4sh.example",
        b"a\x00",
        b"a\n",
        b"a\r\nX: y",
        b"a\\b",
        b'a"b',
        b"<a>",
        b"a" * 256,
    ],
)
def test_what_is_not_a_host_is_not_taken_for_one(value: bytes) -> None:
    assert not is_valid_host(value)


@given(st.binary(max_size=30))
def test_a_valid_host_cannot_hold_what_ends_a_field_a_path_or_a_name(value: bytes) -> None:
    if is_valid_host(value):
        assert not set(value) & set(b' \t\r\n\0/?#@\\"<>')


# -- what travels


@pytest.mark.parametrize("name", HOP_BY_HOP)
@pytest.mark.parametrize("spell", [bytes.lower, bytes.upper, bytes])
def test_a_hop_by_hop_field_ends_here(name: bytes, spell: type[bytes]) -> None:
    assert sent((spell(name), b"x"), (b"Accept", b"*/*")) == [(b"Accept", b"*/*")]


def test_a_field_named_in_connection_does_not_travel() -> None:
    assert sent((b"X-Mine", b"1"), (b"Connection", b"close, x-MINE"), (b"X-Other", b"2")) == [(b"X-Other", b"2")]


def test_fields_may_be_named_in_more_than_one_connection_field() -> None:
    assert sent((b"Connection", b"X-A"), (b"X-A", b"1"), (b"connection", b",X-B,"), (b"X-B", b"2")) == []


@pytest.mark.parametrize("name", [b"Host", b"Content-Length"])
def test_connection_cannot_take_away_what_the_message_means(name: bytes) -> None:
    assert sent((name, b"5"), (b"Connection", name)) == [(name, b"5")]


@pytest.mark.parametrize("name", A_PROXYS_WORD)
def test_a_field_that_only_a_proxy_may_write_does_not_pass(name: bytes) -> None:
    assert sent((name, b"evil"), (name.lower(), b"evil"), (name.upper(), b"evil")) == []


@pytest.mark.parametrize(
    "name",
    [
        b"X_Forwarded_For",
        b"x_forwarded-for",
        b"X-Forwarded_Proto",
        b"X_REAL_IP",
        b"X_Request_Id",
        b"Transfer_Encoding",
        b"Content_Length",
        b"Proxy_Connection",
        b"SCRIPT_NAME",
        b"Path_Info",
        b"X_Forwarded_Ssl",
        b"Front_End_Https",
        b"x_url.scheme",
        b"X.Forwarded.Proto",
        b"x-forwarded.for",
        b"Transfer.Encoding",
    ],
)
def test_an_underscore_or_a_dot_is_no_way_around_a_rule(name: bytes) -> None:
    assert sent((name, b"evil")) == []


def test_an_underscore_or_a_dot_elsewhere_means_nothing() -> None:
    fields = ((b"my_field", b"1"), (b"X_Custom", b"2"), (b"my.field", b"3"))
    assert tuple(sent(*fields)) == fields


def test_spelling_order_and_bytes_are_kept() -> None:
    fields = (
        (b"hOsT", b"Dash.Example:8000"),
        (b"COOKIE", b"a=1"),
        (b"Accept", b"*/*"),
        (b"cookie", b"b=2; c=\xff\xe9"),
        (b"X-Empty", b""),
        (b"Accept-Encoding", b"gzip, br;q=0.5"),
        (b"Expect", b"100-continue"),
    )
    assert tuple(sent(*fields)) == fields


def test_the_request_line_carries_the_target_byte_for_byte() -> None:
    target = "/a//b/../%2e%2F;x=1?q=%zz&r=a+b&&s"
    message = request_head(Head("PATCH", "ignored", (1, 0), ()), target, ())
    assert message == f"PATCH {target} HTTP/1.1\r\n\r\n".encode()


def test_a_chunked_body_gets_its_framing_field_and_ours_stay_before_it() -> None:
    message = request_head(head(host=b"x"), "/", ((b"X-Ours", b"1"),), body=b"Transfer-Encoding: chunked")
    assert message == b"GET / HTTP/1.1\r\nHost: x\r\nX-Ours: 1\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_connection_cannot_take_away_what_we_say() -> None:
    it = head((b"Connection", b"X-Forwarded-For, X-Request-ID"), (b"X-Forwarded-For", b"evil"))
    message = request_head(it, "/", ((b"X-Forwarded-For", b"10.1.2.3"), (b"X-Request-ID", b"our-id")))
    assert b"X-Forwarded-For: 10.1.2.3\r\n" in message
    assert b"X-Request-ID: our-id\r\n" in message
    assert b"evil" not in message


HANDSHAKE: Fields = (
    (b"Host", b"dash.example:8000"),
    (b"UPGRADE", b"WebSocket"),
    (b"Connection", b"UPGRADE"),
    (b"sec-websocket-KEY", b"ZGFzaC13cy1wcm94eS1leA=="),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Origin", b"http://dash.example:8000"),
    (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),
    (b"Sec-WebSocket-Protocol", b"chat, superchat"),
    (b"Cookie", b"session=1"),
)


def test_a_handshake_travels_as_it_came() -> None:
    assert tuple(sent(*HANDSHAKE, upgrade=True)) == HANDSHAKE


@pytest.mark.parametrize(
    "connection",
    [
        [b"keep-alive, Upgrade"],
        [b"keep-alive", b"upgrade"],
        [b"Upgrade, X-Mine"],
    ],
)
def test_of_a_handshakes_connection_only_the_upgrade_is_for_the_upstream(connection: list[bytes]) -> None:
    fields = sent(
        (b"Upgrade", b"websocket"),
        *((b"Connection", value) for value in connection),
        (b"Keep-Alive", b"timeout=5"),
        (b"X-Mine", b"1") if b"X-Mine" in connection[0] else (b"Accept", b"*/*"),
        upgrade=True,
    )
    assert [(n, v.lower()) for n, v in fields if n != b"Accept"] == [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"upgrade"),
    ]


@pytest.mark.parametrize("upgrade", [[b"websocket", b""], [b"", b"websocket"], [b", websocket ,"]])
def test_of_a_handshakes_upgrade_only_websocket_is_for_the_upstream(upgrade: list[bytes]) -> None:
    others = tuple(field for field in HANDSHAKE if field[0].lower() != b"upgrade")
    fields = sent(*others, *((b"Upgrade", value) for value in upgrade), upgrade=True)
    assert [value for name, value in fields if name.lower() == b"upgrade"] == [b"websocket"]


def test_a_request_that_is_no_handshake_cannot_carry_an_upgrade() -> None:
    assert sent((b"Upgrade", b"h2c"), (b"Connection", b"Upgrade, HTTP2-Settings"), (b"HTTP2-Settings", b"AA")) == []


NAMES = st.sampled_from(
    [
        *HOP_BY_HOP,
        *A_PROXYS_WORD,
        b"Host",
        b"Content-Length",
        b"Cookie",
        b"Accept",
        b"X-Mine",
        b"X_Forwarded_For",
        b"x_y",
    ]
)
VALUES = st.sampled_from(
    [b"", b"x", b"close, x-mine", b"cookie", b"Upgrade", b"keep-alive, upgrade, accept", b"a=\xff"]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=10), st.booleans())
def test_what_arrives_is_what_was_sent_with_some_fields_left_out(
    fields: list[tuple[bytes, bytes]], upgrade: bool
) -> None:
    added = ((b"X-Forwarded-For", b"10.1.2.3"), (b"X-Request-ID", b"our-id"))
    message = request_head(Head("GET", "/", (1, 1), tuple(fields)), "/", added, upgrade=upgrade)
    arrived = parsed(message)
    assert tuple(arrived[-2:]) == added
    travelled = arrived[:-2]
    guarded = {name.lower() for name in (*HOP_BY_HOP, *A_PROXYS_WORD)} - (
        {b"connection", b"upgrade"} if upgrade else set()
    )
    assert not {name.lower() for name, _ in travelled} & guarded
    rest = iter(fields)
    for name, value in travelled:
        if name.lower() == b"connection":
            assert value.lower() == b"upgrade"
            assert any(field[0] == name for field in rest)
        else:
            assert (name, value) in rest  # an iterator: this checks the order too


# -- answers


def test_an_answers_fields_are_kept_but_for_the_hops() -> None:
    message = response_head(
        200,
        b"Fine by me",
        [
            (b"Set-Cookie", b"a=1"),
            (b"Connection", b"keep-alive, X-Hop"),
            (b"Keep-Alive", b"timeout=5"),
            (b"x-hop", b"1"),
            (b"Transfer-Encoding", b"chunked"),
            (b"set-cookie", b"b=2"),
            (b"X-Forwarded-For", b"an answer may say what it likes"),
        ],
        added=((b"Connection", b"close"),),
    )
    assert message == (
        b"HTTP/1.1 200 Fine by me\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n"
        b"X-Forwarded-For: an answer may say what it likes\r\nConnection: close\r\n\r\n"
    )


def test_an_answer_may_have_no_reason_and_no_fields() -> None:
    assert response_head(204, b"", ()) == b"HTTP/1.1 204 \r\n\r\n"


def test_an_answers_fields_may_come_from_an_iterator() -> None:
    assert b"A: 1\r\n" in response_head(200, b"OK", iter([(b"A", b"1"), (b"Connection", b"b"), (b"B", b"2")]))


def test_an_answers_length_cannot_be_named_away() -> None:
    message = response_head(200, b"OK", [(b"Content-Length", b"5"), (b"Connection", b"content-length")])
    assert b"Content-Length: 5" in message


def test_a_101_is_passed_on_exactly() -> None:
    fields = [
        (b"uPgRaDe", b"websocket"),
        (b"CONNECTION", b"Upgrade, keep-alive"),
        (b"Sec-WebSocket-Accept", b"x="),
        (b"Keep-Alive", b"1"),
    ]
    message = upgrade_response_head(101, b"Web Socket Protocol Handshake", fields)
    assert message.startswith(b"HTTP/1.1 101 Web Socket Protocol Handshake\r\n")
    assert parsed(message) == fields


# -- who the client is
