"""One client that makes others hold things, in a process of its own.

``python -m tests.load.holds PORT ADMIN_PORT SERVICE_PORT PACE KIND=COUNT...``: so many connections of each kind, all
from one address; PACE handshakes a second after the first hundred, 0 for as many as there are. Prints ``ready`` once
all have come; goes on until its input ends, and says what it has done (JSON).

Nothing is read that need not be, and the kernel may take as little as it can for us: what is held is held by others.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import sys
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvloop

from tests.load.inputs import AWAY, EVER, MASK, MIB
from tests.wire.frames import frame
from tests.wire.messages import chunks, handshake, request

CONTINUATION, TEXT, BINARY, PING = 0x0, 0x1, 0x2, 0x9

DEFLATED = 4
"""RSV1 (RFC 7692, section 6)."""

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"

RECEIVE_BUFFER = 4096

AT_ONCE = 100
"""Handshakes that need not be paced."""

TIMEOUT = 20.0
"""Seconds for a connection, and for an answer to a handshake."""

DIALLING = 64
"""Connections that are opened at a time: below every backlog."""


class Refused(Exception):
    """It was not let in."""


class Visit:
    """One client with its connections. port: of the gateway, then of its admin listener and of the service.

    pace: handshakes a second; 0 for any number.
    """

    def __init__(self, port: int, admin_port: int, service_port: int, pace: float) -> None:
        self._pace = pace
        self.port, self.admin_port, self.service_port = port, admin_port, service_port
        self.sent = self.refused = 0
        self.expected = 0
        self.are_all_here = asyncio.Event()
        self.kept: list[socket.socket] = []
        self.transports: list[asyncio.Transport] = []
        self._gate = asyncio.Semaphore(DIALLING)
        self._only = asyncio.Lock()
        self._has_taken = False
        self._shaken = 0
        self._loop = asyncio.get_running_loop()

    async def dial(self, port: int | None = None) -> socket.socket:
        """Connect. port: None for the gateway's."""
        sock = socket.socket()
        self.kept.append(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        async with self._gate:
            await self._loop.sock_connect(sock, ("127.0.0.1", self.port if port is None else port))
        self.arrive()
        return sock

    def arrive(self) -> None:
        """Count one more connection."""
        self.expected -= 1
        if self.expected <= 0:
            self.are_all_here.set()

    async def their_turn(self) -> None:
        """Wait until one handshake more is within what a client may have each second."""
        self._shaken += 1
        if self._pace:
            await asyncio.sleep(max(0, self._shaken - AT_ONCE) / self._pace)

    async def send(self, sock: socket.socket, data: bytes) -> None:
        """Send all of it, as long as it takes. Raises Refused when nobody takes it."""
        view = memoryview(data)
        try:
            while view:
                piece = view[: 1 << 16]
                await self._loop.sock_sendall(sock, piece)
                self.sent += len(piece)
                view = view[len(piece) :]
        except OSError as error:
            raise Refused(repr(error)) from None

    async def push(self, sock: socket.socket, data: bytes, *, most: int = 1 << 60) -> None:
        """Send it again and again, up to so many bytes."""
        data *= max(1, (1 << 16) // len(data))
        for _ in range(-(-most // len(data))):
            await self.send(sock, data)

    async def shake(self, target: str, *fields: str) -> socket.socket:
        """Open a WebSocket, at a pace at which one client may. Raises Refused."""
        await self.their_turn()
        sock = await self.dial()
        await self.send(sock, handshake(target, *fields))
        head = b""
        async with asyncio.timeout(TIMEOUT):
            while not head.endswith(b"\r\n\r\n"):
                data = await self._loop.sock_recv(sock, 1)  # nothing of what comes after it
                if not data:
                    raise Refused("it was closed")
                head += data
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Refused(head.decode("latin-1"))
        return sock

    async def take_the_only_websocket(self, target: str) -> None:
        """Open one WebSocket, and wait until it is there, whoever asks for it first."""
        async with self._only:
            if not self._has_taken:
                self._has_taken = True
                self.expected += 1
                await self.shake(target)

    def held(self) -> int:
        """Return how many connections are open still."""
        return sum(map(_is_open, self.kept)) + sum(not transport.is_closing() for transport in self.transports)

    def leave(self) -> None:
        """Close everything."""
        for sock in self.kept:
            sock.close()
        for transport in self.transports:
            transport.abort()


def _is_open(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


Act = Callable[[Visit], Awaitable[None]]
"""What one connection does. Returns when it has nothing more to do but to stay."""


@dataclass(frozen=True)
class Kind:
    """What each connection of a row does. count: of them, as many as one client may have. seconds: it is watched.

    needs: ``tls``, ``service`` (only then there is one), ``unread log`` (the gateway's). settings: of the gateway.
    """

    name: str
    act: Act
    count: int = 1000
    seconds: float = 3.0
    needs: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict)


# -- what the gateway holds


async def silent(visit: Visit) -> None:
    await visit.dial()


async def silent_to_admin(visit: Visit) -> None:
    await visit.dial(visit.admin_port)


async def silent_to_service(visit: Visit) -> None:
    await visit.dial(visit.service_port)


async def half_head(visit: Visit, port: int | None = None) -> None:
    head = request("GET /to/answer?" + "a" * 16000, *(f"X-{n}: {'a' * 500}" for n in range(120)))
    await visit.send(await visit.dial(port), head[:-2])


async def half_head_to_admin(visit: Visit) -> None:
    await half_head(visit, visit.admin_port)


async def half_head_to_service(visit: Visit) -> None:
    await half_head(visit, visit.service_port)


async def download(visit: Visit) -> None:
    await visit.send(await visit.dial(), request("GET /to/download"))


async def answers(visit: Visit, unit: bytes) -> None:
    await visit.push(await visit.dial(), unit)


async def answers_429(visit: Visit) -> None:
    """Pipeline handshakes of a client that has all the WebSockets that it may have."""
    await visit.take_the_only_websocket("/to/read")
    await answers(visit, handshake("/to/read"))


async def answers_403(visit: Visit) -> None:
    await answers(visit, handshake("/echo", "Origin: http://elsewhere.example"))


async def answers_503(visit: Visit) -> None:
    await answers(visit, request("POST /to/answer", "Content-Length: 0"))


async def answers_200(visit: Visit) -> None:
    await answers(visit, request("GET /to/answer"))


async def half_body(visit: Visit) -> None:
    await visit.send(await visit.dial(), request("POST /to/body", "Content-Length: 100") + b"a")


async def half_body_of_64_kib(visit: Visit) -> None:
    await visit.send(await visit.dial(), request("POST /to/body", "Content-Length: 65536") + b"a" * 65000)


async def half_chunked(visit: Visit) -> None:
    await visit.send(await visit.dial(), request("POST /to/body", "Transfer-Encoding: chunked") + b"1\r\na\r\n")


async def long_body(visit: Visit) -> None:
    await visit.push(await _body_that_is_not_read(visit, EVER), b"a" * 65536)


async def long_chunked(visit: Visit) -> None:
    sock = await _body_that_is_not_read(visit, "Transfer-Encoding: chunked")
    await visit.push(sock, chunks(b"a" * 4096).removesuffix(b"0\r\n\r\n"))


async def _body_that_is_not_read(visit: Visit, framing: str) -> socket.socket:
    sock = await visit.dial()
    await visit.send(sock, request("POST /to/never", framing))
    return sock


async def pipelined(visit: Visit) -> None:
    sock = await visit.dial()
    await visit.send(sock, request("GET /to/never"))
    await visit.push(sock, request("GET /to/answer"))


_LARGE = request("GET /to/answer?" + "a" * 16000, *(f"X-{n}: {'a' * 500}" for n in range(120)))


async def held(visit: Visit) -> None:
    await visit.push(await visit.dial(), _LARGE)


async def slow_requests(visit: Visit) -> None:
    await visit.push(await visit.dial(), _LARGE.replace(b"/to/answer", b"/to/never", 1))


async def logged(visit: Visit) -> None:
    sock = await visit.dial()
    loop = asyncio.get_running_loop()
    while True:
        await visit.send(sock, request("GET /to/answer?" + "%1b" * 5300))
        if not await loop.sock_recv(sock, 65536):
            raise Refused("it was closed")


# -- TLS


def _hello(size: int) -> bytes:
    """Return a ClientHello (RFC 8446, section 4.1.2) of about so many bytes, without its last ten."""
    suites = b"\x13\x01" * min(32767, max(1, size // 4))
    rest = size - len(suites)
    extension = b"\x00\x15" + min(65531, max(0, rest)).to_bytes(2, "big") + bytes(min(65531, max(0, rest)))  # padding
    body = b"\x03\x03" + bytes(32) + b"\x00" + len(suites).to_bytes(2, "big") + suites + b"\x01\x00"
    body += len(extension).to_bytes(2, "big") + extension
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    pieces = [message[at : at + 16384] for at in range(0, len(message), 16384)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)[:-10]


async def hello_of_130_kb(visit: Visit) -> None:
    await visit.send(await visit.dial(), _hello(130000))


async def hello_of_15_kb(visit: Visit) -> None:
    await visit.send(await visit.dial(), _hello(15000))


async def hello_in_tiny_records(visit: Visit) -> None:
    message = _hello(15000)[5:]
    records = b"".join(b"\x16\x03\x01\x00\x01" + message[at : at + 1] for at in range(len(message)))
    await visit.send(await visit.dial(), records)


async def greeted(visit: Visit) -> None:
    """Shake hands, and say nothing."""
    await _over_tls(visit)


async def unread_over_tls(visit: Visit) -> None:
    transport = await _over_tls(visit)
    transport.pause_reading()
    transport.write(request("GET /to/download"))


async def _over_tls(visit: Visit) -> asyncio.Transport:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", visit.port, ssl=context)
    except OSError as error:
        raise Refused(repr(error)) from None
    visit.transports.append(transport)
    visit.arrive()
    return transport


# -- tunnels


async def flooded_tunnel(visit: Visit) -> None:
    await visit.shake("/to/flood")


async def tunnel_whose_upstream_does_not_read(visit: Visit) -> None:
    await visit.push(await visit.shake("/to/never"), frame(BINARY, bytes(65536), mask=MASK))


# -- handed over


def _deflated(size: int) -> bytes:
    """Return a message of so many zeros, deflated."""
    deflate = zlib.compressobj(wbits=-15)
    return (deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


_MESSAGE = frame(BINARY, _deflated(MIB), rsv=DEFLATED, mask=MASK)

_FRAGMENT = frame(BINARY, _deflated(30 * MIB), fin=False, rsv=DEFLATED, mask=MASK)


async def idle_with_deflate(visit: Visit) -> None:
    sock = await visit.shake("/echo", DEFLATE)
    await visit.send(sock, frame(TEXT, _deflated(1000), rsv=DEFLATED, mask=MASK))


async def unfinished_deflated(visit: Visit) -> None:
    await visit.send(await visit.shake("/drop", DEFLATE), _FRAGMENT)


async def unfinished(visit: Visit) -> None:
    sock = await visit.shake("/drop")
    await visit.send(sock, frame(BINARY, bytes(65536), fin=False, mask=MASK))
    await visit.push(sock, frame(CONTINUATION, bytes(65536), fin=False, mask=MASK), most=30 * MIB)


async def unread_messages(visit: Visit) -> None:
    await visit.push(await visit.shake("/deaf"), frame(BINARY, bytes(60000), mask=MASK))


async def unread_deflated(visit: Visit) -> None:
    await visit.push(await visit.shake("/deaf", DEFLATE), _MESSAGE)


async def pings(visit: Visit) -> None:
    await visit.push(await visit.shake("/drop"), frame(PING, b"a" * 125, mask=MASK))


async def flooded_by_endpoint(visit: Visit) -> None:
    await visit.shake("/flood", DEFLATE)


async def parked(visit: Visit) -> None:
    await visit.their_turn()
    sock = await visit.dial()
    await visit.send(sock, handshake("/never", DEFLATE))
    await visit.push(sock, frame(BINARY, bytes(60000), mask=MASK), most=MIB)


# -- the hub


async def _hub(visit: Visit, *commands: str) -> socket.socket:
    sock = await visit.shake("/connection/websocket")
    await visit.send(sock, _text('{"id":1,"connect":{}}', *commands))
    return sock


def _text(*commands: str) -> bytes:
    return frame(TEXT, "\n".join(commands).encode(), mask=MASK)


def _subscribe(topic: str) -> str:
    return '{"id":2,"subscribe":{"channel":"open:' + topic + '"}}'


_PUBLISH = _text('{"id":3,"publish":{"channel":"open:a","data":"' + "a" * 60000 + '"}}')

_HISTORY = _text('{"id":4,"history":{"channel":"open:a","limit":300}}')


async def subscribed_to_many(visit: Visit) -> None:
    topics = [f"{id(visit.dial) ^ number}-{visit._shaken}" for number in range(128)]
    await _hub(visit, *map(_subscribe, topics))


async def unread_publications(visit: Visit) -> None:
    sock = await _hub(visit, _subscribe("a"))
    for _ in range(40):
        await visit.send(sock, _PUBLISH)
        await asyncio.sleep(1)


async def unread_histories(visit: Visit) -> None:
    sock = await _hub(visit, _subscribe("a"))
    await visit.push(sock, _PUBLISH, most=20 * len(_PUBLISH))
    await visit.push(sock, _HISTORY)


async def unfinished_commands(visit: Visit) -> None:
    sock = await _hub(visit)
    await visit.push(sock, frame(TEXT, b"{" * 1000, fin=False, mask=MASK)[:1000], most=60000)


TLS, SERVICE, UNREAD_LOG = "tls", "service", "unread log"


def _kind(name: str, act: Act, *needs: str, **more: Any) -> Kind:
    return Kind(name, act, needs=frozenset(needs), **more)


_AWAY = {"upstreams": {"dash": AWAY}}
_AT_ONCE = {**_AWAY, "timeouts": {"hold": 0}}

_ONE_WEBSOCKET = {"limits": {"websockets_per_client": 1}}

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in [
        _kind("silent connections", silent),
        _kind("half heads of 80 KB", half_head),
        _kind("unread downloads", download),
        _kind("unread answers: 200", answers_200, count=50, seconds=20),
        _kind("unread answers: 403", answers_403, SERVICE, count=50, seconds=20),
        _kind("unread answers: 429", answers_429, count=50, seconds=20, settings=_ONE_WEBSOCKET),
        _kind("unread answers: 503", answers_503, count=50, seconds=20, settings=_AT_ONCE),
        _kind("half bodies of 100 bytes", half_body),
        _kind("half bodies of 64 KiB", half_body_of_64_kib),
        _kind("half chunked bodies", half_chunked),
        _kind("long bodies that Dash does not read", long_body, seconds=6),
        _kind("long chunked bodies that Dash does not read", long_chunked, seconds=6),
        _kind("requests after one that Dash does not answer", pipelined),
        _kind("requests of 80 KB that Dash does not answer", slow_requests, seconds=6),
        _kind("requests of 80 KB held for Dash", held, settings=_AWAY, seconds=6),
        _kind("lines of 16 KB for a log that is not read", logged, UNREAD_LOG, count=50, seconds=6),
        _kind("TLS hellos of 130 KB, unfinished", hello_of_130_kb, TLS),
        _kind("TLS hellos of 15 KB, unfinished", hello_of_15_kb, TLS),
        _kind("TLS hellos in records of 1 byte, unfinished", hello_in_tiny_records, TLS),
        _kind("silent after a TLS handshake", greeted, TLS),
        _kind("unread downloads over TLS", unread_over_tls, TLS, seconds=6),
        _kind("tunnels whose client does not read", flooded_tunnel, seconds=6),
        _kind("tunnels whose upstream does not read", tunnel_whose_upstream_does_not_read, seconds=6),
        _kind("handed over: idle with deflate", idle_with_deflate, SERVICE),
        _kind("handed over: unfinished messages of 30 MiB, deflated", unfinished_deflated, SERVICE, seconds=6),
        _kind("handed over: unfinished messages of 30 MiB", unfinished, SERVICE, seconds=20),
        _kind("handed over: messages that the endpoint does not receive", unread_messages, SERVICE, seconds=6),
        _kind("handed over: the same, deflated", unread_deflated, SERVICE, seconds=6),
        _kind("handed over: unread pongs", pings, SERVICE, count=100, seconds=12),
        _kind("handed over: unread messages of the endpoint", flooded_by_endpoint, SERVICE, seconds=6),
        _kind("handed over: handshakes that are not accepted", parked, SERVICE, seconds=6),
        _kind("the hub: 128 topics", subscribed_to_many, SERVICE, seconds=6),
        _kind("the hub: unread publications", unread_publications, SERVICE, count=200, seconds=15),
        _kind("the hub: unread histories", unread_histories, SERVICE, seconds=6),
        _kind("the hub: unfinished commands", unfinished_commands, SERVICE, seconds=6),
        _kind("silent connections to the admin port", silent_to_admin, count=1100),
        _kind("half heads to the admin port", half_head_to_admin, count=1100),
        _kind("silent connections to the service's port", silent_to_service, SERVICE, count=1100),
        _kind("half heads to the service's port", half_head_to_service, SERVICE, count=1100),
    ]
}

MIX = {
    "silent connections": 100,
    "half heads of 80 KB": 100,
    "unread downloads": 150,
    "unread answers: 200": 50,
    "unread answers: 403": 50,
    "half bodies of 64 KiB": 100,
    "long chunked bodies that Dash does not read": 100,
    "requests of 80 KB that Dash does not answer": 100,
    "tunnels whose client does not read": 100,
    "tunnels whose upstream does not read": 100,
    "handed over: idle with deflate": 200,
    "handed over: unfinished messages of 30 MiB, deflated": 150,
    "handed over: the same, deflated": 150,
    "handed over: unread pongs": 50,
    "handed over: unread messages of the endpoint": 150,
    "handed over: handshakes that are not accepted": 50,
}
"""Everything at once: as many connections and WebSockets as one client may have."""


async def main(port: str, admin_port: str, service_port: str, pace: str, *kinds: str) -> None:
    """Hold until the input ends."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    visit = Visit(int(port), int(admin_port), int(service_port), float(pace))

    async def do(act: Act) -> None:
        try:
            await act(visit)
        except (Refused, OSError, TimeoutError) as error:  # TLS that is not let in has not arrived
            visit.refused += 1
            if visit.refused == 1:
                print(f"tests.load.holds: the first that was refused: {error}", file=sys.stderr)

    wanted = [KINDS[name].act for name, _, count in (kind.rpartition("=") for kind in kinds) for _ in range(int(count))]
    visit.expected = len(wanted)
    tasks = [
        asyncio.get_running_loop().create_task(do(act), name=f"connection {number}")
        for number, act in enumerate(wanted)
    ]
    loop = asyncio.get_running_loop()
    here = loop.create_task(visit.are_all_here.wait(), name="all have come")
    ending = loop.create_task(asyncio.to_thread(sys.stdin.readline), name="word to leave")
    await asyncio.wait({here, ending}, return_when=asyncio.FIRST_COMPLETED)
    if here.done():
        print("ready", flush=True)
    here.cancel()
    await ending
    seen = {"sent": visit.sent, "refused": visit.refused, "held": visit.held()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    visit.leave()
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
