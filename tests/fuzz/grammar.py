"""What a fuzzed client sends: requests from a grammar and from the hostile corpus, bent, cut, one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tests.wire.hostile import HANDSHAKES, PASSED, REFUSED

CORPUS = [case.raw for case in (*REFUSED, *PASSED, *HANDSHAKES) if b"/case" in case.raw and len(case.raw) < 2000]

METHODS = [
    *[b"GET"] * 6, *[b"POST"] * 3, b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"BREW", b"get", b"PURGE", b"head",
    b"!#$%&'*+-.^_`|~9z",
]  # fmt: skip
PATHS = [
    b"/%b", b"/%b", b"/%b", b"/a/%b?x=1&y", b"//%b", b"/%%2e%%2e/%b", b"/a%%2F..%%2f%b", b"/ws/live/%b", b"/x/../%b",
    b"/%b?http://evil.test/\\", b"http://example.com/%b", b"http://evil.test/%b", b"/a\\%b", b"%b", b"/%b#x",
    b"/%b/_dash-ws-callback", b"/%b/_dash%%2dws-callback", b"/refuse/403/%b", b"/refuse/426/%b", b"/%b\xc3\xa9",
    b"http://example.com:80/%b", b"HTTPS://Example.COM:443/%b", b"http://example.com:/%b?x", b"http://example.com:81/%b",
    b"/%b/connection/uni_sse",
]  # fmt: skip
WEIGHTS = [8, 8, 8, 4, 1, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 3, 2, 3, 2, 1, 1, 1, 1, 1, 1]

FIELDS = [
    b"Accept: */*", b"Cookie: a=b; c=d", b"Connection: keep-alive", b"Connection: close", b"TE: trailers",
    b"X-Forwarded-For: 192.0.2.1", b"X_Forwarded_For: 192.0.2.1", b"X.Forwarded.For: 192.0.2.1",
    b"Connection: X-Forwarded-For, Host, Cookie",
    b"Content-Type: application/json", b"A:", b"A: \xe9", b"X-Request-ID: evil", b"Upgrade: h2c", b"Keep-Alive: 5",
    b"Connection: Upgrade", b"Expect: 100-continue", b"Proxy-Connection: keep-alive", b"Content_Length: 7",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Forwarded: for=x", b"Trailer: X-Sum", b"Upgrade:",
    b"Upgrade: , ,", b"HTTP2-Settings: AAM", b"Expect: 200-ok", b"Connection:", b"Connection: , Upgrade",
    b"Upgrade: websocket", b"TE:",
]  # fmt: skip
BAD_FIELDS = [
    b"Host: evil.test", b"Content-Length: 3", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"A : b", b" A: b",
    b"A: b\r\n c", b"A: b\0", b"A: b\rC: d", b"A", b": b", b"Transfer-Encoding: xchunked", b"Content-Length: +3",
    b"Content-Type: a/b", b"Transfer-Encoding:\x0bchunked", b"A\xe9: b", b"Upgrade: websocket",
]  # fmt: skip
EXTENSIONS = [b"", b"", b"", b"", b";a", b" ;\ta = b", b';a="b;c" ; d', b";", b";a=\n", b' ;a="', b";\rb", b";a ", b" "]
"""The first four are none; those from the eighth on are malformed."""
TRAILERS = [b"", b"", b"", b"X-Sum: 1\r\n", b"Cookie: evil\r\n", b"Host: evil.test\r\n", b"A : b\r\n", b"A: b\n"]
SPECIAL = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b"\r\n\r\n",
    b"0",
    b",",
    b";",
    b"#",
]


@dataclass
class Play:
    """What one client does.

    data: everything it sends. pieces: the same, as it is sent.
    end: ``wait`` for the answers, ``half`` closes its direction after the last byte, ``reset`` leaves without a word.
    """

    data: bytes
    pieces: list[bytes]
    end: str


def write_play(random: Random, number: int) -> Play:
    """Make up what the client of this number does; the same ``random`` makes up the same."""
    parts: list[bytes] = []
    for index in range(random.choices((1, 2, 3, 4), (5, 3, 2, 1))[0]):
        token = b"t%x.%d" % (number, index)  # so that no two requests are the same
        kind = random.random()
        if kind < 0.55:
            parts.append(_request(random, token))
        elif kind < 0.75:
            parts.append(_handshake(random, token))
        else:
            parts.append(random.choice(CORPUS).replace(b"/case", b"/" + token))
        if random.random() < 0.25:
            parts[-1] = _bent(random, parts[-1])
        if random.random() < 0.05:
            parts.append(b"\r\n" * random.randrange(1, 4))
    data = b"".join(parts)
    if random.random() < 0.1:
        data = data[: random.randrange(1, len(data) + 1)]
    end = random.choices(("wait", "half", "reset"), (18, 1, 1))[0]
    return Play(data, _cut(random, data, parts), end)


def _request(random: Random, token: bytes) -> bytes:
    path = random.choices(PATHS, WEIGHTS)[0] % token
    version = random.choices((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0"), (40, 3, 1, 1))[0]
    lines = [b"%b %b %b" % (random.choice(METHODS), path, version), b"Host: example.com"]
    lines += random.choices(FIELDS, k=random.randrange(4)) if random.random() < 0.6 else []
    if version == b"HTTP/1.0" and random.random() < 0.3:
        del lines[1]
    if random.random() < 0.12:
        lines.insert(random.randrange(1, len(lines) + 1), random.choice(BAD_FIELDS))
    body = random.choice((b"", b"abc", b"GET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n", b"0\r\n\r\n", b"x" * 200))
    framing = random.random()
    if framing < 0.3:
        lines.append(
            random.choice((b"Content-Length: %d",) * 4 + (b"Content-Length: 0%d", b"content-length:\t000%d\t"))
            % len(body)
        )
    elif framing < 0.55:
        lines.append(random.choice((b"Transfer-Encoding: chunked",) * 4 + (b"Transfer-Encoding:\tCHUNKED\t ",)))
        body = _chunks(random, body)
    else:
        body = b""
    return b"\r\n".join((*lines, b"", b"")) + body


def _chunks(random: Random, body: bytes) -> bytes:
    out, position = b"", 0
    while position < len(body):
        size = random.randrange(1, len(body) - position + 1)
        said = size if random.random() < 0.97 else random.choice((size + 1, size - 1, 0x10000000000000000 + size))
        written = random.choice((b"%x", b"%x", b"%x", b"%X", b"00%x", b"0" * 20 + b"%x")) % said
        out += (
            written
            + random.choice(EXTENSIONS[: random.choice((len(EXTENSIONS), 7)) if random.random() < 0.3 else 4])
            + b"\r\n"
        )
        out += body[position : position + size] + (b"\r\n" if random.random() < 0.98 else random.choice(SPECIAL))
        position += size
    return out + b"0\r\n" + random.choice(TRAILERS[: 8 if random.random() < 0.3 else 4]) + b"\r\n"


def _handshake(random: Random, token: bytes) -> bytes:
    path = random.choices(PATHS, WEIGHTS)[0] % token
    lines = [
        b"GET %b HTTP/1.1" % path,
        b"Host: example.com",
        b"Upgrade: "
        + random.choice((b"websocket", b"websocket", b"websocket", b"WebSocket", b"h2c", b"websocket, h2c")),
        b"Connection: " + random.choice((b"Upgrade", b"upgrade", b"keep-alive, Upgrade", b"close", b"Upgrade, Host")),
        b"Sec-WebSocket-Version: " + random.choice((b"13", b"13", b"13", b"13", b"8", b"")),
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    if random.random() < 0.2:
        lines.append(random.choice(FIELDS))
    if random.random() < 0.05:
        del lines[random.randrange(1, len(lines))]
    return b"\r\n".join((*lines, b"", b""))


def _bent(random: Random, data: bytes) -> bytes:
    """Change a message in one to three places."""
    for _ in range(random.choice((1, 1, 2, 3))):
        at, what = random.randrange(len(data) + 1), random.random()
        if what < 0.35:
            data = data[:at] + random.choice(SPECIAL) + data[at:]
        elif what < 0.55:
            data = data[:at] + data[at + random.randrange(1, 4) :]
        elif what < 0.7:
            data = data[:at] + bytes((random.randrange(256),)) + data[at + 1 :]
        elif what < 0.85:
            end = min(len(data), at + random.randrange(1, 40))
            data = data[:end] + data[at:end] + data[end:]
        else:
            ends = [index for index in range(len(data) - 1) if data[index : index + 2] == b"\r\n"]
            if ends:
                end = random.choice(ends)
                data = data[:end] + random.choice((b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n ")) + data[end + 2 :]
        data = data or b"\r"
    return data


def _cut(random: Random, data: bytes, parts: list[bytes]) -> list[bytes]:
    """Cut a stream into the packets in which it is sent."""
    how = random.random()
    if how < 0.4:
        return [data]
    if how < 0.6:
        sizes, cuts = 0, set()
        for part in parts:
            sizes += len(part)
            cuts.add(sizes)
    elif how < 0.97:
        cuts = {random.randrange(1, len(data) + 1) for _ in range(random.randrange(1, 5))}
    else:
        start = random.randrange(len(data))
        cuts = set(range(start, min(len(data), start + 40)))
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(places)]
