"""The ways through the gateway. A way that is written later is one more function here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.leases.harness import ClientScript, Play, Way
from tests.leases.peers import Peer
from tests.proxy.listening import HANDSHAKE, SWITCH

MUST_BE_COVERED = frozenset(
    (
        "fast path",
        "ordinary",
        "body in pieces",
        "early answer",
        "event stream",
        "refused handshake",
        "accepted handshake",
        "tunnel",
        "hand-off",
        "auth",
        "hold",
        "queue",
        "reload",
        "drain",
        "service",
    )
)
"""The kinds that issue 9 names."""

WAYS: dict[str, Way] = {}

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = 1 << 20


def way(*kinds: str, **options: Any) -> Callable[[ClientScript], ClientScript]:
    """Register a script as a way of some kinds. options: of ``Way``."""

    def register(script: ClientScript) -> ClientScript:
        name = script.__name__.replace("_", " ")
        WAYS[name] = Way(name, frozenset(kinds), script, **options)
        return script

    return register


# -- the upstream


async def answers(peer: Peer) -> None:
    """Answer each request as its path asks for."""
    while True:
        head = await peer.head()
        path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
        await ANSWERS.get(path, _ok)(peer, head)


Answer = Callable[[Peer, bytes], Any]
ANSWERS: dict[str, Answer] = {}


def answer(path: str) -> Callable[[Answer], Answer]:
    def register(function: Answer) -> Answer:
        ANSWERS[path] = function
        return function

    return register


async def _read_body(peer: Peer, head: bytes) -> None:
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        await peer.until(b"0\r\n\r\n")
    elif b"content-length: " in lower:
        await peer.some(int(lower.partition(b"content-length: ")[2].split(b"\r", 1)[0]))


@answer("/ok")
async def _ok(peer: Peer, head: bytes) -> None:
    await _read_body(peer, head)
    peer.send(OK if not head.startswith(b"HEAD") else OK[:-2])


@answer("/pieces")
async def _pieces(peer: Peer, head: bytes) -> None:
    await _read_body(peer, head)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
    await asyncio.sleep(0)
    peer.send(b"cd")
    await asyncio.sleep(0)
    peer.send(b"ef")


@answer("/early")
async def _early(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
    await peer.rest()


@answer("/events")
async def _events(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3):
        await asyncio.sleep(0)
        peer.send(b"9\r\ndata: a\n\n\r\n")
    await asyncio.sleep(0)
    peer.send(b"0\r\n\r\n")


@answer("/live")
async def _live(peer: Peer, head: bytes) -> None:
    if b"upgrade: websocket" not in head.lower():
        await _ok(peer, head)
        return
    peer.send(SWITCH)
    peer.send(await peer.some(6))
    await peer.rest()


# -- the client


@way("ordinary")
async def get_that_is_not_plain(play: Play) -> None:
    client = await play.connect()
    client.send(b"GET /ok HTTP/1.1\r\nHost: x\r\n")
    await asyncio.sleep(0)
    client.send(b"\r\n")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("early answer", "body in pieces")
async def post_whose_body_nobody_reads(play: Play) -> None:
    client = await play.connect()
    client.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
    play.expect((await client.message()).startswith(b"HTTP/1.1 404"), "no 404")


@way("accepted handshake", "tunnel")
async def handshake_that_is_accepted(play: Play) -> None:
    client = await play.connect()
    client.send(HANDSHAKE)
    play.expect((await client.head()).startswith(b"HTTP/1.1 101"), "no 101")
    client.send(b"\x81\x80abcd")
    play.expect(await client.some(6) == b"\x81\x80abcd", "no echo")
