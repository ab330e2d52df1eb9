"""The path of one request, and the one place where an error becomes an answer."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import Outcome
from proxy.http1.client_connection import ClientStream
from proxy.websocket.frames import close_frame
from tests.processes import free_port
from tests.proxy.adopter import Place, place
from tests.proxy.listening import HANDSHAKE, SWITCH, Listening, listening
from tests.proxy.origin import answering, origin, read_head, silent
from ws_service.handoff import protocol as wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AT_ONCE: dict[str, Any] = {"timeouts": {"hold": 0}}
NAVIGATION = b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html,*/*\r\nSec-Fetch-Mode: navigate\r\n\r\n"
CALLBACK = (
    b"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def test_a_navigation_gets_a_page_that_names_the_upstream_and_tries_again() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        answer = await gateway.ask(NAVIGATION)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in answer
        assert b"Retry-After: " in answer
        assert b"The upstream dash cannot be reached: connection refused." in body_of(answer)
        assert b"gateway.upstreams.dash" in body_of(answer)
        assert b'http-equiv="refresh"' in body_of(answer)
        assert b"<h1>Dash is starting</h1>" in body_of(answer)


async def test_everything_else_gets_json() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        answer = await gateway.ask(CALLBACK)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nContent-Type: application/json\r\n" in answer
        assert json.loads(body_of(answer))["error"] == "The upstream dash cannot be reached: connection refused."
        exchange = await gateway.ended()
        assert exchange.outcome is Outcome.UPSTREAM_AWAY
        assert "http://127.0.0.1:" in exchange.detail, "the log names the address, the answer does not"
        assert b"127.0.0.1" not in answer


async def test_a_fetch_that_would_take_html_is_no_navigation() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        answer = await gateway.ask(NAVIGATION.replace(b"navigate", b"cors"))
        assert b"Content-Type: application/json" in answer


async def test_an_error_to_head_has_no_body() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        answer = await gateway.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503")
        assert body_of(answer) == b""


async def test_the_connection_survives_an_upstream_that_does_not() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", **AT_ONCE) as gateway:
        async with gateway.client() as client:
            for _ in range(2):
                await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await client.read_head()
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                assert head.startswith(b"HTTP/1.1 503")
                await client.read(length)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET evil HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"head / HTTP/1.1\r\nHost: x\r\n\r\n",
        HANDSHAKE.replace(b"Version: 13", b"Version: 8"),
        b"complete nonsense\r\n\r\n",
    ],
)
async def test_what_is_refused_reaches_no_upstream_and_closes_the_connection(request_: bytes) -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(request_)
            answer = await client.read_all()
            assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 426")
            assert b"Connection: close" in answer
        assert server.connections == 0
        assert (await gateway.ended()).outcome is Outcome.REFUSED


async def test_a_handshake_that_lost_its_upgrade_is_an_ordinary_get_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """nginx without its two lines sends it like that, and the browser shows no more than "200"."""
    lost = HANDSHAKE.replace(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Connection: close\r\n")
    for number in range(3):
        async with origin(answering(OK)) as server, listening(server.url) as gateway:
            asked = [lost, lost.replace(b"HTTP/1.1", b"HTTP/1.0"), lost.replace(b"close", b"Upgrade\r\nUpgrade: h2c")]
            assert (await gateway.ask(asked[number])).startswith(b"HTTP/1.1 200 OK\r\n")
            exchange = await gateway.ended()
            assert exchange.detail == "Sec-WebSocket-Key without Upgrade: websocket"
            assert (exchange.upstream, exchange.outcome) == ("dash", Outcome.SERVED)
    caplog.clear()
    async with origin(answering(OK, OK, OK, OK)) as server, listening(server.url) as gateway:
        for _ in range(3):
            await gateway.ask(lost)
        await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    (line,) = [record for record in caplog.records if record.module == "limited_log"]
    assert line.levelname == "WARNING"
    assert "handshake from 127.0.0.1 came without Upgrade: websocket" in line.getMessage()
    assert (
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;" in line.getMessage()
    )


@pytest.mark.parametrize(
    "body", [b"\r\n", b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("offer", [b"h2c", b"", b"websocket"])
async def test_an_offer_to_upgrade_is_answered_as_plain_http_and_the_connection_goes_on(
    offer: bytes, body: bytes
) -> None:
    seen = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_head(reader))
            if body.startswith(b"Content"):
                assert await reader.readexactly(2) == b"ok"
            elif body.startswith(b"Transfer"):
                assert await reader.readexactly(5) == b"0\r\n\r\n"
            writer.write(OK)

    async with origin(record) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            for _ in range(2):
                await client.send(
                    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n"
                    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n%b" % (offer, body)
                )
                assert await client.read(len(OK)) == OK
    assert len(seen) == 2
    assert b"upgrade" not in b"".join(seen).lower()
    assert b"http2" not in b"".join(seen).lower()


async def test_while_it_stops_a_request_on_an_open_connection_is_served_and_is_its_last() -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            gateway.begin_to_stop()
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await client.read_all() == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await gateway.ended()).outcome is Outcome.SERVED


async def test_while_it_stops_a_handshake_is_told_to_come_back() -> None:
    """A tunnel would be closed as soon as it is open, and cost both sides a handshake."""
    async with origin(answering(SWITCH)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            gateway.begin_to_stop()
            await client.send(HANDSHAKE)
            answer = await client.read_all()
            assert answer.startswith(b"HTTP/1.1 503")
            assert server.connections == 0
            assert b"Retry-After: 1\r\n" in answer
            assert b"Connection: close" in answer
        assert (await gateway.ended()).outcome is Outcome.STOPPING


async def test_a_tunnel_whose_handshake_outlives_the_order_to_stop_is_closed_at_once() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await go.wait()
        writer.write(SWITCH)
        await reader.read()

    async with origin(slow) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            await asked.wait()
            gateway.lifecycle.happen("stop")
            go.set()
            await client.read_head()
            assert await client.read(4) == close_frame(1012, masked=False)


async def test_a_tunnel_is_reported_when_it_opens_and_when_it_ends() -> None:
    async with origin(answering(SWITCH)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            await client.read_head()
            assert [x.ended for x in gateway.exchanges] == [None]
        await gateway.ended()
        assert len(gateway.exchanges) == 2
        assert gateway.exchanges[0] is gateway.exchanges[1]


async def test_each_exchange_has_an_id_of_its_own_and_the_upstream_gets_it() -> None:
    heads = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(OK)

    async with origin(record) as server, listening(server.url) as gateway:
        for _ in range(2):
            await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n\r\n")
        ids = [x.id for x in gateway.exchanges]
        assert len(set(ids)) == 2
        for id_, head in zip(ids, heads, strict=True):
            assert b"X-Request-ID: " + id_.encode() + b"\r\n" in head
            assert b"mine" not in head


# -- the hand-over


async def test_a_handshake_is_handed_over_and_the_record_ends_there(tmp_path: Path) -> None:
    async with place(tmp_path / "ws.sock") as service, listening(handoff=str(tmp_path / "ws.sock")) as gateway:
        await connect(gateway, service)
        async with gateway.client() as client:
            await client.send(HANDSHAKE + b"left")
            adopter = service.adopter
            message, (descriptor,) = await adopter.receive()
            assert isinstance(message, wire.Open)
            assert (message.leftover, message.is_secure) == (b"left", False)
            assert message.head.startswith(b"GET /live HTTP/1.1\r\nHost: example.test:8000\r\n")
            assert b"X-Forwarded-For: 127.0.0.1\r\n" in message.head
            assert len(gateway.lifecycle.in_flight) == 1, "the stop waits for the receipt"
            await adopter.send(wire.Adopted(message.socket.id))
            with socket.socket(fileno=descriptor) as adopted:
                await asyncio.get_running_loop().sock_sendall(adopted, b"from the service")
                assert await client.read(16) == b"from the service"
            assert await client.read_all() == b"", "the gateway has no copy that keeps it open"
        assert not gateway.lifecycle.in_flight
        (opened,) = gateway.exchanges
        assert (opened.outcome, opened.is_handed_off, opened.ended) == (Outcome.HANDED_OFF, True, None)
        about = message.socket
        assert (about.id, about.client, about.route, about.host) == (opened.id, "127.0.0.1", "websocket", opened.host)
        await adopter.send(wire.Ended(about, 2.0, 101, 5, 6, 1000, wire.Ending.CLIENT))
        ended = await gateway.ended()
        assert (ended.id, ended.outcome, ended.received, ended.sent) == (opened.id, Outcome.CLIENT_CLOSED, 5, 6)


async def test_nothing_is_said_on_a_socket_that_the_service_may_own(tmp_path: Path) -> None:
    async with place(tmp_path / "ws.sock") as service, listening(handoff=str(tmp_path / "ws.sock")) as gateway:
        await connect(gateway, service)
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            _, (descriptor,) = await service.adopter.receive()
            service.close()
            exchange = await gateway.ended()
            assert (exchange.outcome, exchange.status) == (Outcome.UPSTREAM_FAILED, 499)
            with socket.socket(fileno=descriptor) as adopted:
                adopted.send(b"the service's own words")
            assert await client.read_all() == b"the service's own words"


async def test_a_socket_that_is_refused_goes_through_the_tunnel_with_its_leftover(tmp_path: Path) -> None:
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        seen.set_result(await reader.readexactly(10))

    path = str(tmp_path / "ws.sock")
    async with place(tmp_path / "ws.sock") as service, origin(upstream) as server:
        async with listening(server.url, handoff=path) as gateway:
            await connect(gateway, service)
            async with gateway.client() as client:
                await client.send(HANDSHAKE + b"first")
                message, (descriptor,) = await service.adopter.receive()
                assert isinstance(message, wire.Open)
                await client.send(b"later")
                os.close(descriptor)
                await service.adopter.send(wire.Refused(message.socket.id, "no room"))
                await client.read_head()
                async with asyncio.timeout(10):
                    assert await seen == b"firstlater"


async def test_what_comes_through_tls_is_tunnelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.http1.client_connection.ClientStream.has_tls", True)
    async with place(tmp_path / "ws.sock") as service, origin(answering(SWITCH)) as server:
        async with listening(server.url, handoff=str(tmp_path / "ws.sock")) as gateway:
            await connect(gateway, service)
            async with gateway.client() as client:
                await client.send(HANDSHAKE)
                await client.read_head()
            assert gateway.gateway.handoff.fallbacks == {"tls": 1}
            await gateway.ended()


async def connect(gateway: Listening, service: Place) -> None:
    """Make the gateway look for the service, and greet it."""
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.gateway.handoff.start())
        await service.accept()


async def test_a_client_that_leaves_while_it_is_answered_is_no_error_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The write finds out before the loop tells anybody; it takes luck on a real socket, so the way out is a fake."""

    async def forward(client: ClientStream, *_: object, **__: object) -> None:
        client.cut(reset=False)
        client.write(b"too late")

    monkeypatch.setattr("proxy.gateway.handler.forward", forward)
    async with listening() as gateway:
        assert await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        exchange = await gateway.ended()
        assert (exchange.status, exchange.outcome) == (499, Outcome.CLIENT_GONE)
    assert not caplog.records


