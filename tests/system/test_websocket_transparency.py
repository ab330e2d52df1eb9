"""A WebSocket through the gateway is the WebSocket without it: two client libraries, two servers, and bare bytes.

Where uvicorn is the server there are two ways to it, a tunnel and the
hand-off of the socket, and every play is given on both.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import pytest
import websockets.sync.client
import websockets.sync.server
import wsproto
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection
from websockets.typing import Subprotocol
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    TextMessage,
)
from wsproto.events import Request as Opening
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

from tests.processes import free_port, python, running
from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin, open_tunnel, running_gateway
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import close_frame, frame
from tests.wire.messages import handshake, request, switching

MIB = 1 << 20

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

MASK = b"\x01\x02\xfe\xff"


# -- two servers


_closes: defaultdict[str, asyncio.Queue[tuple[int, str]]] = defaultdict(asyncio.Queue)


async def application(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """What uvicorn serves: an echo, a close on demand, a refusal, and over HTTP how an echo with a name was closed."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        name = scope["query_string"].decode()
        body = json.dumps(await asyncio.wait_for(_closes[name].get(), DEADLINE)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
    else:
        await receive()
        await _talk(scope, dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)), receive, send)


async def _talk(
    scope: dict[str, Any], query: dict[str, str], receive: Callable[[], Any], send: Callable[[Any], Any]
) -> None:
    if "refuse" in query:
        headers = [
            (b"content-type", b"text/plain"),
            (b"x-why", b"so"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
        ]
        start = {"type": "websocket.http.response.start", "status": int(query["refuse"]), "headers": headers}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"today"})
        return
    cookies = [(b"set-cookie", b"a=1; Path=/"), (b"Set-Cookie", b"b=2"), (b"set-cookie", b"a=3")]
    await send({"type": "websocket.accept", "subprotocol": query.get("choose"), "headers": cookies})
    if "code" in query:
        await send({"type": "websocket.close", "code": int(query["code"]), "reason": query["reason"]})
    while (message := await receive())["type"] == "websocket.receive":
        answer = {key: message[key] for key in ("bytes", "text") if message.get(key) is not None}
        await send({"type": "websocket.send", **answer})
    if "name" in query:
        _closes[query["name"]].put_nowait((message["code"], message.get("reason") or ""))


def handle(connection: ServerConnection) -> None:
    """What the server of the library ``websockets`` serves: what ASGI has no words for."""
    assert connection.request is not None
    if connection.request.path == "/pings":
        for payload in (b"", b"are you there?", bytes(range(125))):
            answered = connection.ping(payload)
            connection.send("yes" if answered.wait(DEADLINE) else "no")
    elif connection.request.path == "/leaves-without-code":
        with connection.send_context():
            connection.protocol.send_close()
    for message in connection:
        connection.send(message)


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    if not request.path.startswith("/refuse/"):
        return None
    headers = Headers(
        [("Content-Length", "8"), ("WWW-Authenticate", 'Bearer realm="x"'), ("wWw-authenticate", "Basic")]
    )
    return Response(int(request.path[8:]), "No, Really", headers, b"go away\n")


def choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    assert connection.request is not None
    return offered[-1] if offered and connection.request.path != "/no-subprotocol" else None


@contextmanager
def library_server() -> Iterator[str]:
    options: dict[str, Any] = {"select_subprotocol": choose, "process_request": refuse}
    with websockets.sync.server.serve(handle, "127.0.0.1", 0, ping_interval=None, max_size=None, **options) as server:
        thread = threading.Thread(target=server.serve_forever, name="websockets server")
        thread.start()
        try:
            yield "http://127.0.0.1:{}".format(*server.socket.getsockname()[1:])
        finally:
            server.shutdown()
            thread.join(DEADLINE)


# -- two clients


