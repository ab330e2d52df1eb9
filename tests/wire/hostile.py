"""Hostile requests: bytes that have fooled some server or proxy, where each comes from, and what must become of it.

``REFUSED`` reach nobody: 4xx, 501 or 505, ``Connection: close``, the end.
``PASSED`` are odd and right: the origin gets one request, and nobody can
read it in another way.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.wire.messages import KEY, message


@dataclass(frozen=True)
class Case:
    """raw: the request. source: RFC section, CVE or paper. closes: a PASSED request that is its connection's last."""

    name: str
    raw: bytes
    source: str
    closes: bool = False


def get(*lines: bytes, line: bytes = b"GET /case HTTP/1.1", host: bytes | None = b"Host: example.com") -> bytes:
    return message(line, *(lines if host is None else (host, *lines)))


def post(*lines: bytes, body: bytes = b"abc", line: bytes = b"POST /case HTTP/1.1") -> bytes:
    return get(*lines, line=line) + body


CHUNKED = b"Transfer-Encoding: chunked"
ABC = b"3\r\nabc\r\n0\r\n\r\n"


def chunked(body: bytes, *lines: bytes) -> bytes:
    return post(CHUNKED, *lines, body=body)


def shake(*lines: bytes, without: bytes = b"", line: bytes = b"GET /case HTTP/1.1") -> bytes:
    fields = (
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + KEY,
    )
    return get(*(f for f in fields if not without or not f.startswith(without)), *lines, line=line)


_9112 = "RFC 9112, section "
_9110 = "RFC 9110, section "
_6455 = "RFC 6455, section 4.2.1"

LENGTHS = [
    Case("length and chunked", post(b"Content-Length: 3", CHUNKED, body=ABC), _9112 + "6.1"),
    Case("chunked and length", post(CHUNKED, b"Content-Length: 3", body=ABC), _9112 + "6.1"),
    Case("length 0 and chunked", post(b"Content-Length: 0", CHUNKED, body=ABC), _9112 + "6.1"),
    Case("xchunked", post(b"Transfer-Encoding: xchunked", body=ABC), "CVE-2019-15605"),
    Case("chunked twice", post(b"Transfer-Encoding: chunked, chunked", body=ABC), _9112 + "6.1"),
    Case("two coding fields", post(CHUNKED, CHUNKED, body=ABC), "CVE-2020-8287"),
    Case("two coding fields that differ", post(CHUNKED, b"Transfer-Encoding: x", body=ABC), "CVE-2022-1705"),
    Case("vertical tab before chunked", post(b"Transfer-Encoding: \x0bchunked", body=ABC), "CVE-2019-18277"),
    Case("form feed before chunked", post(b"Transfer-Encoding: \x0cchunked", body=ABC), "CVE-2019-18277"),
    Case("space before the coding's colon", post(b"Transfer-Encoding : chunked", body=ABC), "CVE-2019-16276"),
    Case("tab before the coding's colon", post(b"Transfer-Encoding\t: chunked", body=ABC), "CVE-2019-16276"),
    Case("coding on a folded line", post(b"Transfer-Encoding:\r\n chunked", body=ABC), "CVE-2022-32215"),
    Case("coding with a second line", post(b"Transfer-Encoding: chunked\r\n , identity", body=ABC), "CVE-2022-32215"),
    Case("coding with a comma first", post(b"Transfer-Encoding: , chunked", body=ABC), _9112 + "6.1"),
    Case("coding with a comma last", post(b"Transfer-Encoding: chunked,", body=ABC), _9112 + "6.1"),
    Case("coding with a parameter", post(b"Transfer-Encoding: chunked;q=1", body=ABC), _9112 + "7"),
    Case("coding in quotes", post(b'Transfer-Encoding: "chunked"', body=ABC), _9112 + "7"),
    Case("coding empty", post(b"Transfer-Encoding:", body=ABC), "CVE-2024-1135"),
    Case("coding identity", post(b"Transfer-Encoding: identity", body=ABC), _9112 + "7"),
    Case("coding gzip then chunked", post(b"Transfer-Encoding: gzip, chunked", body=ABC), _9112 + "6.1"),
    Case("coding chunked then gzip", post(b"Transfer-Encoding: chunked, gzip", body=ABC), _9112 + "6.3"),
    Case("coding with a nul", post(b"Transfer-Encoding: chunked\0", body=ABC), _9110 + "5.5"),
    Case("coding with a high byte", post(b"Transfer-Encoding: \xa0chunked", body=ABC), "CVE-2025-69224"),
    Case("coding with a long s", post("Transfer-Encoding: chun\u212aed".encode(), body=ABC), "CVE-2025-69224"),
    Case("coding in HTTP/1.0", post(CHUNKED, body=ABC, line=b"POST /case HTTP/1.0"), _9112 + "6.1"),
    Case("length with plus", post(b"Content-Length: +3"), "CVE-2022-24761"),
    Case("length with minus", post(b"Content-Length: -3"), _9110 + "8.6"),
    Case("length negative zero", post(b"Content-Length: -0"), _9110 + "8.6"),
    Case("length in a list", post(b"Content-Length: 3,3"), _9110 + "8.6"),
    Case("length in a list with a space", post(b"Content-Length: 3, 4"), _9110 + "8.6"),
    Case("length with a space in it", post(b"Content-Length: 3 3"), "CVE-2018-7159"),
    Case("length in hexadecimal", post(b"Content-Length: 0x3"), "CVE-2022-24761"),
    Case("length with an underscore", post(b"Content-Length: 0_3"), "int() of Python"),
    Case("length with a fraction", post(b"Content-Length: 3.0"), _9110 + "8.6"),
    Case("length with an exponent", post(b"Content-Length: 3e0"), _9110 + "8.6"),
    Case("length in other digits", post("Content-Length: \u0663".encode()), "CVE-2025-69224"),
    Case("length in quotes", post(b'Content-Length: "3"'), _9110 + "8.6"),
    Case("length empty", post(b"Content-Length:"), "CVE-2023-40225"),
    Case("length only of spaces", post(b"Content-Length:   "), "CVE-2023-40225"),
    Case("length of 2**64", post(b"Content-Length: 18446744073709551616"), "CVE-2021-40346"),
    Case("length of 2**64 - 1", post(b"Content-Length: 18446744073709551615"), "CVE-2021-40346"),
    Case("length of 2**64 + 3", post(b"Content-Length: 18446744073709551619"), "CVE-2021-40346"),
    Case("length of a thousand digits", post(b"Content-Length: " + b"9" * 1000), "CVE-2021-40346"),
    Case("lengths that differ", post(b"Content-Length: 3", b"Content-Length: 4"), _9112 + "6.3"),
    Case("lengths that are equal", post(b"Content-Length: 3", b"Content-Length: 3"), _9112 + "6.3"),
    Case("lengths, one empty", post(b"Content-Length: 3", b"Content-Length:"), "CVE-2023-40225"),
    Case("length with a space before its colon", post(b"Content-Length : 3"), "CVE-2019-16276"),
    Case("length behind a nul", post(b"Content-Length: \x003"), _9110 + "5.5"),
    Case("length behind a vertical tab", post(b"Content-Length: \x0b3"), _9110 + "5.5"),
]