# -- a reload while an exchange is under way

PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\nbegun"
RULE = {"path": "/guarded", "ask": "/ask"}


async def _warm(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(OK)
    await reader.read()


@pytest.mark.parametrize("new", ["10ms", "60s"])
@pytest.mark.parametrize(
    ("way", "request_", "key", "status", "says"),
    [
        ("fast path", PLAIN, "response", 504, "did not begin to answer within 0.4 s"),
        ("fast path", CALLBACK, "response", 504, "did not begin to answer within 0.4 s"),
        ("ordinary", PLAIN, "response", 504, "did not begin to answer within 0.4 s"),
        ("ordinary", UPLOAD, "body", 408, "stopped coming for 0.4 s"),
        ("ordinary", HANDSHAKE, "handshake", 504, "did not answer the WebSocket handshake within 0.4 s"),
        ("guarded", PLAIN.replace(b"/", b"/guarded", 1), "auth", 504, "did not say within 0.4 s who may pass"),
        ("full", PLAIN, "queue", 503, "had no room for another request within 0.4 s"),
        ("full", HANDSHAKE, "queue", 503, "had no room for another request within 0.4 s"),
        ("away", PLAIN, "hold", 503, "did not come back within 0.4 s"),
        ("away", CALLBACK, "hold", 503, "did not come back within 0.4 s"),
        ("away", UPLOAD, "hold", 503, "did not come back within 0.4 s"),
        ("away", HANDSHAKE, "hold", 503, "did not come back within 0.4 s"),
    ],
)
async def test_an_exchange_ends_by_the_time_limit_that_it_began_with(
    way: str, request_: bytes, key: str, status: int, says: str, new: str
) -> None:
    values: dict[str, Any] = {"timeouts": {key: "400ms"}, "limits": {"in_flight": 1 if way == "full" else None}}
    if way == "guarded":
        values["auth"] = [RULE]
    async with origin(_warm if way == "fast path" else silent) as server:
        url = f"http://127.0.0.1:{free_port()}" if way == "away" else server.url
        async with listening(url, **values) as gateway, gateway.client() as client, gateway.client() as other:
            if way == "fast path":
                await client.send(PLAIN)
                assert (await client.read_head()).startswith(b"HTTP/1.1 200 ")
                await client.read(2)
                await gateway.ended()
            before = 0
            if way == "full":
                before = 1
                await other.send(HANDSHAKE if request_ is HANDSHAKE else PLAIN)
                async with asyncio.timeout(5):
                    while not gateway.dash.room.in_flight + gateway.ws.room.in_flight:  # noqa: ASYNC110 - it tells nobody
                        await asyncio.sleep(0.001)
            began = time.monotonic()
            await client.send(request_)
            async with asyncio.timeout(5):
                while len(gateway.lifecycle.in_flight) == before:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.001)
            assert gateway.plain == (way == "fast path")
            gateway.reload(timeouts={key: new})
            head = await client.read_head()
            assert 0.39 <= time.monotonic() - began < 5
            assert head.startswith(b"HTTP/1.1 %d " % status)
            body = await client.read(int(head.partition(b"Content-Length: ")[2].split()[0]))
            assert says in json.loads(body)["error"]
