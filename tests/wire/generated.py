"""HTTP messages for property tests: a good part is well made, and most of the rest nearly so."""

from __future__ import annotations

from hypothesis import strategies as st


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


def lines_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Split a head; the white space around a value means nothing (RFC 9110, section 5.5)."""
    pairs = [line.partition(b":") for line in head.split(b"\r\n")]
    return [(name, value.strip(b" \t")) for name, _, value in pairs]
