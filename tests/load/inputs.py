"""Hostile inputs: bytes that are small, legal or nearly so, and dear for whoever follows them one by one (issue 9).

Each is what one connection sends, for ever. ``tests.load.pour`` sends it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.wire.frames import frame
from tests.wire.messages import chunks, handshake, request

MIB = 1 << 20

MASK = b"\x5a\xa5\x0f\xf0"

CONTINUATION, TEXT, BINARY, PING = 0x0, 0x1, 0x2, 0x9

EVER = f"Content-Length: {1 << 50}"

AWAY = "http://127.0.0.1:9"
"""Where nobody listens: the port is reserved for a service that throws everything away (RFC 863)."""


@dataclass(frozen=True)
class Input:
    """What one connection sends.

    unit: sent again and again, behind ``opening``. is_awaited: whether the answer to ``opening`` comes first; then
    ``lead`` is sent once. piece: bytes of a segment; None: as they come. burst: bytes that are sent at once, and
    nothing after them; None: at the rate of the trial. leaves: whether the connection is given up, and another one
    made, as soon as the server has ended its direction. beside: what a second connection sends first, and keeps.
    pulls: connections that ask for ``unit`` together, because it is the answer that is hostile; its bytes are counted
    then. every: seconds between two rounds of that; None: one, which goes on for ever.

    most: milliseconds that the p99 of others' requests may be beside it.

    is_tls, is_handed: how it comes in: over TLS, and to a service that adopts the socket. settings: of the gateway.
    """

    name: str
    unit: bytes
    opening: bytes = b""
    is_awaited: bool = False
    lead: bytes = b""
    piece: int | None = None
    burst: int | None = None
    leaves: bool = False
    beside: bytes = b""
    pulls: int = 0
    every: float | None = None
    most: float = 50.0
    is_tls: bool = False
    is_handed: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def post(target: str, *fields: str) -> bytes:
    return request(f"POST /to/{target}", *(fields or ("Transfer-Encoding: chunked",)))


def get(*fields: str, target: str = "/to/answer") -> bytes:
    return request(f"GET {target}", *fields)


def asking(name: str, unit: bytes, **more: Any) -> Input:
    """Whole requests, pipelined without end."""
    return Input(name, unit, leaves=True, **more)


def repeated(value: str, size: int) -> str:
    """Return a value again and again, of so many characters at most."""
    return value * (size // len(value))


_ODD = b"".join(b"%x\r\n%b\r\n" % (size, b"a" * size) for size in range(1, 16))

_TRAILERS = post("chunked") + b"0\r\n" + b"a:\r\n" * 15000 + b"\r\n"

_TOKENS = repeated("a,", 60000) + "a"

_HOPS = ", ".join(f"10.{n // 250}.{n % 250}.1" for n in range(5000))

BODIES = [
    Input("chunks of 1 byte", b"1\r\na\r\n", post("body")),
    Input("chunks of 1 to 15 bytes", _ODD, post("body")),
    Input("chunks of 1 byte behind zeros", b"0000000000000001\r\na\r\n", post("body")),
    Input("chunks with extensions", b"1;a=b;c=d\r\na\r\n", post("body")),
    Input("chunks of 1 byte, thrown away", b"1\r\na\r\n", post("early")),
    asking("trailers of 4 bytes", _TRAILERS),
    asking("trailers of 4 bytes, thrown away", _TRAILERS.replace(b"/to/chunked", b"/to/early")),
    Input("body in segments of 1 byte", b"a" * 4096, post("body", EVER), piece=1),
    Input("chunks in segments of 1 byte", b"1\r\na\r\n", post("body"), piece=1),
    asking("whole bodies of 1 chunk", post("chunked") + chunks(b"a")),
]

HEADS = [
    asking("head in segments of 1 byte", get("X-Long: " + "a" * 60000), piece=1),
    asking("128 fields", get(*(f"X-{n}: {n}" for n in range(126)))),
    asking("128 fields of one name", get(*["X-Same: a"] * 126)),
    asking("Connection of 60 KB", get("Connection: " + _TOKENS)),
    asking("TE of 60 KB", get("Connection: TE", "TE: " + _TOKENS)),
    asking("Upgrade of 60 KB", get("Connection: Upgrade", "Upgrade: " + _TOKENS)),
    asking("Sec-WebSocket-Protocol of 60 KB", handshake("/to/answer", "Sec-WebSocket-Protocol: " + _TOKENS)),
    asking("Sec-WebSocket-Extensions of 60 KB", handshake("/to/answer", "Sec-WebSocket-Extensions: " + _TOKENS)),
    asking("Cookie of 60 KB", get("Cookie: " + repeated("a=b; ", 60000))),
    asking("Origin of 60 KB", handshake("/to/answer", "Origin: http://" + "a." * 30000)),
    asking("path of %25", get(target="/to/answer?" + "a" + "/" + repeated("%25", 16000))),
    asking("path of %25, no query", get(target="/to/answer/" + repeated("%25", 16000))),
    asking("path of dots and slashes", get(target="/to/answer/" + repeated("./../", 16000))),
    asking("query of 8,000 parameters", get(target="/to/answer?" + repeated("a&", 16000))),
    asking(
        "X-Forwarded-For of 5,000 trusted hops",
        get("X-Forwarded-For: " + _HOPS),
        settings={"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"]},
    ),
    Input("leading line ends", b"\r\n"),
    asking("tiny GETs", b"GET /to/answer HTTP/1.1\r\nHost: a\r\n\r\n"),
]

REFUSED = [
    asking("refused requests: 400", b"GET / HTTP/1.1\r\n\r\n"),
    asking(
        "refused requests: 429",
        handshake("/to/answer"),
        beside=handshake("/to/answer"),
        settings={"limits": {"websockets_per_client": 1}},
    ),
    asking("refused requests: 403", handshake("/to/answer", "Origin: http://elsewhere.example")),
    asking(
        "refused requests: 503",
        post("answer", "Content-Length: 0"),
        settings={"upstreams": {"ws": AWAY}, "timeouts": {"hold": 0}},
    ),
]


def framed(name: str, unit: bytes, **more: Any) -> Input:
    """Frames, through a tunnel."""
    return Input(name, unit, handshake("/to/read"), is_awaited=True, **more)


_EMPTY = frame(BINARY, mask=bytes(4))

FRAMES = [
    framed("empty frames", _EMPTY),
    framed("unmasked empty frames", frame(BINARY)),
    framed(
        "fragments of 1 byte",
        frame(CONTINUATION, b"a", fin=False, mask=MASK),
        lead=frame(TEXT, b"a", fin=False, mask=MASK),
    ),
    framed("messages of 1 byte", frame(TEXT, b"a", mask=MASK)),
    framed("empty pings", frame(PING, mask=MASK)),
    framed("pings of 125 bytes", frame(PING, b"a" * 125, mask=MASK)),
    framed("frames cut at odd places", frame(TEXT, b"abc", mask=MASK), piece=7),
    framed("one burst of empty frames", _EMPTY, burst=4 * MIB),
]


def commanded(name: str, *commands: str, **more: Any) -> Input:
    """Messages to the hub, of a client that comes back when it is disconnected."""
    return to_hub(name, frame(TEXT, "\n".join(commands).encode(), mask=MASK), **more)


def to_hub(name: str, unit: bytes, **more: Any) -> Input:
    """Frames to the hub, likewise."""
    opening, lead = handshake("/connection/websocket"), frame(TEXT, b'{"id":1,"connect":{}}', mask=MASK)
    name = f"to the hub: {name}"
    return Input(name, unit, opening, is_awaited=True, lead=lead, leaves=True, is_handed=True, **more)


def published(data: str) -> str:
    return '{"id":2,"publish":{"channel":"a","data":' + data + "}}"


HUB = [
    commanded("pongs", "{}"),
    commanded("1,000 pongs in a message", *["{}"] * 1000),
    commanded("refused subscriptions", '{"id":2,"subscribe":{"channel":"a"}}'),
    commanded("lists of 60 KB", published("[" + repeated("[],", 60000) + "1]")),
    commanded("60,000 lists in one another", published("[" * 60000)),
    commanded("texts of 60 KB, all escapes", published('"' + repeated('\\"', 60000) + '"')),
    commanded("objects of 60 KB", published("[" + repeated('{"a":1},', 60000) + "1]")),
    commanded("one burst of pongs", "{}", burst=4 * MIB),
    to_hub("empty pings", frame(PING, mask=MASK)),
    to_hub(
        "fragments of 1 byte",
        frame(TEXT, b"a", fin=False, mask=MASK)
        + frame(CONTINUATION, b"a", fin=False, mask=MASK) * 1000
        + frame(CONTINUATION, mask=MASK),
    ),
]


def over_tls(given: Input) -> Input:
    return Input(**{**vars(given), "name": given.name + ", TLS", "is_tls": True})


def handed_over(given: Input) -> Input:
    return Input(
        **{**vars(given), "name": given.name + ", handed over", "opening": handshake("/drop"), "is_handed": True}
    )


def at_once(given: Input) -> Input:
    """As fast as it is taken: a loop that reads on as long as there is something has nothing else to do.

    The sender takes a core for itself then, and so does the process that reads: the bound is for two cores in all.
    """
    name = given.name + ", as fast as they are taken"
    return Input(**{**vars(given), "name": name, "burst": 64 * MIB, "most": 250.0})


def again(given: Input) -> Input:
    """Of a client that does not stay to be thrown away."""
    return Input(**{**vars(given), "name": given.name + ", again when refused", "leaves": True})


ANSWERS = [
    Input("answer in chunks of 1 byte", get(target="/to/chunks/1/{amount}/{rate}"), pulls=1),
    Input("40 answers of 10,900 fields", get(target="/to/fields/10900"), pulls=40, every=1.3),
]

INPUTS: dict[str, Input] = {
    given.name: given
    for given in [
        *BODIES,
        *HEADS,
        *REFUSED,
        *FRAMES,
        again(BODIES[0]),
        again(BODIES[3]),
        *map(at_once, [BODIES[0], HEADS[-1], FRAMES[0], FRAMES[4]]),
        handed_over(at_once(FRAMES[0])),
        handed_over(at_once(FRAMES[4])),
        *map(over_tls, [BODIES[0], FRAMES[0], FRAMES[2], FRAMES[-1]]),
        *map(handed_over, FRAMES),
        *HUB,
        *ANSWERS,
    ]
}