class Refused(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        super().__init__(f"{status} {fields} {body!r}")
        self.status, self.fields, self.body = status, fields, body


class Talk(Protocol):
    """An open connection, whichever library holds it."""

    subprotocol: str | None
    fields: list[tuple[str, str]]

    def send(self, message: str | bytes) -> None: ...
    def send_in_pieces(self, pieces: list[str] | list[bytes]) -> None: ...
    def receive(self) -> str | bytes: ...
    def ping(self, payload: bytes) -> None:
        """Return when the pong with the same payload is here."""
        ...

    def close(self, code: int | None, reason: str) -> None: ...
    def closed(self) -> tuple[int, str]:
        """Wait for the end; return code and reason as the other side sent them."""
        ...


class WithWebsockets:
    """The library ``websockets``."""

    def __init__(self, connection: websockets.sync.client.ClientConnection) -> None:
        self._connection = connection
        assert connection.response is not None
        self.subprotocol: str | None = connection.subprotocol
        self.fields = list(connection.response.headers.raw_items())

    def send(self, message: str | bytes) -> None:
        self._connection.send(message)

    def send_in_pieces(self, pieces: list[str] | list[bytes]) -> None:
        self._connection.send(iter(pieces))

    def receive(self) -> str | bytes:
        return self._connection.recv(DEADLINE)

    def ping(self, payload: bytes) -> None:
        assert self._connection.ping(payload).wait(DEADLINE)

    def close(self, code: int | None, reason: str) -> None:
        if code is None:
            with self._connection.send_context():
                self._connection.protocol.send_close()
        self._connection.close(code or 1000, reason)

    def closed(self) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as caught:
            self._connection.recv(DEADLINE)
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason


@contextmanager
def with_websockets(url: str, *subprotocols: str, compress: bool = False) -> Iterator[Talk]:
    options: dict[str, Any] = {"compression": "deflate" if compress else None, "proxy": None}
    offered = [Subprotocol(name) for name in subprotocols] or None
    try:
        with websockets.sync.client.connect(
            url.replace("http", "ws", 1), subprotocols=offered, max_size=None, ping_interval=None, **options
        ) as connection:
            yield WithWebsockets(connection)
    except InvalidStatus as refusal:
        response = refusal.response
        raise Refused(response.status_code, list(response.headers.raw_items()), bytes(response.body or b"")) from None


class WithWsproto:
    """The library ``wsproto``, which leaves the socket to us."""

    def __init__(self, wire: Wire, target: str, subprotocols: Sequence[str], compress: bool) -> None:
        self._wire = wire
        self._machine = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._events: deque[Event] = deque()
        extensions = [PerMessageDeflate()] if compress else []
        self._say(Opening("example.com", target, subprotocols=list(subprotocols), extensions=extensions))
        event = self._next()
        if isinstance(event, RejectConnection):
            fields = [(name.decode(), value.decode()) for name, value in event.headers]
            raise Refused(event.status_code, fields, self._refusal(event))
        assert isinstance(event, AcceptConnection)
        self.subprotocol = event.subprotocol
        self.fields = [(name.decode(), value.decode()) for name, value in event.extra_headers]

    def send(self, message: str | bytes) -> None:
        self._say(self._message(message, True))

    def send_in_pieces(self, pieces: list[str] | list[bytes]) -> None:
        for piece in pieces:
            self._say(self._message(piece, False))
        self._say(self._message(type(pieces[0])(), True))

    def receive(self) -> str | bytes:
        parts: list[Any] = []
        while True:
            event = self._next()
            assert isinstance(event, Message), event
            parts.append(event.data)
            if event.message_finished:
                return type(parts[0])().join(parts)

    def ping(self, payload: bytes) -> None:
        self._say(Ping(payload))
        event = self._next()
        assert isinstance(event, Pong) and event.payload == payload

    def close(self, code: int | None, reason: str) -> None:
        self._say(CloseConnection(CloseReason.NO_STATUS_RCVD if code is None else code, reason or None))
        self.closed()

    def closed(self) -> tuple[int, str]:
        event = self._next()
        assert isinstance(event, CloseConnection), event
        if self._machine.state is ConnectionState.REMOTE_CLOSING:
            self._say(event.response())
        assert self._wire.read_to_end() == b""
        return int(event.code), event.reason or ""

    @staticmethod
    def _message(data: str | bytes, finished: bool) -> Event:
        if isinstance(data, str):
            return TextMessage(data, message_finished=finished)
        return BytesMessage(data, message_finished=finished)

    def _refusal(self, event: RejectConnection) -> bytes:
        body, finished = b"", not event.has_body
        while not finished:
            piece = self._next()
            assert isinstance(piece, RejectData)
            body, finished = body + piece.data, piece.body_finished
        return body

    def _say(self, event: Event) -> None:
        self._wire.send(self._machine.send(event))

    def _next(self) -> Event:
        while True:
            while self._events:
                event = self._events.popleft()
                if not isinstance(event, Ping):
                    return event
                self._say(event.response())
            self._machine.receive_data(self._wire.read_some() or None)
            self._events.extend(self._machine.events())


@contextmanager
def with_wsproto(url: str, *subprotocols: str, compress: bool = False) -> Iterator[Talk]:
    parts = urlsplit(url)
    assert parts.port is not None
    with Wire.to(parts.port) as wire:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        yield WithWsproto(wire, target, subprotocols, compress)


Client = Callable[..., AbstractContextManager[Talk]]


@pytest.fixture(params=[with_websockets, with_wsproto], ids=["websockets", "wsproto"])
def talk(request: pytest.FixtureRequest) -> Client:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def uvicorn() -> Iterator[str]:
    port = free_port()
    app = f"{__name__}:application"
    argv = python("-m", "uvicorn", "--port", str(port), "--ws-max-size", str(32 * MIB), "--log-level", "info", app)
    with running(*argv, ready="Uvicorn running on") as process:
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in process.output, process.output


@pytest.fixture(scope="module")
def library() -> Iterator[str]:
    with library_server() as url:
        yield url


@pytest.fixture(scope="module", params=["tunnel", "hand-off"])
def both(
    request: pytest.FixtureRequest, uvicorn: str, library: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of both servers: ``/uvicorn`` and every path for the library."""
    folder = tmp_path_factory.mktemp("both")
    if request.param == "tunnel":
        routes = [{"path": "/uvicorn", "to": "dash"}]
        with running_gateway(folder, dash=uvicorn, ws=library, routes=routes) as gateway:
            yield gateway
        assert "handed off" not in gateway.process.output
        return
    port = free_port()
    argv = python("-m", "tests.system.serve_app", f"{__name__}:application", str(port), folder / "ws.sock")
    routes = [{"path": "/", "to": "dash"}, {"path": "/uvicorn", "to": "ws"}, {"path": "/closed", "to": "ws"}]
    settings = {"routes": routes, "handoff": "ws.sock"}
    with running(*argv, ready="ws service ready") as service:
        with running_gateway(folder, dash=library, ws=f"http://127.0.0.1:{port}", **settings) as gateway:
            yield gateway
        assert "Traceback" not in service.output, service.output
    tunnelled = [line for line in gateway.process.output.splitlines() if "tunnel" in line and "/uvicorn" in line]
    assert not tunnelled, tunnelled
    assert "handed off -> ws" in gateway.process.output


@pytest.fixture(scope="module")
def origin(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, origin: Origin) -> Gateway:
    return shared.gateway(dash=origin.url, timeouts={"hold": 0})


# -- messages


SIZES = [0, 1, 125, 126, 65535, 65536, 16 * MIB]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_messages_of_every_size_come_back_equal(both: Gateway, talk: Client, kind: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    message: str | bytes = data if kind == "binary" else data.hex()[:size]
    with talk(f"{both.url}/uvicorn") as conversation:
        conversation.send(message)
        assert conversation.receive() == message
        conversation.send("and another")
        assert conversation.receive() == "and another"


def test_many_small_messages_keep_their_order(both: Gateway, talk: Client) -> None:
    messages = [f"message {number}" for number in range(500)]
    with talk(f"{both.url}/uvicorn") as conversation:
        for message in messages:
            conversation.send(message)
        assert [conversation.receive() for _ in messages] == messages


@pytest.mark.parametrize(
    "pieces", [["Zürich", "", ", ", "東京"], [b"", b"\0" * 70_000, b"\xff"]], ids=["text", "binary"]
)
def test_a_message_in_fragments_is_one_message(both: Gateway, talk: Client, pieces: list[Any]) -> None:
    for path in ("/uvicorn", "/echo"):
        with talk(both.url + path) as conversation:
            conversation.send_in_pieces(pieces)
            assert conversation.receive() == type(pieces[0])().join(pieces)


def test_the_upstream_answers_a_clients_ping_with_its_payload(both: Gateway, talk: Client) -> None:
    for path in ("/uvicorn", "/echo"):
        with talk(both.url + path) as conversation:
            for payload in (b"", b"are you there?", bytes(range(125))):
                conversation.ping(payload)


def test_the_client_answers_an_upstreams_ping_with_its_payload(both: Gateway, talk: Client) -> None:
    with talk(f"{both.url}/pings") as conversation:
        assert [conversation.receive() for _ in range(3)] == ["yes"] * 3


# -- what the handshake settles


def test_the_upstream_chooses_the_subprotocol(both: Gateway, talk: Client) -> None:
    for url in (f"{both.url}/uvicorn?choose=graphql-ws", f"{both.url}/echo"):
        with talk(url, "mqtt", "v2.x", "graphql-ws") as conversation:
            assert conversation.subprotocol == "graphql-ws"
            conversation.send("hello")
            assert conversation.receive() == "hello"


def test_the_upstream_may_choose_none(both: Gateway, talk: Client) -> None:
    for url in (f"{both.url}/uvicorn", f"{both.url}/no-subprotocol"):
        with talk(url, "mqtt", "graphql-ws") as conversation:
            assert conversation.subprotocol is None
            conversation.send("hello")
            assert conversation.receive() == "hello"


def test_a_101_may_set_several_cookies(both: Gateway, talk: Client) -> None:
    with talk(f"{both.url}/uvicorn") as conversation:
        cookies = [value for name, value in conversation.fields if name.lower() == "set-cookie"]
    assert cookies == ["a=1; Path=/", "b=2", "a=3"]


def test_a_refusal_of_the_application_arrives_with_fields_and_body(both: Gateway, uvicorn: str, talk: Client) -> None:
    def ask(url: str, status: int) -> Refused:
        with pytest.raises(Refused) as caught, talk(f"{url}/uvicorn?refuse={status}"):
            pass
        return caught.value

    for status in (403, 401, 503):
        refusal = ask(both.url, status)
        assert (refusal.status, refusal.body) == (status, b"not today")
        named = [(name.lower(), value) for name, value in refusal.fields]
        for field in [("x-why", "so"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-type", "text/plain")]:
            assert field in named
        assert refusal.body == ask(uvicorn, status).body


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_a_refusal_of_the_server_arrives_with_fields_and_body(both: Gateway, talk: Client, status: int) -> None:
    with pytest.raises(Refused) as caught, talk(f"{both.url}/refuse/{status}"):
        pass
    refusal = caught.value
    assert (refusal.status, refusal.body) == (status, b"go away\n")
    challenges = [value for name, value in refusal.fields if name.lower() == "www-authenticate"]
    assert challenges == ['Bearer realm="x"', "Basic"]


# -- compression


OFFERS = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "x-webkit-deflate-frame, permessage-deflate",
    "x-unheard-of",
]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("server", ["uvicorn", "library"])
def test_compression_is_negotiated_as_without_the_gateway(
    both: Gateway, uvicorn: str, library: str, server: str, offer: str
) -> None:
    """Field for field, and byte for byte on the wire in both directions."""
    text = b"the same words again and again, " * 50
    squeeze = zlib.compressobj(wbits=-11)
    packed = (squeeze.compress(text) + squeeze.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")

    def converse(url: str) -> tuple[list[str], bytes]:
        port = urlsplit(url).port
        assert port is not None
        with Wire.to(port) as wire:
            wire.send(handshake(f"/{server}", f"Sec-WebSocket-Extensions: {offer}"))
            agreed = wire.read_message().all("sec-websocket-extensions")
            wire.send(frame(TEXT, packed, rsv=4, mask=MASK) if agreed else frame(TEXT, text, mask=MASK))
            answer = wire.read_frame()
            assert answer.rsv == (4 if agreed else 0)
            assert (len(answer.payload) < len(text) // 10) == bool(agreed)
            return agreed, answer.raw

    agreed, raw = converse(both.url)
    assert (agreed, raw) == converse(uvicorn if server == "uvicorn" else library)
    assert bool(agreed) == ("permessage" in offer)


def test_both_libraries_talk_compressed(both: Gateway, talk: Client) -> None:
    message = "squeeze me " * 100_000
    for path in ("/uvicorn", "/echo"):
        with talk(both.url + path, compress=True) as conversation:
            for _ in range(2):
                conversation.send(message)
                assert conversation.receive() == message


# -- the close


CODES: list[tuple[int, str]] = [
    (1000, ""),
    (1000, "bye"),
    (1001, "going away"),
    (1011, "an error"),
    (1012, ""),
    (3000, "registered"),
    (3999, ""),
    (4000, "grüße"),
    (4001, "Dash's own"),
    (4999, "x" * 123),
]


@pytest.mark.parametrize(("code", "reason"), CODES)
def test_the_clients_code_and_reason_reach_the_application(both: Gateway, talk: Client, code: int, reason: str) -> None:
    name = uuid4().hex
    with talk(f"{both.url}/uvicorn?name={name}") as conversation:
        conversation.close(code, reason)
    assert both.ask(request(f"GET /closed?{name}")).json() == [code, reason]


def test_a_clients_close_without_a_code_stays_without(both: Gateway, talk: Client) -> None:
    name = uuid4().hex
    with talk(f"{both.url}/uvicorn?name={name}") as conversation:
        conversation.close(None, "")
    assert both.ask(request(f"GET /closed?{name}")).json() == [1005, ""]


@pytest.mark.parametrize(("code", "reason"), CODES)
def test_the_applications_code_and_reason_reach_the_client(both: Gateway, talk: Client, code: int, reason: str) -> None:
    with talk(f"{both.url}/uvicorn?{urlencode({'code': code, 'reason': reason})}") as conversation:
        assert conversation.closed() == (code, reason)


def test_an_upstreams_close_without_a_code_stays_without(both: Gateway, talk: Client) -> None:
    with talk(f"{both.url}/leaves-without-code") as conversation:
        assert conversation.closed() == (1005, "")


def test_a_close_is_passed_on_and_not_answered_by_the_gateway(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    closing = frame(CLOSE, b"\x0f\xa0bye", mask=MASK)
    client.send(closing)
    assert upstream.read_frame().raw == closing
    assert not client.has_something(), "the answer is the upstream's to give"
    more = frame(TEXT, b"one more thing") + frame(CLOSE, b"\x0f\xa0")
    upstream.send(more)
    upstream.close()
    assert client.read_to_end() == more


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_without_a_close_frame_gets_none_written_for_it(
    gateway: Gateway, origin: Origin, how: str
) -> None:
    client, upstream = open_tunnel(gateway, origin)
    getattr(client, how)()
    assert upstream.read_to_cut()[0] == b""


@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_upstream_that_vanishes_is_a_1012_for_its_client(gateway: Gateway, origin: Origin, how: str) -> None:
    """The one frame that the gateway adds outside its own stop: so the client knows that it is to come back."""
    client, upstream = open_tunnel(gateway, origin)
    upstream.send(frame(TEXT, b"hello"))
    assert client.read_frame().payload == b"hello"
    getattr(upstream, how)()
    assert client.read_frame().raw == close_frame(1012)
    client.send(close_frame(1012, mask=MASK))
    assert client.read_to_end() == b""


# -- bare bytes


HELLO = frame(TEXT, b"hello", mask=MASK)


def test_a_frame_in_the_packet_of_the_handshake_reaches_the_upstream(gateway: Gateway, origin: Origin) -> None:
    ahead = HELLO + frame(BINARY, b"x" * 3000, mask=MASK) + HELLO[:3]
    client, upstream = open_tunnel(gateway, origin, ahead=ahead)
    client.send(HELLO[3:])
    assert upstream.read(len(ahead) + len(HELLO) - 3) == ahead + HELLO[3:]


def test_frames_that_are_sent_while_the_upstream_still_thinks_are_kept_for_it(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(handshake())
    upstream = origin.accept()
    upstream.read_head()
    client.send(HELLO)
    client.send(HELLO)
    upstream.send(switching())
    assert client.read_message().status == 101
    client.send(frame(PING, b"", mask=MASK))
    assert upstream.read(2 * len(HELLO) + 6) == HELLO + HELLO + frame(PING, b"", mask=MASK)


@pytest.mark.parametrize("size", [1, 100, 200_000, 2 * MIB])
def test_frames_in_the_packet_of_the_101_reach_the_client(gateway: Gateway, origin: Origin, size: int) -> None:
    client = gateway.dial()
    client.send(handshake())
    upstream = origin.accept()
    upstream.read_head()
    first = frame(BINARY, random.Random(size).randbytes(size))
    upstream.send_later(switching() + first)
    assert client.read_message().status == 101
    assert client.read(len(first)) == first


def test_an_upstream_may_say_everything_and_leave_in_the_packet_of_the_101(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(handshake())
    upstream = origin.accept()
    upstream.read_head()
    words = frame(TEXT, b"hello") + frame(CLOSE, b"\x03\xe8")
    upstream.send(switching() + words)
    upstream.close()
    assert client.read_message().status == 101
    assert client.read_to_end() == words


def test_frame_boundaries_are_kept_byte_for_byte(gateway: Gateway, origin: Origin) -> None:
    """Fragments are not joined, controls between them stay where they are, lengths keep their form."""
    client, upstream = open_tunnel(gateway, origin)
    play = [
        (TEXT, b"Hel", False),
        (PING, b"between", True),
        (0, b"", False),
        (0, b"lo", False),
        (PONG, b"unasked", True),
        (0, b"", True),
        (BINARY, b"", True),
        (BINARY, b"x" * 126, True),
        (BINARY, b"x" * 65536, True),
    ]
    overlong = b"\x82\xfe\x00\x01" + MASK + b"?"
    reserved = frame(0x3, b"?", rsv=7, mask=MASK)
    upwards = b"".join(frame(code, data, fin=fin, mask=MASK) for code, data, fin in play) + overlong + reserved
    downwards = b"".join(frame(code, data, fin=fin) for code, data, fin in play)
    client.send(upwards)
    upstream.send(downwards)
    assert upstream.read(len(upwards)) == upwards
    for code, data, fin in play:
        got = client.read_frame()
        assert (got.opcode, got.payload, got.fin) == (code, data, fin)


def test_a_client_that_has_said_everything_still_hears(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    client.send(HELLO)
    client.end()
    assert upstream.read_to_end() == HELLO
    for number in range(3):
        upstream.send(frame(TEXT, b"%d" % number))
        assert client.read_frame().payload == b"%d" % number
    upstream.close()
    assert client.read_to_end() == b"", "and nothing is added: it has ended itself"


def test_an_upstream_that_has_said_everything_still_hears(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    words = frame(TEXT, b"hello") + frame(CLOSE, b"\x03\xe8")
    upstream.send(words)  # without a close frame it has not said everything, it has vanished
    upstream.end()
    assert client.read_to_end() == words
    for _ in range(3):
        client.send(HELLO)
        assert upstream.read_frame().raw == HELLO
    client.close()
    assert upstream.read_to_end() == b""


def test_what_was_said_before_leaving_arrives_whole(gateway: Gateway, origin: Origin) -> None:
    words = frame(BINARY, random.Random(5).randbytes(4 * MIB)) + frame(CLOSE, b"\x03\xe8")
    client, upstream = open_tunnel(gateway, origin)
    sender = upstream.send_later(words)
    begun = client.read(MIB)
    sender.join(DEADLINE)
    upstream.close()
    assert begun + client.read_to_end() == words
    client, upstream = open_tunnel(gateway, origin)
    sender = client.send_later(words)
    begun = upstream.read(MIB)
    sender.join(DEADLINE)
    client.close()
    assert begun + upstream.read_to_end() == words


def test_an_upstream_that_crashes_in_mid_frame_ends_the_clients_connection(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    half = frame(TEXT, b"x" * 100)[:50]
    upstream.send(half)
    assert client.read(50) == half
    upstream.reset()
    assert client.read_to_cut()[0] == b"", "nothing is invented to complete it"


def test_a_client_that_crashes_in_mid_frame_ends_the_upstreams_connection(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    client.send(HELLO[:6])
    assert upstream.read(6) == HELLO[:6]
    client.reset()
    assert upstream.read_to_cut()[0] == b""


def random_frames(chance: random.Random, *, masked: bool) -> bytes:
    frames = []
    for _ in range(chance.randrange(1, 200)):
        size = chance.choice((0, 1, chance.randrange(126), chance.randrange(3000), chance.randrange(70_000)))
        opcode = (
            chance.choice((0, TEXT, BINARY, PING, PONG, 0x3, 0xF)) if size < 126 else chance.choice((0, TEXT, BINARY))
        )
        mask = chance.randbytes(4) if masked else b""
        frames.append(
            frame(opcode, chance.randbytes(size), fin=chance.random() < 0.8, rsv=chance.randrange(8), mask=mask)
        )
    return b"".join(frames)


def random_noise(chance: random.Random, *, masked: bool) -> bytes:
    return chance.randbytes(chance.randrange(1, MIB))


def pieces_of(data: bytes, chance: random.Random) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = start + chance.choice((1, 2, 13, 126, 1460, 16_384, 100_000))
        yield data[start:end]
        start = end


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("make", [random_frames, random_noise])
def test_whatever_bytes_in_whatever_pieces_come_out_equal_in_both_directions(
    gateway: Gateway, origin: Origin, make: Callable[..., bytes], seed: int
) -> None:
    chance = random.Random(seed)
    upwards, downwards = make(chance, masked=True), make(chance, masked=False)
    client, upstream = open_tunnel(gateway, origin)
    seeds = iter((chance.random(), chance.random()))

    def say(wire: Wire, words: bytes) -> threading.Thread:
        pieces = pieces_of(words, random.Random(next(seeds)))
        thread = threading.Thread(target=lambda: deque(map(wire.send, pieces)), name="talker", daemon=True)
        thread.start()
        return thread

    heard: list[bytes] = []
    listener = threading.Thread(target=lambda: heard.append(upstream.read(len(upwards))), name="listener", daemon=True)
    listener.start()
    talkers = [say(client, upwards), say(upstream, downwards)]
    assert client.read(len(downwards)) == downwards
    for thread in (*talkers, listener):
        thread.join(DEADLINE)
    assert heard == [upwards]
