"""Messages that are odd, and legal or nearly so: what becomes of each here, behind nginx and behind HAProxy.

The three are asked as plain reverse proxies. What nginx 1.22 and HAProxy 2.6
(Debian 12) do is recorded; ``tests/system/test_odd_but_legal.py`` asks all
three again, and holds docs/limits.md against the list.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.wire.hostile import ABC, CHUNKED, chunked, get, post, shake

SERVED = "served"
LAST = "last"
"""Served, and the connection ends."""
REFUSED = "refused"
"""4xx or 5xx, or the end of the connection; nothing of it is at the origin."""
CHANGED = "changed"
"""Served, but the origin, or the client, got something else than was sent."""
PASSED_ON = "passed on"
"""The origin got it as it was, and reads in it what two servers could read in two ways."""
CUT = "cut"
"""The answer begins, and breaks off."""


@dataclass(frozen=True)
class Odd:
    """raw: the message. source: what allows it, or who sends it. The others: what becomes of it.

    method: of the request, where this is an answer. closes: the origin ends the connection behind this answer.
    body: what the client gets of an answer.
    """

    name: str
    raw: bytes
    source: str
    ours: str = SERVED
    nginx: str = SERVED
    haproxy: str = SERVED
    method: str = "GET"
    closes: bool = False
    body: bytes = b"abc"

    @property
    def is_stricter(self) -> bool:
        """Whether one of the others passes on what the gateway does not."""
        return self.ours in (REFUSED, CUT) and not {self.nginx, self.haproxy} <= {REFUSED, CUT}


_9110 = "RFC 9110, section "
_9112 = "RFC 9112, section "
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAA")


def _line(line: str, *lines: bytes) -> bytes:
    return get(*lines, line=line.encode("latin-1"))


REQUESTS = [
    # offers
    Odd("h2c with a length", post(*H2C, b"Content-Length: 3"), _9110 + "7.8; Java's HttpClient"),
    Odd("h2c with chunks", chunked(ABC, *H2C), _9110 + "7.8; Java's HttpClient"),
    Odd("h2c without a body", get(*H2C), _9110 + "7.8; curl --http2"),
    Odd(
        "h2c in HTTP/1.0",
        get(*H2C, line=b"GET /case HTTP/1.0"),
        _9110 + "7.8: MUST ignore",
        ours=LAST,
        nginx=LAST,
        haproxy=LAST,
    ),
    Odd("h2c without Connection", post(b"Upgrade: h2c", b"Content-Length: 3"), _9110 + "7.8"),
    Odd("an empty Upgrade, GET", get(b"Upgrade:", b"Connection:"), _9110 + "5.6.1; Caddy"),
    Odd("an empty Upgrade, POST", post(b"Upgrade:", b"Connection:", b"Content-Length: 3"), _9110 + "5.6.1; Caddy"),
    Odd("an Upgrade of commas", post(b"Upgrade: , ,", b"Connection: Upgrade", b"Content-Length: 3"), _9110 + "5.6.1"),
    Odd("Upgrade: TLS/1.0", get(b"Upgrade: TLS/1.0", b"Connection: Upgrade"), "RFC 2817, section 3"),
    Odd(
        "an Upgrade of several",
        post(b"Upgrade: foo/2, h2c", b"Connection: Upgrade", b"Content-Length: 3"),
        _9110 + "7.8",
    ),
    Odd(
        "websocket without a key, GET",
        get(b"Upgrade: websocket", b"Connection: Upgrade"),
        _9110 + "7.8; nginx with a fixed Upgrade",
        haproxy=REFUSED,
    ),
    Odd(
        "websocket without a key, POST",
        post(b"Upgrade: websocket", b"Connection: Upgrade", b"Content-Length: 3"),
        _9110 + "7.8; nginx with a fixed Upgrade",
    ),
    Odd(
        "a handshake by POST",
        shake(line=b"POST /case HTTP/1.1"),
        "RFC 6455, section 4.1",
        ours=REFUSED,
        nginx=PASSED_ON,
        haproxy=PASSED_ON,
    ),
    Odd(
        "a handshake in HTTP/1.0",
        shake(line=b"GET /case HTTP/1.0"),
        _9110 + "7.8: MUST ignore",
        ours=REFUSED,
        haproxy=PASSED_ON,
    ),
    Odd(
        "a handshake with a body",
        shake(b"Content-Length: 3") + b"abc",
        "RFC 6455, section 4.1",
        ours=REFUSED,
        nginx=PASSED_ON,
    ),
    Odd(
        "a handshake that offers h2c too",
        shake(b"Upgrade: websocket, h2c", without=b"Upgrade"),
        _9110 + "7.8",
        ours=REFUSED,
        nginx=PASSED_ON,
        haproxy=PASSED_ON,
    ),
    Odd("Connection: Upgrade without Upgrade", post(b"Connection: Upgrade", b"Content-Length: 3"), "nginx, as copied"),
    Odd("Expect: something else", post(b"Expect: 200-ok", b"Content-Length: 3"), _9110 + "10.1.1: MAY 417"),
    Odd("an empty Expect", post(b"Expect:", b"Content-Length: 3"), _9110 + "5.6.1"),
    Odd("Expect: 100-Continue in capitals", post(b"Expect: 100-Continue", b"Content-Length: 3"), _9110 + "10.1.1"),
    Odd(
        "Expect: 100-continue in HTTP/1.0",
        post(b"Expect: 100-continue", b"Content-Length: 3", line=b"POST /case HTTP/1.0"),
        _9110 + "10.1.1",
        ours=LAST,
        nginx=LAST,
        haproxy=LAST,
    ),
    Odd("Expect: 100-continue without a body", get(b"Expect: 100-continue"), _9110 + "10.1.1"),
    Odd("TE of many", get(b"TE: trailers, deflate;q=0.5", b"Connection: TE"), _9110 + "10.1.4"),
    Odd("an empty TE", get(b"TE:"), _9110 + "10.1.4"),
    Odd("Trailer that does not come", chunked(ABC, b"Trailer: X-Sum"), _9110 + "6.6.2"),
    # the connection
    Odd("an empty Connection", get(b"Connection:"), _9110 + "5.6.1"),
    Odd("a Connection of commas", get(b"Connection: , ,"), _9110 + "5.6.1"),
    Odd(
        "Connection: close, keep-alive",
        get(b"Connection: close, keep-alive"),
        _9112 + "9.3",
        LAST,
        nginx=LAST,
        haproxy=LAST,
    ),
    Odd("Connection in two fields", get(b"Connection: keep-alive", b"Connection: x"), _9110 + "7.6.1"),
    Odd("Keep-Alive with parameters", get(b"Keep-Alive: timeout=5, max=1000", b"Connection: Keep-Alive"), "RFC 2068"),
    Odd("Proxy-Connection", get(b"Proxy-Connection: keep-alive"), _9112 + "C.2.2"),
    Odd("HTTP/1.0", _line("GET /case HTTP/1.0"), _9112 + "2.3", LAST, nginx=LAST, haproxy=LAST),
    Odd("HTTP/1.0 that stays", _line("GET /case HTTP/1.0", b"Connection: keep-alive"), _9112 + "C.2.2"),
    Odd(
        "HTTP/1.0 without Host",
        get(host=None, line=b"GET /case HTTP/1.0"),
        _9112 + "3.2",
        LAST,
        nginx=PASSED_ON,
        haproxy=LAST,
    ),
    Odd(
        "HTTP/1.0 with the host in its target",
        get(host=None, line=b"GET http://example.com/case HTTP/1.0"),
        _9112 + "3.2.2",
        LAST,
        nginx=PASSED_ON,
        haproxy=CHANGED,
    ),
    Odd("HTTP/1.2", _line("GET /case HTTP/1.2"), _9110 + "2.5: SHOULD be read as 1.1", ours=REFUSED),
    Odd(
        "a coding in HTTP/1.0",
        chunked(ABC, b"Connection: keep-alive").replace(b"1.1", b"1.0"),
        _9112 + "6.1: faulty",
        ours=REFUSED,
        nginx=REFUSED,
        haproxy=PASSED_ON,
    ),
    # lengths and chunks
    Odd("empty lines before the request", b"\r\n\r\n" + get(), _9112 + "2.2"),
    Odd("a length with zeros in front", post(b"Content-Length: 0003"), _9110 + "8.6"),
    Odd("a length of 000", post(b"Content-Length: 000", body=b""), _9110 + "8.6"),
    Odd("a length between tabs", post(b"Content-Length:\t3\t"), _9110 + "5.5", nginx=REFUSED),
    Odd(
        "a length said twice in one field",
        post(b"Content-Length: 3, 3"),
        _9110 + "8.6: MAY be rejected",
        ours=REFUSED,
        nginx=REFUSED,
    ),
    Odd(
        "a length said in two fields",
        post(b"Content-Length: 3", b"Content-Length: 3"),
        _9110 + "8.6: MAY be rejected",
        ours=REFUSED,
        nginx=REFUSED,
    ),
    Odd("a length in GET", post(b"Content-Length: 3", line=b"GET /case HTTP/1.1"), _9110 + "9.3.1"),
    Odd("a length in DELETE", post(b"Content-Length: 3", line=b"DELETE /case HTTP/1.1"), _9110 + "9.3.5"),
    Odd("POST without a length", _line("POST /case HTTP/1.1"), _9112 + "6.3"),
    Odd("Chunked in capitals", post(b"Transfer-Encoding: CHUNKED", body=ABC), _9112 + "7"),
    Odd("chunked between spaces", post(b"Transfer-Encoding:   chunked  ", body=ABC), _9110 + "5.5"),
    Odd("chunked between tabs", post(b"Transfer-Encoding:\tchunked\t", body=ABC), _9110 + "5.5", nginx=REFUSED),
    Odd(
        "chunked with an empty member",
        post(b"Transfer-Encoding: chunked,", body=ABC),
        _9110 + "5.6.1",
        ours=REFUSED,
        nginx=REFUSED,
        haproxy=PASSED_ON,
    ),
    Odd("chunks in GET", post(CHUNKED, body=ABC, line=b"GET /case HTTP/1.1"), _9110 + "9.3.1"),
    Odd("no chunk but the last", chunked(b"0\r\n\r\n"), _9112 + "7.1"),
    Odd("chunk sizes in capitals", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), _9112 + "7.1"),
    Odd("a chunk size with zeros in front", chunked(b"0003\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Odd("a chunk size of 20 digits", chunked(b"0" * 19 + b"3\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Odd("a last chunk of zeros", chunked(b"3\r\nabc\r\n0000\r\n\r\n"), _9112 + "7.1"),
    Odd(
        "a chunk size with white space",
        chunked(b"3 \r\nabc\r\n0\r\n\r\n"),
        "old servers fill it up; not in the grammar",
        ours=REFUSED,
    ),
    Odd("a chunk extension", chunked(b"3;a=b\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1.1"),
    Odd("a chunk extension in quotes", chunked(b'3;a="b;\\"c"\r\nabc\r\n0\r\n\r\n'), _9112 + "7.1.1"),
    Odd("white space before an extension", chunked(b"3 ;a=b\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1.1: MUST be parsed"),
    Odd("white space after a semicolon", chunked(b"3; a=b\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1.1: MUST be parsed"),
    Odd(
        "white space around an equals sign", chunked(b"3;a\t=\tb\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1.1: MUST be parsed"
    ),
    Odd("an extension of the last chunk", chunked(b"3\r\nabc\r\n0;a\r\n\r\n"), _9112 + "7.1.1"),
    Odd("a trailer", chunked(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), _9112 + "7.1.2"),
    Odd(
        "a trailer that is a length",
        chunked(b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n"),
        _9110 + "6.5.1: no client may",
        ours=REFUSED,
        haproxy=PASSED_ON,
    ),
    # the request line
    Odd("PURGE", _line("PURGE /case HTTP/1.1"), _9110 + "9.1"),
    Odd("M-SEARCH", _line("M-SEARCH /case HTTP/1.1"), _9110 + "9.1"),
    Odd("a method that nobody knows", post(b"Content-Length: 3", line=b"BREW /case HTTP/1.1"), _9110 + "9.1"),
    Odd("a method in small letters", _line("get /case HTTP/1.1"), _9110 + "9.1", nginx=REFUSED),
    Odd(
        "HEAD in small letters",
        _line("head /case HTTP/1.1"),
        _9110 + "9.1",
        ours=REFUSED,
        nginx=REFUSED,
        haproxy=PASSED_ON,
    ),
    Odd("a method of odd letters", _line("X!#$%&'*+.^_`|~9 /case HTTP/1.1"), _9110 + "5.6.2", nginx=REFUSED),
    Odd("a method of 100 letters", _line("X" * 100 + " /case HTTP/1.1"), _9112 + "3"),
    Odd("OPTIONS *", _line("OPTIONS * HTTP/1.1"), _9112 + "3.2.4", nginx=REFUSED),
    Odd("an absolute target", _line("GET http://example.com/case HTTP/1.1"), _9112 + "3.2.2", haproxy=CHANGED),
    Odd(
        "an absolute target in capitals",
        _line("GET HTTP://EXAMPLE.COM/case HTTP/1.1"),
        _9110 + "4.2.3",
        haproxy=CHANGED,
    ),
    Odd(
        "an absolute target with the default port",
        _line("GET http://example.com:80/case HTTP/1.1"),
        _9110 + "4.2.3",
        haproxy=CHANGED,
    ),
    Odd(
        "a Host with the default port",
        get(host=b"Host: example.com:80", line=b"GET http://example.com/case HTTP/1.1"),
        _9110 + "4.2.3",
        haproxy=CHANGED,
    ),
    Odd(
        "an absolute target with an empty port",
        _line("GET http://example.com:/case HTTP/1.1"),
        _9110 + "4.2.3",
        haproxy=CHANGED,
    ),
    Odd(
        "an absolute target without a path", _line("GET http://example.com HTTP/1.1"), _9112 + "3.2.1", haproxy=CHANGED
    ),
    Odd(
        "an absolute target with only a query",
        _line("GET http://example.com?case HTTP/1.1"),
        _9112 + "3.2.1",
        haproxy=REFUSED,
    ),
    Odd(
        "an absolute target of the server",
        _line("OPTIONS http://example.com HTTP/1.1"),
        _9112 + "3.2.4",
        nginx=CHANGED,
        haproxy=CHANGED,
    ),
    Odd(
        "an absolute target of another host",
        _line("GET http://other.test/case HTTP/1.1"),
        _9112 + "3.2.2: it wins",
        ours=REFUSED,
        haproxy=REFUSED,
    ),
    Odd("percent signs that encode nothing", _line("GET /case%zz%?% HTTP/1.1"), "sent by hand", nginx=REFUSED),
    Odd("brackets, pipes and braces in a query", _line('GET /case?a[]=1&b=x|y&c={"d"}&e=^` HTTP/1.1'), "browsers"),
    Odd("brackets and pipes in a path", _line("GET /case/a[1]|{b} HTTP/1.1"), "browsers"),
    Odd("angle brackets and quotes", _line("GET /case?<'\"> HTTP/1.1"), "sent by hand"),
    Odd("a backslash in a query", _line("GET /case?a\\b HTTP/1.1"), "browsers"),
    Odd(
        "a backslash in a path",
        _line("GET /case\\a HTTP/1.1"),
        "sent by hand",
        ours=REFUSED,
        nginx=PASSED_ON,
        haproxy=PASSED_ON,
    ),
    Odd(
        "UTF-8 in a query",
        _line("GET /case?\xc3\xa9 HTTP/1.1"),
        "curl with an unencoded URL",
        ours=REFUSED,
        nginx=PASSED_ON,
        haproxy=REFUSED,
    ),
    Odd("a fragment", _line("GET /case#a HTTP/1.1"), "sent by hand", ours=REFUSED, nginx=PASSED_ON, haproxy=REFUSED),
    Odd("two slashes, dots and semicolons", _line("GET //case/../a;b=c/./ HTTP/1.1"), "RFC 3986, section 3.3"),
    # the fields
    Odd("a Host with a dot at its end", get(host=b"Host: example.com."), "RFC 1034, section 3.1"),
    Odd("a Host in capitals", get(host=b"hOST: EXAMPLE.com"), _9110 + "4.2.3"),
    Odd("a Host with a port", get(host=b"Host: example.com:00080"), _9110 + "7.2"),
    Odd("a Host that is IPv6", get(host=b"Host: [2001:db8::1]:8000"), _9110 + "7.2"),
    Odd("a Host with an underscore", get(host=b"Host: a_b.example.com"), "Docker Compose names"),
    Odd("an empty Host", get(host=b"Host:"), _9112 + "3.2", ours=REFUSED, nginx=REFUSED, haproxy=PASSED_ON),
    Odd("obs-text in a value", get(b"A: \xc3\xa9\xff"), _9110 + "5.5"),
    Odd("tabs around and in a value", get(b"A:\tb\tc\t"), _9110 + "5.5"),
    Odd("white space after a value", get(b"A: b   "), _9110 + "5.5"),
    Odd("an empty value", get(b"A:"), _9110 + "5.5"),
    Odd("a value of white space", get(b"A: \t "), _9110 + "5.5"),
    Odd("a name of odd letters", get(b"!#$%&'*+-.^`|~09azAZ: b"), _9110 + "5.6.2"),
    Odd("a name with an underscore", get(b"X_Y: b"), _9110 + "5.6.2"),
    Odd("the same field twice", get(b"A: b", b"A: c", b"Cookie: d=e", b"Cookie: f=g"), _9110 + "5.3"),
    Odd(
        "a field on two lines",
        get(b"A: b\r\n c"),
        _9112 + "5.2: MUST be refused or replaced",
        ours=REFUSED,
        nginx=REFUSED,
    ),
    Odd("line feeds for line ends", get().replace(b"\r\n", b"\n"), _9112 + "2.2: MAY", ours=REFUSED),
]

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED_OK = _OK + b"Transfer-Encoding: chunked\r\n\r\n"

ANSWERS = [
    Odd("no reason", b"HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc", _9112 + "4"),
    Odd("no reason and no space", b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", "old servers; not in the grammar"),
    Odd("obs-text in the reason", b"HTTP/1.1 200 \xc3\xa9\xff\r\nContent-Length: 3\r\n\r\nabc", _9112 + "4"),
    Odd("a status that nobody knows", b"HTTP/1.1 299 Fine\r\nContent-Length: 3\r\n\r\nabc", _9110 + "15"),
    Odd("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", _9112 + "2.3", closes=True),
    Odd("HTTP/1.0 until its end", b"HTTP/1.0 200 OK\r\n\r\nabc", _9112 + "6.3", closes=True),
    Odd(
        "HTTP/1.0 that stays",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        _9112 + "C.2.2",
    ),
    Odd("HTTP/1.1 until its end", _OK + b"\r\nabc", _9112 + "6.3", closes=True),
    Odd(
        "HTTP/1.2",
        b"HTTP/1.2 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        _9110 + "2.5: SHOULD be read as 1.1",
        ours=REFUSED,
    ),
    Odd("a length with zeros in front", _OK + b"Content-Length: 0003\r\n\r\nabc", _9110 + "8.6"),
    Odd("a length between tabs", _OK + b"Content-Length:\t3\t\r\n\r\nabc", _9110 + "5.5", nginx=REFUSED),
    Odd(
        "a length said twice in one field",
        _OK + b"Content-Length: 3, 3\r\n\r\nabc",
        _9110 + "8.6: MAY be rejected",
        ours=REFUSED,
        nginx=REFUSED,
    ),
    Odd(
        "a length said in two fields",
        _OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        _9110 + "8.6: MAY be rejected",
        ours=REFUSED,
    ),
    Odd(
        "a length and chunks",
        _OK + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n\r\n" + ABC,
        _9112 + "6.3: ought to be an error",
        ours=REFUSED,
    ),
    Odd("a length in 304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", _9110 + "8.6", body=b""),
    Odd(
        "a length of nothing in 204",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        _9110 + "8.6: not allowed, common",
        body=b"",
    ),
    Odd("a length in answer to HEAD", _OK + b"Content-Length: 3\r\n\r\n", _9110 + "8.6", method="HEAD", body=b""),
    Odd("chunked in answer to HEAD", _CHUNKED_OK, _9112 + "6.1", method="HEAD", body=b""),
    Odd("205 with no length", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", _9110 + "15.3.6", body=b""),
    Odd("chunked in capitals between tabs", _OK + b"Transfer-Encoding:\tCHUNKED\t\r\n\r\n" + ABC, _9112 + "7"),
    Odd(
        "chunked in HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ABC,
        _9112 + "6.1: faulty",
        closes=True,
        ours=REFUSED,
    ),
    Odd(
        "chunked with an empty member",
        _OK + b"Transfer-Encoding: chunked,\r\n\r\n" + ABC,
        _9110 + "5.6.1",
        closes=True,
        haproxy=CUT,
    ),
    Odd(
        "coding identity",
        _OK + b"Transfer-Encoding: identity\r\n\r\nabc",
        "RFC 2616; no coding any more",
        closes=True,
        ours=REFUSED,
        haproxy=REFUSED,
    ),
    Odd("a chunk size of 20 digits", _CHUNKED_OK + b"0" * 19 + ABC, _9112 + "7.1"),
    Odd(
        "a chunk size with white space",
        _CHUNKED_OK + b"3 \r\nabc\r\n0\r\n\r\n",
        "old servers fill it up; not in the grammar",
        ours=CUT,
    ),
    Odd("a chunk extension", _CHUNKED_OK + b"3;a=b\r\nabc\r\n0\r\n\r\n", _9112 + "7.1.1"),
    Odd(
        "white space in a chunk extension",
        _CHUNKED_OK + b"3 ; a = b\r\nabc\r\n0\r\n\r\n",
        _9112 + "7.1.1: MUST be parsed",
    ),
    Odd("chunks of one byte", _CHUNKED_OK + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", _9112 + "7.1"),
    Odd("a trailer", _CHUNKED_OK + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", _9112 + "7.1.2"),
    Odd(
        "a trailer that is a length",
        _CHUNKED_OK + b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
        _9110 + "6.5.1: MAY be dropped",
    ),
    Odd(
        "a trailer that is Transfer-Encoding",
        _CHUNKED_OK + b"3\r\nabc\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
        _9110 + "6.5.1: MAY be dropped",
        haproxy=REFUSED,
    ),
    Odd("an empty Connection", _OK + b"Connection:\r\nContent-Length: 3\r\n\r\nabc", _9110 + "5.6.1"),
    Odd(
        "Connection: close, keep-alive",
        _OK + b"Connection: close, keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        _9112 + "9.3",
        closes=True,
    ),
    Odd(
        "an offer to upgrade",
        _OK + b"Upgrade: h2,h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc",
        _9110 + "7.8; Apache",
    ),
    Odd(
        "100 and 103 before it",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + _OK
        + b"Content-Length: 3\r\n\r\nabc",
        _9110 + "15.2",
        nginx=REFUSED,
    ),
    Odd(
        "obs-text, tabs and nothing in values",
        _OK + b"A: \xff\tb\t\r\nB:\r\nContent-Length: 3\r\n\r\nabc",
        _9110 + "5.5",
    ),
    Odd("a name of odd letters", _OK + b"!#$%&'*+-.^`|~09azAZ: b\r\nContent-Length: 3\r\n\r\nabc", _9110 + "5.6.2"),
    Odd(
        "white space before a colon",
        _OK + b"A : b\r\nContent-Length: 3\r\n\r\nabc",
        _9112 + "5.1: MUST be removed",
        ours=REFUSED,
        nginx=REFUSED,
        haproxy=REFUSED,
    ),
    Odd(
        "a field on two lines",
        _OK + b"A: b\r\n c\r\nContent-Length: 3\r\n\r\nabc",
        _9112 + "5.2: MUST be refused or replaced",
        ours=REFUSED,
        nginx=REFUSED,
    ),
    Odd("line feeds for line ends", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", _9112 + "2.2: MAY", ours=REFUSED),
    Odd(
        "an empty line before it",
        b"\r\n" + _OK + b"Content-Length: 3\r\n\r\nabc",
        "old servers; not in the grammar",
        ours=REFUSED,
        nginx=REFUSED,
    ),
]