CHUNKS = [
    Case("chunk size with a prefix", chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk size with a space first", chunked(b" 3\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk size with a space last", chunked(b"3 \r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk size with a tab last", chunked(b"3\t\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk extension with a space last", chunked(b"3;a \r\nabc\r\n0\r\n\r\n"), _9112 + "7.1.1"),
    Case("chunk size with plus", chunked(b"+3\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk size negative", chunked(b"-1\r\nabc\r\n0\r\n\r\n"), "CVE-2013-2028"),
    Case("chunk size with an underscore", chunked(b"0_3\r\nabc\r\n0\r\n\r\n"), "int() of Python"),
    Case("chunk size of 17 digits", chunked(b"10000000000000003\r\nabc\r\n0\r\n\r\n"), "CVE-2013-2028"),
    Case("chunk size of 2**64 - 1", chunked(b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), "CVE-2013-2028"),
    Case("chunk size empty", chunked(b"\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk size missing before an extension", chunked(b";a=b\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk size of no digits", chunked(b"G\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk size with a nul", chunked(b"3\0\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1"),
    Case("chunk extension with a line feed", chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n"), "CVE-2024-52304"),
    Case("chunk extension with a carriage return", chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n"), "CVE-2025-55315"),
    Case("chunk extension that ends with a line feed", chunked(b"3;\nabc\r\n0\r\n\r\n"), "CVE-2025-55315"),
    Case("chunk extension without a name", chunked(b"3;\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1.1"),
    Case("chunk extension without a value", chunked(b"3;a=\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1.1"),
    Case("chunk extension with an open quote", chunked(b'3;a="b\r\nabc\r\n0\r\n\r\n'), "CVE-2025-55315"),
    Case("chunk extension with a quoted line feed", chunked(b'3;a="\n"\r\nabc\r\n0\r\n\r\n'), "CVE-2025-55315"),
    Case("chunk extension with a nul", chunked(b"3;a=\0\r\nabc\r\n0\r\n\r\n"), _9112 + "7.1.1"),
    Case("chunk extension that is huge", chunked(b"3;" + b"a" * 70000 + b"\r\nabc\r\n0\r\n\r\n"), "CVE-2023-39326"),
    Case("chunk longer than its size", chunked(b"2\r\nabc\r\n0\r\n\r\n"), "CVE-2025-43859"),
    Case("chunk with two bytes for its end", chunked(b"3\r\nabcXX0\r\n\r\n"), "CVE-2025-43859"),
    Case("chunk without an end", chunked(b"3\r\nabc0\r\n\r\n"), "CVE-2025-43859"),
    Case("chunk that ends with a line feed", chunked(b"3\r\nabc\n0\r\n\r\n"), "CVE-2025-22871"),
    Case("chunk that ends with a carriage return", chunked(b"3\r\nabc\r0\r\n\r\n"), "CVE-2025-43859"),
    Case("chunk lines with bare line feeds", chunked(b"3\nabc\n0\n\n"), "CVE-2025-22871"),
    Case("chunk size with a bare line feed", chunked(b"3\nabc\r\n0\r\n\r\n"), "CVE-2025-22871"),
    Case("last chunk with a bare line feed", chunked(b"3\r\nabc\r\n0\n\r\n"), "CVE-2025-22871"),
    Case("end of the trailers with a bare line feed", chunked(b"3\r\nabc\r\n0\r\n\n"), "CVE-2025-22871"),
    Case("trailer that is a length", chunked(b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"), "CVE-2023-46589"),
    Case("trailer that is a host", chunked(b"3\r\nabc\r\n0\r\nHost: evil.test\r\n\r\n"), _9110 + "6.5.1"),
    Case("trailer that is a coding", chunked(b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), "CVE-2023-46589"),
    Case("trailer on a folded line", chunked(b"3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n"), _9112 + "5.2"),
    Case("trailer without a colon", chunked(b"3\r\nabc\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n"), "CVE-2025-53643"),
    Case("trailer with a bare line feed", chunked(b"3\r\nabc\r\n0\r\nA: b\n\r\n"), "CVE-2025-53643"),
    Case("trailer with a space before its colon", chunked(b"3\r\nabc\r\n0\r\nA : b\r\n\r\n"), _9112 + "5.1"),
    Case("trailers without an end", chunked(b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 12000 + b"\r\n"), "CVE-2023-46589"),
]

FIELDS = [
    Case("bare carriage return in a value", get(b"A: b\rc"), "CVE-2023-30589"),
    Case("bare carriage return that hides a field", get(b"A: b\rContent-Length: 9"), "CVE-2023-30589"),
    Case("bare carriage return behind a value", get(b"A: b\r\rC: d"), "CVE-2023-30589"),
    Case("bare line feed between fields", get(b"A: b\nC: d"), "CVE-2022-32214"),
    Case("bare line feeds everywhere", get(b"A: b").replace(b"\r\n", b"\n"), "CVE-2022-32214"),
    Case("bare line feed behind the request line", get().replace(b"1.1\r\n", b"1.1\n"), "CVE-2022-32214"),
    Case("bare line feed at the head's end", get()[:-2] + b"\n", "CVE-2022-32214"),
    Case("line feed before carriage return", get(b"A: b\n\rC: d"), _9112 + "2.2"),
    Case("folded line", get(b"A: b\r\n c"), _9112 + "5.2"),
    Case("folded line with a tab", get(b"A: b\r\n\tc"), _9112 + "5.2"),
    Case("folded line of nothing", get(b"A: b\r\n "), _9112 + "5.2"),
    Case("folded host", get(host=b"Host:\r\n example.com"), _9112 + "5.2"),
    Case("white space before the first field", get(host=b" Host: example.com"), _9112 + "2.2"),
    Case("tab before the first field", get(host=b"\tHost: example.com"), _9112 + "2.2"),
    Case("empty field name", get(b": b"), "CVE-2023-25725"),
    Case("empty field name, first", get(host=b": b\r\nHost: example.com"), "CVE-2023-25725"),
    Case("no colon", get(b"A"), _9112 + "5"),
    Case("space before the colon", get(b"A : b"), _9112 + "5.1"),
    Case("tab before the colon", get(b"A\t: b"), _9112 + "5.1"),
    Case("space in a name", get(b"A B: c"), _9110 + "5.1"),
    Case("nul in a name", get(b"A\0: b"), _9110 + "5.1"),
    Case("control character in a name", get(b"A\x01: b"), _9110 + "5.1"),
    Case("8-bit name", get(b"\xc3\xa9: b"), _9110 + "5.1"),
    Case("parenthesis in a name", get(b"A(: b"), _9110 + "5.1"),
    Case("nul in a value", get(b"A: b\0c"), "CVE-2026-34520"),
    Case("escape in a value", get(b"A: \x1b[31m"), _9110 + "5.5"),
    Case("delete in a value", get(b"A: b\x7f"), _9110 + "5.5"),
    Case("backspace in a value", get(b"A: b\x08"), _9110 + "5.5"),
    Case("nul in a host", get(host=b"Host: example.com\0"), _9110 + "5.5"),
    Case("name longer than 16 bits count", get(b"A" * 66000 + b": b"), "CVE-2021-40346"),
    Case("two types of content", post(b"Content-Type: a/b", b"content-type: c/d", b"Content-Length: 3"), _9110 + "5.3"),
    Case("two equal types", post(b"Content-Type: a/b", b"Content-Type: a/b", b"Content-Length: 3"), _9110 + "5.3"),
    Case("two user agents", get(b"User-Agent: a", b"User-Agent: b"), _9110 + "5.3"),
    Case("a thousand fields", get(*(b"A: b" for _ in range(1000))), "CVE-2026-22815"),
    Case("a field of 100,000 bytes", get(b"A: " + b"b" * 100_000), "CVE-2026-54280"),
]

HOSTS = [
    Case("no host", get(host=None), _9112 + "3.2"),
    Case(
        "no host, but an absolute target", get(host=None, line=b"GET http://example.com/case HTTP/1.1"), _9112 + "3.2"
    ),
    Case("two hosts", get(b"Host: evil.test"), "CVE-2026-34525"),
    Case("two equal hosts", get(b"Host: example.com"), "CVE-2026-34525"),
    Case("two hosts in one", get(host=b"Host: example.com, evil.test"), _9112 + "3.2"),
    Case("host empty", get(host=b"Host:"), _9112 + "3.2"),
    Case("host with a path", get(host=b"Host: example.com/admin"), "CVE-2026-48710"),
    Case("host with a query", get(host=b"Host: example.com?x"), "CVE-2026-48710"),
    Case("host with a fragment", get(host=b"Host: example.com#x"), "CVE-2026-48710"),
    Case("host with a user", get(host=b"Host: evil@example.com"), "CVE-2026-48710"),
    Case("host with a space", get(host=b"Host: example.com evil.test"), _9112 + "3.2"),
    Case("host with a tab", get(host=b"Host: example.com\tevil.test"), _9112 + "3.2"),
    Case("host with a backslash", get(host=b"Host: example.com\\evil"), _9112 + "3.2"),
    Case("host with angle brackets", get(host=b"Host: <script>"), _9112 + "3.2"),
    Case("host with quotes", get(host=b'Host: "example.com"'), _9112 + "3.2"),
    Case("host with a scheme", get(host=b"Host: http://example.com"), _9112 + "3.2"),
    Case("host with a port that is none", get(host=b"Host: example.com:80x"), _9112 + "3.2"),
    Case("host with a port in words", get(host=b"Host: example.com:http"), _9112 + "3.2"),
    Case("host with two ports", get(host=b"Host: example.com:80:80"), _9112 + "3.2"),
    Case("host with an open bracket", get(host=b"Host: [::1"), _9112 + "3.2"),
    Case("host with a bracket behind", get(host=b"Host: [::1]evil.test"), _9112 + "3.2"),
    Case("host with letters that are not ASCII", get(host="Host: ex\u00e4mple.com".encode()), _9112 + "3.2"),
    Case("host with a line feed", get(host=b"Host: example.com\nX: y"), _9112 + "2.2"),
]

TARGETS = [
    Case("absolute target of another host", get(line=b"GET http://evil.test/case HTTP/1.1"), _9112 + "3.2.2"),
    Case("absolute target of another port", get(line=b"GET http://example.com:81/case HTTP/1.1"), _9112 + "3.2.2"),
    Case("absolute target with a user", get(line=b"GET http://a@example.com/case HTTP/1.1"), _9110 + "4.2.4"),
    Case("absolute target without a host", get(line=b"GET http:///case HTTP/1.1"), _9110 + "4.2.1"),
    Case("absolute target of another scheme", get(line=b"GET ftp://example.com/case HTTP/1.1"), _9112 + "3.2.2"),
    Case("absolute target of a file", get(line=b"GET file:///etc/passwd HTTP/1.1"), _9112 + "3.2.2"),
    Case("absolute target of a websocket", get(line=b"GET ws://example.com/case HTTP/1.1"), _9112 + "3.2.2"),
    Case("CONNECT", get(line=b"CONNECT example.com:443 HTTP/1.1"), _9110 + "9.3.6"),
    Case("CONNECT in small letters", get(line=b"connect /case HTTP/1.1"), "Werkzeug reads methods in capitals"),
    Case("HEAD in small letters", get(line=b"head /case HTTP/1.1"), "Werkzeug reads methods in capitals"),
    Case("CONNECT with a path", get(line=b"CONNECT /case HTTP/1.1"), _9110 + "9.3.6"),
    Case("asterisk in GET", get(line=b"GET * HTTP/1.1"), _9112 + "3.2.4"),
    Case("asterisk and a path in OPTIONS", get(line=b"OPTIONS */case HTTP/1.1"), _9112 + "3.2.4"),
    Case("fragment", get(line=b"GET /case#x HTTP/1.1"), "CVE-2023-45539"),
    Case("fragment behind a query", get(line=b"GET /case?x#y HTTP/1.1"), "CVE-2023-45539"),
    Case("raw letters that are not ASCII", get(line="GET /c\u00e4se HTTP/1.1".encode()), _9112 + "3.2"),
    Case("raw byte that is no UTF-8", get(line=b"GET /c\xffse HTTP/1.1"), _9112 + "3.2"),
    Case("raw query that is not ASCII", get(line="GET /case?\u00e4 HTTP/1.1".encode()), _9112 + "3.2"),
    Case("nul in the target", get(line=b"GET /ca\0se HTTP/1.1"), _9112 + "3.2"),
    Case("delete in the target", get(line=b"GET /ca\x7fse HTTP/1.1"), _9112 + "3.2"),
    Case("backslash for a slash", get(line=b"GET /a\\..\\case HTTP/1.1"), "RFC 3986, section 3.3"),
    Case("backslash first", get(line=b"GET \\case HTTP/1.1"), _9112 + "3.2"),
    Case("no slash", get(line=b"GET case HTTP/1.1"), "PYSEC-2026-248"),
    Case("no slash but an at", get(line=b"GET @evil.test HTTP/1.1"), "PYSEC-2026-248"),
    Case("no slash but a colon", get(line=b"GET :80/case HTTP/1.1"), "PYSEC-2026-248"),
    Case("only a query", get(line=b"GET ?case HTTP/1.1"), _9112 + "3.2"),
    Case("HTTP/0.9", b"GET /case\r\n", _9112 + "2.3"),
    Case("HTTP/0.9 by name", get(line=b"GET /case HTTP/0.9"), _9112 + "2.3"),
    Case("HTTP/1.2", get(line=b"GET /case HTTP/1.2"), _9112 + "2.3"),
    Case("HTTP/1", get(line=b"GET /case HTTP/1"), _9112 + "2.3"),
    Case("HTTP/1.10", get(line=b"GET /case HTTP/1.10"), _9112 + "2.3"),
    Case("HTTP/01.1", get(line=b"GET /case HTTP/01.1"), "CVE-2024-23829"),
    Case("HTTP/1.1 in other digits", get(line="GET /case HTTP/1.\u0661".encode()), "CVE-2024-23829"),
    Case("HTTP/2.0", get(line=b"GET /case HTTP/2.0"), _9112 + "2.3"),
    Case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "RFC 9113, section 3.4"),
    Case("lower-case version", get(line=b"GET /case http/1.1"), _9112 + "2.3"),
    Case("another protocol's name", get(line=b"OPTIONS /case RTSP/1.0"), "llhttp takes it"),
    Case("a third protocol's name", get(line=b"SOURCE /case ICE/1.0"), "llhttp takes it"),
    Case("two spaces before the target", get(line=b"GET  /case HTTP/1.1"), _9112 + "3"),
    Case("two spaces behind the target", get(line=b"GET /case  HTTP/1.1"), _9112 + "3"),
    Case("space behind the version", get(line=b"GET /case HTTP/1.1 "), _9112 + "3"),
    Case("space before the method", get(line=b" GET /case HTTP/1.1"), _9112 + "3"),
    Case("space in the target", get(line=b"GET /ca se HTTP/1.1"), _9112 + "3"),
    Case("two versions", get(line=b"GET /case HTTP/1.1 HTTP/1.1"), _9112 + "3"),
    Case("tab behind the method", get(line=b"GET\t/case HTTP/1.1"), _9112 + "3"),
    Case("tab behind the target", get(line=b"GET /case\tHTTP/1.1"), _9112 + "3"),
    Case("vertical tab behind the method", get(line=b"GET\x0b/case HTTP/1.1"), _9112 + "3"),
    Case("method with a colon", get(line=b"GET: /case HTTP/1.1"), "CVE-2023-49082"),
    Case("method with a slash", get(line=b"GE/T /case HTTP/1.1"), "CVE-2023-49082"),
    Case("method that is empty", get(line=b" /case HTTP/1.1"), _9112 + "3"),
    Case("method that is not ASCII", get(line="G\u00cbT /case HTTP/1.1".encode()), "CVE-2025-69224"),
    Case("carriage return before the method", b"\r" + get(), _9112 + "2.2"),
    Case("line feed before the method", b"\n" + get(), _9112 + "2.2"),
    Case("space before the request", b" \r\n" + get(), _9112 + "2.2"),
    Case("TLS on a port without it", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "RFC 8446, section 5.1"),
    Case(
        "PROXY protocol that nobody asked for", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get(), "PROXY protocol, 2.1"
    ),
    Case("a target of 20,000 bytes", get(line=b"GET /" + b"a" * 20_000 + b" HTTP/1.1"), "CVE-2026-54279"),
]

UPGRADES = [
    Case("handshake with a body", shake(b"Content-Length: 3") + b"abc", "CVE-2026-69243"),
    Case("handshake with a chunked body", shake(CHUNKED) + ABC, "CVE-2026-69243"),
    Case("handshake by POST", shake(line=b"POST /case HTTP/1.1"), _6455),
    Case("handshake by HEAD", shake(line=b"HEAD /case HTTP/1.1"), _6455),
    Case("handshake in HTTP/1.0", shake(line=b"GET /case HTTP/1.0"), _6455),
    Case("handshake of version 8", shake(b"Sec-WebSocket-Version: 8", without=b"Sec-WebSocket-Version"), _6455),
    Case("handshake of version 7", shake(b"Sec-WebSocket-Version: 7", without=b"Sec-WebSocket-Version"), _6455),
    Case("handshake of version +13", shake(b"Sec-WebSocket-Version: +13", without=b"Sec-WebSocket-Version"), _6455),
    Case("handshake of version 0", shake(b"Sec-WebSocket-Version: 0", without=b"Sec-WebSocket-Version"), "0ang3el, 1"),
    Case("handshake of two versions", shake(b"Sec-WebSocket-Version: 8"), _6455),
    Case("handshake without a version", shake(without=b"Sec-WebSocket-Version"), "0ang3el, 1"),
    Case("handshake without a key", shake(without=b"Sec-WebSocket-Key"), _6455),
    Case("handshake with two keys", shake(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), _6455),
    Case("handshake with a short key", shake(b"Sec-WebSocket-Key: AAAA", without=b"Sec-WebSocket-Key"), _6455),
    Case(
        "handshake with a key of noise", shake(b"Sec-WebSocket-Key: " + b"!" * 24, without=b"Sec-WebSocket-Key"), _6455
    ),
    Case("handshake without Connection", shake(without=b"Connection"), _6455),
    Case("handshake that says close", shake(b"Connection: close", without=b"Connection"), _6455),
    Case("websocket and h2c", shake(b"Upgrade: websocket, h2c", without=b"Upgrade"), "RFC 7540, section 3.2"),
    Case("h2c and websocket", shake(b"Upgrade: h2c, websocket", without=b"Upgrade"), "RFC 7540, section 3.2"),
    Case("two Upgrade fields", shake(b"Upgrade: h2c"), "RFC 7540, section 3.2"),
    Case("websocket twice", shake(b"Upgrade: websocket"), _6455),
    Case("old draft of the handshake", shake(b"Sec-WebSocket-Key1: 1", b"Sec-WebSocket-Key2: 2"), "hixie-76"),
    Case("handshake with two hosts", shake(b"Host: evil.test"), "CVE-2026-34525"),
    Case("handshake with a fragment", shake(line=b"GET /case#x HTTP/1.1"), "CVE-2023-45539"),
]

REFUSED = [*LENGTHS, *CHUNKS, *FIELDS, *HOSTS, *TARGETS, *UPGRADES]

H2C = (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQAAP__")

PASSED = [
    Case("nothing odd", get(), "RFC 9112"),
    Case("a length", post(b"Content-Length: 3"), _9112 + "6.2"),
    Case("a length of nothing", post(b"Content-Length: 0", body=b""), _9112 + "6.2"),
    Case("a length with white space around", post(b"Content-Length: \t 3 \t"), _9110 + "5.5"),
    Case("a length in GET", post(b"Content-Length: 3", line=b"GET /case HTTP/1.1"), _9110 + "9.3.1"),
    Case("chunks", chunked(ABC), _9112 + "7.1"),
    Case("chunks in odd letters", post(b"tRANSFER-eNCODING: ChUnKeD", body=ABC), _9112 + "7"),
    Case("coding with a tab before it", post(b"Transfer-Encoding:\tchunked", body=ABC), _9110 + "5.5"),
    Case("chunk size with zeros first", chunked(b"0003\r\nabc\r\n000\r\n\r\n"), _9112 + "7.1"),
    Case("chunk extensions", chunked(b'3;a;b=c;d="e\\"f; g"\r\nabc\r\n0;h\r\n\r\n'), _9112 + "7.1.1"),
    Case("trailers", chunked(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Last: evil\r\n\r\n"), _9112 + "7.1.2"),
    Case("a trailer that is a cookie", chunked(b"3\r\nabc\r\n0\r\nCookie: evil\r\n\r\n"), _9110 + "6.5.1"),
    Case("a trailer that is a proxy's word", chunked(b"0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"), _9110 + "6.5.1"),
    Case(
        "a body that looks like a request", post(b"Content-Length: 24", body=b"GET /smuggled HTTP/1.1\r\n"), _9112 + "6"
    ),
    Case("empty lines before the request", b"\r\n\r\n" + get(), _9112 + "2.2"),
    Case("HTTP/1.0", get(line=b"GET /case HTTP/1.0"), _9112 + "2.3", closes=True),
    Case("HTTP/1.0 with a length", post(b"Content-Length: 3", line=b"POST /case HTTP/1.0"), _9112 + "2.3", closes=True),
    Case("HTTP/1.0 that stays", get(b"Connection: keep-alive", line=b"GET /case HTTP/1.0"), _9112 + "C.2.2"),
    Case(
        "HTTP/1.0 that stays only for a proxy",
        get(b"Proxy-Connection: keep-alive", line=b"GET /case HTTP/1.0"),
        _9112 + "C.2.2",
        closes=True,
    ),
    Case("8-bit value", get(b"A: \xc3\xa9\xff"), _9110 + "5.5"),
    Case("empty value", get(b"A:"), _9110 + "5.5"),
    Case("every letter of a token in a name", get(b"!#$%&'*+-.^_`|~09azAZ: b"), _9110 + "5.6.2"),
    Case("absolute target", get(line=b"GET http://example.com/case HTTP/1.1"), _9112 + "3.2.2"),
    Case("absolute target in capitals", get(line=b"GET HTTP://EXAMPLE.com/case HTTP/1.1"), _9110 + "4.2.3"),
    Case("absolute target without a path", get(line=b"GET http://example.com HTTP/1.1"), _9112 + "3.2.1"),
    Case("absolute target of the server", get(line=b"OPTIONS http://example.com HTTP/1.1"), _9112 + "3.2.4"),
    Case("asterisk in OPTIONS", get(line=b"OPTIONS * HTTP/1.1"), _9112 + "3.2.4"),
    Case("two slashes first", get(line=b"GET //evil.test/case HTTP/1.1"), _9112 + "3.2.1"),
    Case("dots", get(line=b"GET /a/../case/./x HTTP/1.1"), "RFC 3986, section 5.2.4"),
    Case("encoded dots and slashes", get(line=b"GET /%2e%2E/a%2f..%5ccase HTTP/1.1"), "RFC 3986, section 2.4"),
    Case("encoded line end", get(line=b"GET /case%0d%0aHost:%20evil HTTP/1.1"), "CVE-2019-9740"),
    Case("encoded nul", get(line=b"GET /case%00 HTTP/1.1"), "RFC 3986, section 7.3"),
    Case("a URL in the query", get(line=b"GET /case?http://evil.test/\\x HTTP/1.1"), "RFC 3986, section 3.4"),
    Case("h2c", get(*H2C), _9110 + "7.8"),
    Case("h2c with a body", post(*H2C, b"Content-Length: 3"), _9110 + "7.8"),
    Case("h2c with a chunked body", chunked(ABC, *H2C), _9110 + "7.8"),
    Case("h2c in HTTP/1.0", get(*H2C, line=b"GET /case HTTP/1.0"), _9110 + "7.8", closes=True),
    Case("another upgrade", get(b"Upgrade: foo", b"Connection: Upgrade"), _9110 + "7.8"),
    Case("upgrade to TLS", get(b"Upgrade: TLS/1.0", b"Connection: Upgrade"), "RFC 2817, section 3"),
    Case("upgrade to something like websocket", get(b"Upgrade: xwebsocket", b"Connection: Upgrade"), _9110 + "7.8"),
    Case("upgrade to nothing", get(b"Upgrade:", b"Connection: Upgrade"), _9110 + "5.6.1"),
    Case("upgrade to nothing with a body", post(b"Upgrade:", b"Connection:", b"Content-Length: 3"), _9110 + "5.6.1"),
    Case(
        "websocket and nothing else of a handshake",
        post(b"Upgrade: websocket", b"Connection: Upgrade", b"Content-Length: 3"),
        _9110 + "7.8",
    ),
    Case("expects something else", post(b"Expect: 200-ok", b"Content-Length: 3"), _9110 + "10.1.1"),
    Case("coding with a tab behind it", post(b"Transfer-Encoding: chunked\t", body=ABC), _9110 + "5.5"),
    Case("length with zeros first", post(b"Content-Length: 003"), _9110 + "8.6"),
    Case("length of nothing with zeros", post(b"Content-Length: 000", body=b""), _9110 + "8.6"),
    Case("chunk size of many zeros", chunked(b"0" * 500 + b"3\r\nabc\r\n" + b"0" * 500 + b"\r\n\r\n"), _9112 + "7.1"),
    Case("white space around extensions", chunked(b'3 ;\ta = "b" ; c\r\nabc\r\n0\t;d\r\n\r\n'), _9112 + "7.1.1"),
    Case("a method that nobody knows", post(b"Content-Length: 3", line=b"BREW /case HTTP/1.1"), _9110 + "9.1"),
    Case("a method in small letters", get(line=b"get /case HTTP/1.1"), _9110 + "9.1"),
    Case("a method of every letter", get(line=b"!#$%&'*+-.^_`|~09azAZ /case HTTP/1.1"), _9110 + "5.6.2"),
    Case(
        "absolute target with the default port", get(line=b"GET http://example.com:80/case HTTP/1.1"), _9110 + "4.2.3"
    ),
    Case(
        "host with the default port",
        get(host=b"Host: example.com:443", line=b"GET https://example.com/case HTTP/1.1"),
        _9110 + "4.2.3",
    ),
    Case(
        "no host, but an absolute target in HTTP/1.0",
        get(host=None, line=b"GET http://example.com/case HTTP/1.0"),
        _9112 + "3.2.2",
        closes=True,
    ),
    Case("HTTP2-Settings without an upgrade", get(b"HTTP2-Settings: AAMAAABkAAQAAP__"), "RFC 7540, section 3.2.1"),
    Case(
        "underscores for hyphens",
        get(b"Content_Length: 9", b"Transfer_Encoding: chunked", b"X_Forwarded_For: 192.0.2.1"),
        "PEP 3333",
    ),
    Case(
        "dots for hyphens",
        get(b"Content.Length: 9", b"Transfer.Encoding: chunked", b"X.Forwarded.For: 192.0.2.1", b"a.b: c"),
        "RFC 3875, section 4.1.18",
    ),
    Case("underscores in part", get(b"X_Forwarded-For: 192.0.2.1", b"X-Real_IP: 192.0.2.1", b"ho_st: x"), "PEP 3333"),
    Case(
        "a stranger speaks as a proxy",
        get(b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=192.0.2.1", b"X-Scheme: https", b"Front-End-Https: on"),
        "RFC 7239, section 8",
    ),
    *(
        Case(f"Connection names {name.decode()}", post(b"Content-Length: 3", b"Connection: " + name, more), source)
        for name, more, source in [
            (b"X-Forwarded-For", b"A: b", "CVE-2022-31813"),
            (b"X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port", b"A: b", "CVE-2022-31813"),
            (b"X-Request-ID", b"A: b", "CVE-2022-31813"),
            (b"Host", b"A: b", _9110 + "7.6.1"),
            (b"Content-Length", b"A: b", _9110 + "7.6.1"),
            (b"Cookie", b"Cookie: a=b", _9110 + "7.6.1"),
            (b"Authorization", b"Authorization: Basic x", _9110 + "7.6.1"),
            (b"Transfer-Encoding", b"A: b", _9110 + "7.6.1"),
        ]
    ),
    Case(
        "Connection names Transfer-Encoding of chunks", chunked(ABC, b"Connection: Transfer-Encoding"), _9110 + "7.6.1"
    ),
    Case("Connection is a list of nothing", get(b"Connection: , ,"), _9110 + "5.6.1"),
    Case("close", get(b"Connection: close"), _9112 + "9.6", closes=True),
    Case("close among others", get(b"Connection: x, close, X-Forwarded-For"), _9112 + "9.6", closes=True),
    Case(
        "proxy's credentials",
        get(b"Proxy-Authorization: Basic x", b"Proxy-Connection: keep-alive", b"TE: trailers"),
        _9110 + "7.6.1",
    ),
]

HANDSHAKES = [
    Case("nothing odd", shake(), _6455),
    Case(
        "in odd letters",
        shake(b"uPGRADE: WebSocket", b"cONNECTION: uPgRaDe", without=b"Upgrade").replace(
            b"Connection: Upgrade\r\n", b""
        ),
        _6455,
    ),
    Case(
        "Connection names more",
        shake(b"Connection: keep-alive, Upgrade, X-Forwarded-For, Cookie", without=b"Connection"),
        "CVE-2022-31813",
    ),
    Case(
        "Connection names its own fields",
        shake(b"Connection: Upgrade, Sec-WebSocket-Protocol", b"Sec-WebSocket-Protocol: a", without=b"Connection"),
        _9110 + "7.6.1",
    ),
    Case("an empty Upgrade field beside websocket", shake(b"Upgrade:"), _9110 + "5.6.1"),
    Case("a length of nothing", shake(b"Content-Length: 0"), _6455),
    Case("an absolute target", shake(line=b"GET http://example.com/case HTTP/1.1"), _9112 + "3.2.2"),
    Case("a proxy's word", shake(b"X-Forwarded-For: 192.0.2.1", b"X_Forwarded_For: 192.0.2.1"), "PEP 3333"),
    Case("HTTP2-Settings", shake(b"HTTP2-Settings: AAMAAABkAAQAAP__"), "RFC 7540, section 3.2.1"),
]
"""Good handshakes: the origin gets them, and says 101."""
