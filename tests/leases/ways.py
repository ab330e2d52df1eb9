"""The ways through the gateway. A way that is written later is one more function here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.leases import ledger
from tests.leases.harness import CANCELS, ClientScript, Play, Way
from tests.leases.peers import Peer
from tests.leases.services import (
    FakeService,
    FullUpstream,
    HubService,
    RealService,
    ServiceAtOneOfTwo,
    StreamService,
    TwoAddresses,
)
from tests.proxy.listening import SWITCH
from tests.wire.messages import handshake, request

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
        "hub",
        "addresses",
    )
)
"""The kinds that issues 9, 12 and 13 name."""

WAYS: dict[str, Way] = {}

MESSAGE = b"\x81\x82abcd\x09\x0b"
"""A masked text frame of two bytes."""

LARGE_MESSAGE = b"\x82\xfe\xff\x00abcd" + bytes(0xFF00)

CLOSE = b"\x88\x82abcd\x62\x8a"
"""A masked close frame: 1000."""

CLOSE_OF_SERVER = b"\x88\x02\x03\xe8"

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


def answer(*paths: str) -> Callable[[Answer], Answer]:
    def register(function: Answer) -> Answer:
        for path in paths:
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
    await peer.turns()
    peer.send(b"cd")
    await peer.turns()
    peer.send(b"ef")


@answer("/early")
async def _early(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
    await peer.rest()


@answer("/early-large")
async def _early_large(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: %d\r\n\r\n" % LARGE + bytes(LARGE))
    await peer.rest()


@answer("/events")
async def _events(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3):
        await peer.turns()
        peer.send(b"9\r\ndata: a\n\n\r\n")
    await peer.turns()
    peer.send(b"0\r\n\r\n")


@answer("/events-without-end")
async def _events_without_end(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.send(b"9\r\ndata: a\n\n\r\n")
    await peer.rest()


@answer("/gated")
async def _gated(peer: Peer, head: bytes) -> None:
    await peer.gate()
    await _ok(peer, head)


@answer("/never", "/ask-never")
async def _never(peer: Peer, head: bytes) -> None:
    await peer.rest()


@answer("/large")
async def _large(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + bytes(LARGE))


@answer("/until-close")
async def _until_close(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
    await peer.turns()
    peer.send(b"more")
    peer.end()


@answer("/interim")
async def _interim(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    await peer.turns()
    await _ok(peer, head)


@answer("/continue")
async def _continue(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await _ok(peer, head)


@answer("/nonsense")
async def _nonsense(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 what\r\n\r\n")


@answer("/cut")
async def _cut(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await peer.turns()
    peer.end()


@answer("/live")
async def _live(peer: Peer, head: bytes) -> None:
    if b"upgrade: websocket" not in head.lower():
        await _ok(peer, head)
        return
    peer.send(SWITCH)
    while (frame := await peer.some(8)) != CLOSE:
        peer.send(frame)
    peer.send(CLOSE_OF_SERVER)
    peer.end()


@answer("/live-echoes")
async def _live_echoes(peer: Peer, head: bytes) -> None:
    peer.send(SWITCH)
    while True:
        peer.send(await peer.some(len(LARGE_MESSAGE)))


@answer("/live-closes")
async def _live_closes(peer: Peer, head: bytes) -> None:
    peer.send(SWITCH + CLOSE_OF_SERVER)
    await peer.some(8)
    peer.end()


@answer("/live-vanishes")
async def _live_vanishes(peer: Peer, head: bytes) -> None:
    peer.send(SWITCH)
    await peer.some(8)
    peer.reset()


@answer("/live-resets")
async def _live_resets(peer: Peer, head: bytes) -> None:
    peer.send(SWITCH)
    await peer.some(8)
    peer.send(CLOSE_OF_SERVER)
    peer.reset()


@answer("/early-resets")
async def _early_resets(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
    peer.reset()


@answer("/live-refused")
async def _live_refused(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n")
    await peer.turns()
    peer.send(b"no")


@answer("/live-wrong")
async def _live_wrong(peer: Peer, head: bytes) -> None:
    peer.send(SWITCH.replace(b"Accept: ", b"Accept: x"))
    await peer.rest()


@answer("/ask")
async def _ask(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nX-User: a\r\nContent-Length: 2\r\n\r\n")
    await peer.turns()
    peer.send(b"ok")


@answer("/api/status")
async def _status(peer: Peer, head: bytes) -> None:
    body = (
        b'{"topics": {"total": 1, "rows": [{"topic": "told", "subscribers": 1}]}, "sockets": {"total": 0, "rows": []}}'
    )
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:20])
    await peer.turns()
    peer.send(body[20:])


@answer("/ask-no")
async def _ask_no(peer: Peer, head: bytes) -> None:
    peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n")
    await peer.turns()
    peer.send(b"no")


# -- the client: plain HTTP


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    return request(f"{method} {path}", *fields, host="x")


async def _ask_for(play: Play, request: bytes, status: int, *, client: Peer | None = None) -> Peer:
    """Send a request in two packets, which the fast path leaves to the ordinary one, and read the answer."""
    client = client or await play.connect()
    client.send(request[:10])
    await play.quiet()
    client.send(request[10:])
    found = await client.message()
    play.expect(found.startswith(b"HTTP/1.1 %d" % status), found)
    return client


async def _fast(play: Play, *requests: bytes) -> list[bytes]:
    """Send requests for which there is an idle connection to the upstream; return the answers."""
    client = await play.connect()
    client.send(get("/ok"))
    await client.message()
    await play.quiet()
    found = []
    for sent in requests:
        client.send(sent)
        found.append(await client.message())
        play.expect(found[-1].startswith(b"HTTP/1.1 200"), found)
    return found


@way("fast path")
async def fast_get(play: Play) -> None:
    await _fast(play, get("/ok"), get("/ok"))


@way("fast path")
async def fast_post(play: Play) -> None:
    await _fast(play, get("/ok", "Content-Type: application/json", "Content-Length: 2", method="POST") + b"{}")


@way("fast path")
async def fast_get_whose_answer_comes_in_pieces(play: Play) -> None:
    await _fast(play, get("/pieces"))


@way("fast path", "event stream")
async def fast_get_that_goes_on_in_a_task(play: Play) -> None:
    await _fast(play, get("/events"))


@way("fast path")
async def fast_get_whose_upstream_takes_too_long(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok"))
    await client.message()
    await play.quiet()
    client.send(get("/gated"))
    await play.quiet()
    play.rig.dash.open()
    await client.message()


@way("ordinary")
async def ordinary_get(play: Play) -> None:
    client = await _ask_for(play, get("/ok"), 200)
    await _ask_for(play, get("/pieces"), 200, client=client)


@way("ordinary")
async def head_request(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", method="HEAD"))
    play.expect((await client.head()).startswith(b"HTTP/1.1 200"), "no 200")


@way("ordinary")
async def whole_post(play: Play) -> None:
    await _ask_for(play, get("/ok", "Content-Length: 2", method="POST") + b"{}", 200)


@way("ordinary")
async def client_of_http_1_0(play: Play) -> None:
    client = await play.connect()
    client.send(b"GET /until-close HTTP/1.0\r\n\r\n")
    play.expect(b"somemore" in await client.rest(), "not all of it")


@way("ordinary")
async def answer_until_close(play: Play) -> None:
    await _ask_for(play, get("/until-close"), 200)


@way("ordinary")
async def interim_answers(play: Play) -> None:
    client = await play.connect()
    client.send(get("/interim"))
    play.expect((await client.head()).startswith(b"HTTP/1.1 103"), "no 103")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("ordinary")
async def answer_that_is_cut(play: Play) -> None:
    client = await play.connect()
    client.send(get("/cut"))
    play.expect((await client.rest()).endswith(b"half"), "not what there was")


@way("ordinary")
async def answer_that_is_no_http(play: Play) -> None:
    await _ask_for(play, get("/nonsense"), 502)


@way("ordinary", values={"timeouts": {"response": "30ms"}})
async def upstream_that_never_answers(play: Play) -> None:
    await _ask_for(play, get("/never"), 504)


@way("ordinary", values={"buffer": "4KiB"})
async def download_by_a_client_that_sleeps(play: Play) -> None:
    client = await play.connect(small=True)
    client.send(get("/large"))
    await client.head()
    client.stop_reading()
    await play.quiet()
    client.read_on()
    await client.some(LARGE)


@way("ordinary", values={"buffer": "4KiB", "timeouts": {"send": "100ms"}}, actions=("client resets", "upstream resets"))
async def download_by_a_client_that_never_wakes(play: Play) -> None:
    client = await play.connect(small=True)
    client.send(get("/large"))
    await client.head()
    client.stop_reading()
    await play.when(lambda: not play.in_flight)


@way("body in pieces")
async def post_in_pieces(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Content-Length: 6", method="POST"))
    for piece in (b"ab", b"cd", b"ef"):
        await play.quiet()
        client.send(piece)
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("body in pieces")
async def post_in_chunks(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Transfer-Encoding: chunked", method="POST") + b"2\r\nab\r\n")
    await play.quiet()
    client.send(b"2\r\ncd\r\n")
    await play.quiet()
    client.send(b"0\r\n\r\n")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("body in pieces")
async def post_that_waits_for_100(play: Play) -> None:
    client = await play.connect()
    client.send(get("/continue", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    play.expect((await client.head()).startswith(b"HTTP/1.1 100"), "no 100")
    client.send(b"{}")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("body in pieces")
async def upload_that_is_left_half_way(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Content-Length: 100", method="POST") + b"x")
    await play.quiet()
    client.reset()


@way("body in pieces", values={"timeouts": {"body": "30ms"}})
async def upload_that_stops_coming(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Content-Length: 100", method="POST") + b"x")
    play.expect((await client.message()).startswith(b"HTTP/1.1 408"), "no 408")


@way("body in pieces", values={"buffer": "4KiB"})
async def upload_that_the_upstream_does_not_read(play: Play) -> None:
    client = await play.connect()
    client.send(get("/gated", f"Content-Length: {LARGE}", method="POST"))
    await play.quiet()
    client.send(bytes(LARGE))
    await play.quiet()
    play.rig.dash.open()
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("body in pieces")
async def chunks_that_are_none(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Transfer-Encoding: chunked", method="POST") + b"2\r\nab\r\n")
    await play.quiet()
    client.send(b"what\r\n")
    play.expect((await client.message()).startswith(b"HTTP/1.1 400"), "no 400")


@way("body in pieces", values={"limits": {"body": "1KiB", "handshakes_per_second": None}})
async def chunks_that_are_too_much(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Transfer-Encoding: chunked", method="POST") + b"2\r\nab\r\n")
    await play.quiet()
    client.send(b"800\r\n" + bytes(2048) + b"\r\n")
    play.expect((await client.message()).startswith(b"HTTP/1.1 413"), "no 413")


@way("early answer", "body in pieces")
async def post_whose_body_is_not_read(play: Play) -> None:
    client = await play.connect()
    client.send(get("/early", "Content-Length: 100", method="POST") + b"x")
    play.expect((await client.message()).startswith(b"HTTP/1.1 404"), "no 404")


@way("early answer", "body in pieces")
async def post_whose_client_leaves_on_the_first_byte_of_the_answer(play: Play) -> None:
    client = await play.connect()
    client.send(get("/early", "Content-Length: 100", method="POST") + b"x")
    await client.some(1)
    client.reset()


@way("early answer", "body in pieces", values={"buffer": "4KiB"})
async def large_early_answer(play: Play) -> None:
    client = await play.connect(small=True)
    client.send(get("/early-large", "Content-Length: 100", method="POST") + b"x")
    play.expect((await client.message()).startswith(b"HTTP/1.1 413"), "no 413")


@way("early answer", "body in pieces")
async def early_answer_and_the_rest_of_the_body(play: Play) -> None:
    client = await play.connect()
    client.send(get("/early", "Content-Length: 3", method="POST") + b"x")
    play.expect((await client.message()).startswith(b"HTTP/1.1 404"), "no 404")
    client.send(b"yz")
    await client.rest()


@way("early answer", "body in pieces", values={"buffer": "4KiB"})
async def early_answer_before_a_reset(play: Play) -> None:
    client = await play.connect()
    client.send(get("/early-resets", f"Content-Length: {LARGE}", method="POST") + bytes(LARGE // 2))
    play.expect((await client.message()).startswith(b"HTTP/1.1 413"), "no 413")
    client.send(bytes(LARGE // 2))
    await client.rest()


@way("event stream")
async def event_stream(play: Play) -> None:
    await _ask_for(play, get("/events"), 200)


@way("event stream")
async def event_stream_without_an_end(play: Play) -> None:
    client = await play.connect()
    client.send(get("/events-without-end"))
    await client.until(b"data: a\n\n\r\n")
    await play.quiet()
    client.end()


@way("ordinary")
async def two_requests_at_once(play: Play) -> None:
    client = await play.connect()
    client.send(get("/pieces") + get("/ok"))
    for _ in range(2):
        play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("ordinary", "body in pieces")
async def post_and_a_request_behind_it(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Content-Length: 2", method="POST") + b"{")
    await play.quiet()
    client.send(b"}" + get("/ok"))
    for _ in range(2):
        play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("ordinary")
async def unreadable_request(play: Play) -> None:
    client = await play.connect()
    client.send(b"complete nonsense\r\n\r\n and more")
    play.expect((await client.message()).startswith(b"HTTP/1.1 400"), "no 400")


@way("ordinary")
async def refused_request(play: Play) -> None:
    await _ask_for(play, b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400)


@way("ordinary")
async def head_that_is_too_large(play: Play) -> None:
    client = await play.connect()
    client.send(b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n")
    play.expect((await client.message()).startswith(b"HTTP/1.1 414"), "no 414")


@way("ordinary", values={"timeouts": {"head": "30ms"}})
async def head_that_is_late(play: Play) -> None:
    client = await play.connect()
    client.send(b"GET / HTTP/1.1\r\n")
    play.expect((await client.message()).startswith(b"HTTP/1.1 408"), "no 408")


@way("ordinary", values={"limits": {"body": "1KiB", "handshakes_per_second": None}})
async def body_that_is_too_large(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Content-Length: 2048", method="POST") + b"x")
    play.expect((await client.message()).startswith(b"HTTP/1.1 413"), "no 413")


# -- the client: WebSockets


async def _open(play: Play, path: str = "/live") -> Peer:
    client = await play.connect()
    client.send(handshake(path))
    found = await client.head()
    play.expect(found.startswith(b"HTTP/1.1 101"), found)
    return client


@way("accepted handshake", "tunnel")
async def tunnel_that_the_client_closes(play: Play) -> None:
    client = await _open(play)
    for _ in range(2):
        client.send(MESSAGE)
        play.expect(await client.some(8) == MESSAGE, "no echo")
    client.send(CLOSE)
    play.expect(await client.rest() == CLOSE_OF_SERVER, "no close frame")


@way("accepted handshake", "tunnel")
async def tunnel_that_the_upstream_closes(play: Play) -> None:
    client = await _open(play, "/live-closes")
    play.expect(await client.some(4) == CLOSE_OF_SERVER, "no close frame")
    client.send(CLOSE)
    await client.rest()


@way("accepted handshake", "tunnel")
async def tunnel_whose_upstream_vanishes(play: Play) -> None:
    client = await _open(play, "/live-vanishes")
    client.send(MESSAGE)
    play.expect((await client.some(4))[2:4] == b"\x03\xf4", "no 1012")
    client.send(CLOSE)
    await client.rest()


@way("accepted handshake", "tunnel", values={"buffer": "4KiB"})
async def tunnel_whose_upstream_sends_a_close_frame_and_resets(play: Play) -> None:
    client = await _open(play, "/live-resets")
    client.send(LARGE_MESSAGE * 8)
    play.expect(await client.some(4) == CLOSE_OF_SERVER, "no close frame")
    client.send(LARGE_MESSAGE + CLOSE)
    await client.rest()


@way("accepted handshake", "tunnel")
async def tunnel_with_messages_before_the_101(play: Play) -> None:
    client = await play.connect()
    client.send(handshake() + MESSAGE)
    await client.head()
    play.expect(await client.some(8) == MESSAGE, "no echo")


@way("accepted handshake", "tunnel", values={"buffer": "4KiB"})
async def tunnel_whose_client_does_not_read(play: Play) -> None:
    client = await _open(play, "/live-echoes")
    client.stop_reading()
    client.send(LARGE_MESSAGE * 8)
    await play.quiet()
    client.read_on()
    await client.some(len(LARGE_MESSAGE) * 8)


@way("refused handshake")
async def handshake_that_the_upstream_refuses(play: Play) -> None:
    client = await play.connect()
    client.send(handshake("/live-refused"))
    play.expect((await client.message()).startswith(b"HTTP/1.1 403"), "no 403")


@way("refused handshake")
async def handshake_that_is_accepted_wrongly(play: Play) -> None:
    client = await play.connect()
    client.send(handshake("/live-wrong"))
    play.expect((await client.message()).startswith(b"HTTP/1.1 502"), "no 502")


@way("refused handshake", values={"timeouts": {"handshake": "30ms"}})
async def handshake_that_is_never_answered(play: Play) -> None:
    client = await play.connect()
    client.send(handshake("/never"))
    play.expect((await client.message()).startswith(b"HTTP/1.1 504"), "no 504")


@way("refused handshake", "tunnel", values={"limits": {"websockets_per_client": 1, "handshakes_per_second": None}})
async def handshake_of_a_client_that_has_enough(play: Play) -> None:
    await _open(play)
    client = await play.connect()
    client.send(handshake())
    play.expect((await client.message()).startswith(b"HTTP/1.1 429"), "no 429")


@way("accepted handshake", values={"limits": {"handshakes_per_second": 100}})
async def handshake_that_is_delayed(play: Play) -> None:
    ledger.hurry(play.server, "127.0.0.1", 0.03)
    await _open(play)


# -- auth


def _rule(path: str, ask: str | None = None, **values: Any) -> dict[str, Any]:
    return {"path": path, "ask": ask or "/ask", "copy_headers": ["X-User"], **values}


@way("auth", values={"auth": [_rule("/guarded")]})
async def guarded_get(play: Play) -> None:
    await _ask_for(play, get("/guarded"), 200)


@way("auth", values={"auth": [_rule("/guarded", cache="60s")]})
async def guarded_get_whose_answer_is_known(play: Play) -> None:
    path = f"/guarded?{play.stage.activity}"
    client = await _ask_for(play, get(path), 200)
    await _ask_for(play, get(path), 200, client=client)


@way("auth", "body in pieces", values={"auth": [_rule("/guarded")]})
async def guarded_post(play: Play) -> None:
    client = await play.connect()
    client.send(get("/guarded", "Content-Length: 4", method="POST") + b"ab")
    await play.quiet()
    client.send(b"cd")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("auth", values={"auth": [_rule("/guarded", "/ask-no")]})
async def guarded_get_that_is_refused(play: Play) -> None:
    await _ask_for(play, get("/guarded"), 401)


@way("auth", "early answer", values={"auth": [_rule("/guarded", "/ask-no")]})
async def guarded_post_that_is_refused(play: Play) -> None:
    client = await play.connect()
    client.send(get("/guarded", "Content-Length: 100", method="POST") + b"ab")
    play.expect((await client.message()).startswith(b"HTTP/1.1 401"), "no 401")


@way("auth", values={"auth": [_rule("/guarded", "/ask-never")], "timeouts": {"auth": "30ms"}})
async def protected_get_whose_auth_request_is_not_answered(play: Play) -> None:
    await _ask_for(play, get("/guarded"), 504)


@way("auth", "accepted handshake", values={"auth": [_rule("/live")]})
async def guarded_handshake(play: Play) -> None:
    await _open(play)


@way("auth", "refused handshake", values={"auth": [_rule("/live", "/ask-no")]})
async def guarded_handshake_that_is_refused(play: Play) -> None:
    client = await play.connect()
    client.send(handshake())
    play.expect((await client.message()).startswith(b"HTTP/1.1 401"), "no 401")


# -- waiting


async def _held(play: Play, request: bytes) -> Peer:
    play.rig.dash.go_away()
    play.rig.ws.go_away()
    client = await play.connect()
    client.send(request)
    await play.when(lambda: ledger.is_waiting(play.server, 1))
    return client


@way("hold", values={"timeouts": {"hold": "2s"}})
async def get_while_the_upstream_is_unreachable(play: Play) -> None:
    client = await _held(play, get("/ok"))
    await play.rig.dash.listen()
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("hold", "accepted handshake", values={"timeouts": {"hold": "2s"}})
async def handshake_while_the_upstream_is_unreachable(play: Play) -> None:
    client = await _held(play, handshake())
    await play.rig.ws.listen()
    play.expect((await client.head()).startswith(b"HTTP/1.1 101"), "no 101")


@way("hold", values={"timeouts": {"hold": "60ms"}})
async def get_while_the_upstream_stays_away(play: Play) -> None:
    client = await _held(play, get("/ok"))
    play.expect((await client.message()).startswith(b"HTTP/1.1 503"), "no 503")


@way("hold", values={"timeouts": {"hold": "2s"}})
async def post_while_the_upstream_is_unreachable(play: Play) -> None:
    client = await _held(play, get("/ok", "Content-Length: 2", method="POST") + b"{}")
    await play.rig.dash.listen()
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("hold", values={"timeouts": {"hold": "60ms"}})
async def post_while_the_upstream_stays_away(play: Play) -> None:
    client = await _held(play, get("/ok", "Content-Length: 2", method="POST") + b"{}")
    play.expect((await client.message()).startswith(b"HTTP/1.1 503"), "no 503")


@way("hold", "body in pieces", values={"timeouts": {"hold": "2s"}, "buffer": "4KiB"})
async def upload_while_the_upstream_is_unreachable(play: Play) -> None:
    client = await _held(play, get("/ok", f"Content-Length: {LARGE}", method="POST") + b"x")
    client.send(bytes(LARGE - 1))
    await play.quiet()
    await play.rig.dash.listen()
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("hold", "body in pieces", values={"timeouts": {"hold": "60ms"}})
async def upload_while_the_upstream_stays_away(play: Play) -> None:
    client = await _held(play, get("/ok", f"Content-Length: {LARGE}", method="POST") + b"x")
    play.expect((await client.message()).startswith(b"HTTP/1.1 503"), "no 503")


@way("hold", "body in pieces", values={"timeouts": {"hold": "2s"}})
async def post_that_waits_for_100_while_the_upstream_is_unreachable(play: Play) -> None:
    client = await _held(play, get("/continue", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    await play.rig.dash.listen()
    play.expect((await client.head()).startswith(b"HTTP/1.1 100"), "no 100")
    client.send(b"{}")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("hold", "auth", values={"timeouts": {"hold": "2s"}, "auth": [_rule("/guarded")]})
async def protected_post_while_the_upstream_is_unreachable(play: Play) -> None:
    client = await _held(play, get("/guarded", "Content-Length: 2", method="POST") + b"{}")
    await play.rig.dash.listen()
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("hold", "reload", values={"timeouts": {"hold": "2s"}})
async def get_whose_upstream_moves_while_it_waits(play: Play) -> None:
    client = await _held(play, get("/ok"))
    play.rig.reload()
    play.expect((await client.message()).startswith(b"HTTP/1.1 503"), "no 503")


@way("queue", values={"limits": {"in_flight": 1, "handshakes_per_second": None}})
async def get_that_waits_for_its_turn(play: Play) -> None:
    first, second = await play.connect(), await play.connect()
    first.send(get("/gated"))
    await play.quiet()
    second.send(get("/ok"))
    await play.when(lambda: ledger.is_waiting(play.server, 1))
    play.rig.dash.open()
    for client in (first, second):
        play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("queue", values={"limits": {"in_flight": 1, "handshakes_per_second": None}, "timeouts": {"queue": "30ms"}})
async def get_whose_turn_never_comes(play: Play) -> None:
    first, second = await play.connect(), await play.connect()
    first.send(get("/gated"))
    await play.quiet()
    second.send(get("/ok"))
    play.expect((await second.message()).startswith(b"HTTP/1.1 503"), "no 503")
    play.rig.dash.open()
    play.expect((await first.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("queue", "body in pieces", values={"limits": {"in_flight": 1, "handshakes_per_second": None}})
async def post_that_waits_for_its_turn(play: Play) -> None:
    first, second = await play.connect(), await play.connect()
    first.send(get("/gated"))
    await play.quiet()
    second.send(get("/ok", "Content-Length: 4", method="POST") + b"ab")
    await play.when(lambda: ledger.is_waiting(play.server, 1))
    play.rig.dash.open()
    await first.message()
    second.send(b"cd")
    play.expect((await second.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("queue", "accepted handshake", values={"limits": {"in_flight": 1, "handshakes_per_second": None}})
async def handshake_that_waits_for_its_turn(play: Play) -> None:
    first, second = await play.connect(), await play.connect()
    first.send(handshake("/gated"))
    await play.quiet()
    second.send(handshake())
    await play.when(lambda: ledger.is_waiting(play.server, 1))
    play.rig.ws.open()
    await first.message()
    play.expect((await second.head()).startswith(b"HTTP/1.1 101"), "no 101")


@way("queue", "body in pieces", values={"limits": {"uploads_per_client": 1, "handshakes_per_second": None}})
async def upload_that_waits_for_another(play: Play) -> None:
    first, second = await play.connect(), await play.connect()
    for client in (first, second):
        client.send(get("/ok", "Content-Length: 4", method="POST") + b"ab")
        await play.quiet()
    first.send(b"cd")
    play.expect((await first.message()).startswith(b"HTTP/1.1 200"), "no 200")
    await play.quiet()
    second.send(b"cd")
    play.expect((await second.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way(
    "queue",
    "body in pieces",
    values={"limits": {"uploads_per_client": 1, "handshakes_per_second": None}, "timeouts": {"queue": "30ms"}},
)
async def upload_that_waits_in_vain(play: Play) -> None:
    first, second = await play.connect(), await play.connect()
    for client in (first, second):
        client.send(get("/ok", "Content-Length: 4", method="POST") + b"ab")
        await play.quiet()
    play.expect((await second.message()).startswith(b"HTTP/1.1 429"), "no 429")


# -- the listener


@way("ordinary", tls=True)
async def get_over_tls(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok"))
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("accepted handshake", "tunnel", tls=True)
async def tunnel_over_tls(play: Play) -> None:
    client = await _open(play)
    client.send(MESSAGE)
    play.expect(await client.some(8) == MESSAGE, "no echo")
    client.send(CLOSE)
    await client.rest()


@way("ordinary", tls=True)
async def tls_that_is_left_before_its_end(play: Play) -> None:
    client = await play.connect(ssl=None)
    client.send(b"\x16\x03\x01\x02\x00\x01")
    await play.quiet()
    client.end()


@way("ordinary", "body in pieces", tls_upstream=True)
async def post_to_an_upstream_over_tls(play: Play) -> None:
    client = await play.connect()
    client.send(get("/ok", "Content-Length: 4", method="POST") + b"ab")
    await play.quiet()
    client.send(b"cd")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("accepted handshake", "tunnel", tls_upstream=True)
async def tunnel_to_an_upstream_over_tls(play: Play) -> None:
    client = await _open(play)
    client.send(MESSAGE)
    play.expect(await client.some(8) == MESSAGE, "no echo")


@way("ordinary", values={"proxy_protocol": True, "trusted_proxies": ["127.0.0.0/8"]})
async def get_behind_a_proxy_header(play: Play) -> None:
    client = await play.connect()
    client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 ")
    await play.quiet()
    client.send(b"1 2\r\n" + get("/ok"))
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("ordinary")
async def question_to_admin(play: Play) -> None:
    client = await play.connect_to_admin()
    client.send(b"GET /readyz HTTP/1.1\r\n")
    await play.quiet()
    client.send(b"Host: localhost\r\n\r\n")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("ordinary")
async def metrics_from_admin(play: Play) -> None:
    client = await play.connect_to_admin()
    client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("ordinary")
async def status_from_admin_which_asks_the_service(play: Play) -> None:
    questions = [await play.connect_to_admin() for _ in range(2)]
    for client, query in zip(questions, (b"", b"?order=sent"), strict=True):
        client.send(b"GET /status%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % query)
    for client in questions:
        message = await client.message()
        play.expect(message.startswith(b"HTTP/1.1 200"), "no 200")
        play.expect(b'"topic": "told"' in message, "the service was not asked")


# -- hand-off

ADOPTS: dict[str, Any] = {"companion": lambda rig: FakeService(rig, "adopt"), "also": ("channel ends", "service stops")}
SERVES: dict[str, Any] = {
    "companion": RealService,
    "also": ("channel ends", "service stops"),
    # uvicorn says so of an endpoint that is cancelled, and of one that sends to a client that has left; the service
    # says so of a library that fails at a stop.
    "allowed": ("Exception in ASGI application", "ASGI callable returned", "others are not touched"),
}


@way("hand-off", **ADOPTS)
async def socket_that_is_handed_over(play: Play) -> None:
    client = await _open(play)
    client.send(MESSAGE)
    play.expect(await client.some(8) == MESSAGE, "no echo")


@way("hand-off", "tunnel", companion=lambda rig: FakeService(rig, "refuse"), also=("channel ends", "service stops"))
async def socket_that_is_refused(play: Play) -> None:
    client = await _open(play)
    client.send(MESSAGE)
    play.expect(await client.some(8) == MESSAGE, "no echo")


@way(
    "hand-off",
    companion=lambda rig: FakeService(rig, "be silent"),
    also=("channel ends", "service stops"),
    values={"timeouts": {"handshake": "30ms"}},
)
async def socket_whose_service_says_nothing(play: Play) -> None:
    client = await play.connect()
    client.send(handshake())
    play.expect(await client.rest() == b"", "something was said on a socket that the service may have")


@way("hand-off", companion=lambda rig: FakeService(rig, "die"))
async def socket_whose_service_dies(play: Play) -> None:
    client = await play.connect()
    client.send(handshake())
    play.expect(await client.rest() == b"", "something was said on a socket that the service may have")


@way("hand-off", "auth", values={"auth": [{"path": "/live", "ask": "/ask"}]}, **ADOPTS)
async def socket_that_is_guarded_and_handed_over(play: Play) -> None:
    await _open(play)


async def _served(play: Play, path: str, status: int) -> Peer:
    client = await play.connect()
    client.send(handshake(path))
    found = await client.head()
    play.expect(found.startswith(b"HTTP/1.1 %d" % status), found)
    return client


@way("service", "hand-off", **SERVES)
async def adopted_socket_that_the_client_closes(play: Play) -> None:
    client = await _served(play, "/echo", 101)
    client.send(MESSAGE)
    await client.until(b"\x81\x02hi")
    client.send(CLOSE)
    await client.until(CLOSE_OF_SERVER)
    client.end()


@way("service", "hand-off", **SERVES)
async def adopted_socket_that_the_endpoint_closes(play: Play) -> None:
    client = await _served(play, "/close", 101)
    await client.until(b"enough")
    client.send(CLOSE)
    await client.rest()


@way("service", "hand-off", **SERVES)
async def adopted_socket_that_the_endpoint_refuses(play: Play) -> None:
    client = await _served(play, "/refuse", 403)
    await client.rest()


@way("service", "hand-off", **SERVES)
async def adopted_socket_that_is_answered_otherwise(play: Play) -> None:
    client = await _served(play, "/answer", 418)
    await client.rest()


@way("service", "hand-off", **SERVES)
async def adopted_socket_that_is_never_answered(play: Play) -> None:
    client = await play.connect()
    client.send(handshake("/silent"))
    await play.quiet()
    client.reset()


@way("service", "hand-off", **SERVES)
async def adopted_socket_whose_endpoint_fails(play: Play) -> None:
    client = await _served(play, "/fail", 500)
    await client.rest()


# -- the hub

CONNECTS = '{"id":1,"connect":{}}'
SUBSCRIBES = '{"id":2,"subscribe":{"channel":"a"}}'
HUB: dict[str, Any] = {"companion": HubService, "also": ("channel ends", "service stops")}


def frame(*commands: str) -> bytes:
    """Return commands as one masked text frame."""
    text = "\n".join(commands).encode()
    size = bytes((0x80 | len(text),)) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + text


async def _joined(play: Play, *commands: str, answer: bytes = b'{"id":2,') -> Peer:
    """Return a client that has connected to the hub and has been given an answer to the last of its commands."""
    client = await _served(play, "/app/connection/websocket", 101)
    client.send(frame(CONNECTS, *commands))
    await client.until(answer)
    return client


@way("hub", **HUB)
async def client_that_connects(play: Play) -> None:
    await _joined(play, answer=b'{"id":1,')


@way("hub", **HUB)
async def client_with_topics_of_the_server(play: Play) -> None:
    client = await _served(play, "/connection/websocket", 101)
    client.send(frame('{"id":1,"connect":{"token":"a,b"}}'))
    await client.until(b'"subs":')


@way("hub", **HUB)
async def client_that_subscribes_and_leaves(play: Play) -> None:
    client = await _joined(play, SUBSCRIBES)
    client.send(CLOSE)
    await client.until(CLOSE_OF_SERVER)
    client.end()


@way("hub", **HUB)
async def client_that_leaves_while_it_subscribes(play: Play) -> None:
    client = await _served(play, "/connection/websocket", 101)
    client.send(frame(CONNECTS, SUBSCRIBES, SUBSCRIBES.replace("a", "b").replace("2", "3")))
    client.end()


@way("hub", **HUB)
async def client_that_recovers(play: Play) -> None:
    recovers = SUBSCRIBES.replace("}}", ',"recover":true,"epoch":"x","offset":1}}')
    await _joined(play, recovers, answer=b'"was_recovering":true')


@way("hub", **HUB)
async def client_that_unsubscribes(play: Play) -> None:
    await _joined(play, SUBSCRIBES, '{"id":3,"unsubscribe":{"channel":"a"}}', answer=b'{"id":3,')


@way("hub", **HUB)
async def client_that_publishes_to_another(play: Play) -> None:
    other = await _joined(play, SUBSCRIBES)
    await _joined(play, SUBSCRIBES, '{"id":3,"publish":{"channel":"a","data":7}}', answer=b'{"id":3,')
    await other.until(b'"data":7')


@way("hub", **HUB)
async def client_that_looks_around(play: Play) -> None:
    await _joined(
        play,
        SUBSCRIBES,
        '{"id":3,"presence":{"channel":"a"}}',
        '{"id":4,"presence_stats":{"channel":"a"}}',
        '{"id":5,"history":{"channel":"a","limit":1}}',
        answer=b'{"id":5,',
    )


@way("hub", **HUB)
async def client_that_says_nonsense(play: Play) -> None:
    client = await _joined(play, SUBSCRIBES)
    client.send(frame("nonsense"))
    await client.until(b"bad request")
    client.send(CLOSE)
    await client.rest()


STREAM = b"GET /app/connection/uni_sse?channels=a&raw=1&token=b HTTP/1.1\r\nHost: x\r\n\r\n"
STREAMS: dict[str, Any] = {
    "companion": StreamService,
    "also": ("service stops",),
    "allowed": ("Exception in ASGI application",),  # so uvicorn calls the cancelling of an app
}


@way("hub", "event stream", **STREAMS)
async def event_stream_whose_client_leaves(play: Play) -> None:
    client = await play.connect()
    client.send(STREAM)
    await client.until(b"id: ")
    await play.rig.companion.publish()
    await client.until(b"data: 7")
    client.end()
    await client.rest()


@way("hub", "event stream", **STREAMS)
async def event_stream_whose_client_leaves_while_it_begins(play: Play) -> None:
    client = await play.connect()
    client.send(STREAM)
    client.end()
    await client.rest()


@way("hub", "event stream", **STREAMS)
async def event_stream_that_is_refused(play: Play) -> None:
    client = await play.connect()
    client.send(STREAM.replace(b"channels=a&", b"").replace(b"token=b", b"token="))
    play.expect((found := await client.head()).startswith(b"HTTP/1.1 400 "), found)
    client.end()
    await client.rest()


@way(
    "hold",
    companion=FullUpstream,
    values={"timeouts": {"hold": "0s", "connect": "30ms"}, "health": {"timeout": "30ms"}},
    is_fresh=True,  # what the gateway knows of its upstream decides how many awaits there are
)
async def handshake_whose_upstream_takes_no_connection(play: Play) -> None:
    # The first one meets it, the next one hears what its watch finds.
    for status in (b"504", b"503"):
        client = await play.connect()
        client.send(handshake())
        found = await client.message()
        play.expect(found.startswith(b"HTTP/1.1 " + status), found)


# -- the end of the gateway


@way("drain", is_fresh=True, actions=(*CANCELS, "client resets", "upstream resets"))
async def drain_that_all_clients_follow(play: Play) -> None:
    waiting, tunnel = await play.connect(), await _open(play)
    waiting.send(get("/gated"))
    await play.quiet()
    stop = play.rig.stop()
    await play.quiet()
    play.rig.dash.open()
    play.expect((await waiting.message()).startswith(b"HTTP/1.1 200"), "no 200")
    play.expect((await tunnel.some(4))[2:4] == b"\x03\xf4", "no 1012")
    tunnel.send(CLOSE)
    await tunnel.rest()
    waiting.end()
    await asyncio.wait({stop})


@way("drain", is_fresh=True, actions=(*CANCELS, "client resets", "upstream resets"))
async def drain_that_no_client_follows(play: Play) -> None:
    waiting, tunnel, upload = await play.connect(), await _open(play), await play.connect()
    waiting.send(get("/gated"))
    upload.send(get("/ok", "Content-Length: 100", method="POST") + b"x")
    tunnel.stop_reading()
    await play.quiet()
    await asyncio.wait({play.rig.stop()})


@way(
    "drain",
    is_fresh=True,
    values={"timeouts": {"drain_notice": "20ms", "drain": "10ms"}},
    actions=(*CANCELS, "client resets"),
)
async def drain_with_notice(play: Play) -> None:
    await _open(play)
    await asyncio.wait({play.rig.stop()})


# -- two addresses

OF_TWO: dict[str, Any] = {"companion": TwoAddresses, "is_fresh": True}
"""Each run has a gateway of its own: what the one before has found of an address would hold for the next."""


@way("addresses", "ordinary", **OF_TWO)
async def get_whose_first_address_is_unreachable(play: Play) -> None:
    play.rig.dash.go_away()
    for _ in range(2):
        client = await play.connect()
        client.send(get("/ok"))
        play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("addresses", "body in pieces", values={"timeouts": {"hold": 0}}, **OF_TWO)
async def upload_whose_first_address_is_unreachable(play: Play) -> None:
    play.rig.dash.go_away()
    for _ in range(2):
        client = await play.connect()
        client.send(get("/ok", "Content-Length: 4", method="POST") + b"ab")
        await play.quiet()
        client.send(b"cd")
        play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("addresses", "accepted handshake", "tunnel", **OF_TWO)
async def handshake_whose_first_address_is_unreachable(play: Play) -> None:
    play.rig.ws.go_away()
    for _ in range(2):
        client = await _open(play)
        client.send(MESSAGE)
        play.expect(await client.some(8) == MESSAGE, "no echo")


@way("addresses", "queue", values={"limits": {"in_flight": 1, "handshakes_per_second": None}}, **OF_TWO)
async def get_that_waits_for_a_slot_of_either_address(play: Play) -> None:
    first, second, third = [await play.connect() for _ in range(3)]
    for client in (first, second):
        client.send(get("/gated"))
        await play.quiet()
    third.send(get("/ok"))
    await play.when(lambda: ledger.is_waiting(play.server, 1))
    play.rig.other.open()
    play.expect((await third.message()).startswith(b"HTTP/1.1 200"), "no 200")
    play.rig.dash.open()
    for client in (first, second):
        play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("addresses", "hold", values={"timeouts": {"hold": "2s"}}, **OF_TWO)
async def get_while_both_addresses_are_unreachable(play: Play) -> None:
    play.rig.other.go_away()
    client = await _held(play, get("/ok"))
    await play.rig.other.listen()
    play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("addresses", "reload", **OF_TWO)
async def get_whose_address_is_removed(play: Play) -> None:
    clients = [await play.connect() for _ in range(2)]
    for client in clients:
        client.send(get("/gated"))
        await play.quiet()
    play.rig.reload()
    play.rig.dash.open()
    play.rig.other.open()
    for client in clients:
        play.expect((await client.message()).startswith(b"HTTP/1.1 200"), "no 200")


@way("addresses", "hand-off", "tunnel", companion=lambda rig: ServiceAtOneOfTwo(rig, "adopt"), is_fresh=True)
async def sockets_of_which_one_is_handed_over_and_one_tunnelled(play: Play) -> None:
    for _ in range(2):
        client = await _open(play)
        client.send(MESSAGE)
        play.expect(await client.some(8) == MESSAGE, "no echo")
