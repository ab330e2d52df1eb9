"""Requests that wait for an upstream that is away: which, for how long, how many, and how they go on."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.errors import Outcome
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.retry import MAX_RETRIES
from tests.processes import free_port
from tests.proxy.adopter import place
from tests.proxy.listening import HANDSHAKE, SWITCH, Client, Listening, listening
from tests.proxy.origin import Script, answering, origin, read_head
from ws_service.handoff import protocol as wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POLL = GET.replace(b"/", b"/app/_reload-hash", 1)
POST = b"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A script that reads a request and leaves without a byte."""
    await read_head(reader)
    writer.close()


@asynccontextmanager
async def clients(gateway: Listening, count: int) -> AsyncIterator[list[Client]]:
    """That many connections of the gateway's, each with a GET that is under way."""
    async with gateway.client() as client:
        await client.send(GET)
        if count == 1:
            yield [client]
        else:
            async with clients(gateway, count - 1) as others:
                yield [client, *others]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PURGE"])
async def test_what_was_not_sent_waits_until_the_upstream_is_back_whatever_its_method(method: bytes) -> None:
    port = free_port()
    async with listening(f"http://127.0.0.1:{port}") as gateway, gateway.client() as client:
        await client.send(GET.replace(b"GET", method))
        await gateway.waits()
        async with origin(answering(OK), port=port):
            assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
        exchange = await gateway.ended()
        assert exchange.outcome is Outcome.SERVED
        assert 0 <= (exchange.held or -1) <= exchange.duration


async def test_what_did_not_have_to_wait_has_no_time_of_waiting_in_its_record() -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        await gateway.ask(GET)
        assert (await gateway.ended()).held is None


class Counting:
    """An origin that answers every request, and keeps what was asked with its body."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            body = b""
            if b"\r\nTransfer-Encoding: chunked\r\n" in head:
                while size := int(await reader.readline(), 16):
                    body += (await reader.readexactly(size + 2))[:-2]
                await reader.readexactly(2)
            elif b"\r\nContent-Length: " in head:
                body = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
            self.asked.append(head + body)
            writer.write(OK)


async def test_a_callback_waits_with_its_body_and_is_sent_once() -> None:
    port, counting = free_port(), Counting()
    async with listening(f"http://127.0.0.1:{port}") as gateway, gateway.client() as client:
        for number in range(3):  # the first one finds out, the next ones hear what a look has found
            await client.send(POST)
            await gateway.waits()
            async with origin(counting.play, port=port):
                assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
                assert await client.read(2) == b"ok"
                assert len(counting.asked) == number + 1
                assert counting.asked[-1].endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_an_upload_waits_and_none_of_its_body_is_lost(is_chunked: bool) -> None:
    """More than the gateway may hold: its client is made to wait, and goes on when the upstream is back."""
    port, counting, body = free_port(), Counting(), bytes(range(256)) * 32768
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
    message = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body
    async with listening(f"http://127.0.0.1:{port}") as gateway, gateway.client() as client:
        client.writer.write(b"POST /upload HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n" + message)
        await gateway.waits()
        await asyncio.sleep(0.1)  # all that may be taken meanwhile
        assert client.writer.transport.get_write_buffer_size() > len(message) / 4, "it is made to wait"
        async with origin(counting.play, port=port):
            assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
        (asked,) = counting.asked
        assert asked.partition(b"\r\n\r\n")[2] == body
        assert (await gateway.ended()).received == len(body)
        assert gateway.gateway.uploads.total == 0


async def test_no_100_is_said_before_the_upstream_is_back() -> None:
    port, counting = free_port(), Counting()
    expecting = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    async with listening(f"http://127.0.0.1:{port}") as gateway, gateway.client() as client:
        await client.send(expecting)
        await gateway.waits()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):  # longer than an upstream has to say it
                await client.read(1)
        async with origin(counting.play, port=port):
            assert (await client.read_head()).startswith(b"HTTP/1.1 100 Continue\r\n")
            await client.send(b"{}")
            assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_leaves_while_its_upload_is_held_gives_everything_back() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway:
        async with gateway.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\nbegun")
            await gateway.waits()
            assert gateway.gateway.uploads.total == 1
        assert (await gateway.ended()).outcome is Outcome.CLIENT_GONE
        assert gateway.gateway.uploads.total == 0


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
async def test_what_was_sent_once_and_may_not_be_again_does_not_wait(method: bytes) -> None:
    """On a connection that was idle; the upstream is away when it has closed that one."""
    request = POST.replace(b"POST", method)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(2)
        writer.write(OK)
        await read_head(reader)
        server.listener.close()
        writer.transport.abort()

    async with origin(script) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(request)
        assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
        await client.read(2)
        began = asyncio.get_running_loop().time()
        await client.send(request)
        assert (await client.read_head())[:12] == b"HTTP/1.1 502"
        assert asyncio.get_running_loop().time() - began < 5
        assert server.connections == 1


async def test_an_idle_connection_that_the_upstream_has_closed_gets_no_callback() -> None:
    closed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(2)
        writer.write(OK)
        await closed.wait()
        writer.close()

    counting = Counting()
    async with origin(script, counting.play) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(POST)
        await client.read_head()
        await client.read(2)
        closed.set()
        await server.wait_closed(1)
        await client.send(POST)
        assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(counting.asked) == 1


async def test_a_request_of_which_the_kernel_has_taken_nothing_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream's reset comes between the last look at an idle connection and the write."""
    counting = Counting()
    async with origin(counting.play) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(POST)
        await client.read_head()
        await client.read(2)
        monkeypatch.setattr(UpstreamConnection, "has_gone_stale", lambda connection: _break(connection))
        await client.send(POST)
        assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(counting.asked) == 2
        assert gateway.plain >= 1


async def test_an_upload_of_which_the_kernel_has_taken_nothing_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    upload = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
    async with origin(counting.play) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(POST)
        await client.read_head()
        await client.read(2)
        monkeypatch.setattr(UpstreamConnection, "has_gone_stale", lambda connection: _break(connection))
        await client.send(upload)
        await gateway.ended()
        await client.send(b"0\r\n\r\n")
        assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(counting.asked) == 2


def _break(connection: UpstreamConnection) -> bool:
    assert connection._transport is not None
    lent = connection._transport.get_extra_info("socket")
    sock = socket.socket(lent.family, lent.type, lent.proto, fileno=lent.fileno())
    sock.shutdown(socket.SHUT_WR)  # from here on the kernel takes nothing, as after a reset
    sock.detach()
    return False


async def test_a_handshake_waits_too_and_becomes_a_tunnel() -> None:
    port = free_port()
    async with listening(f"http://127.0.0.1:{port}") as gateway, gateway.client() as client:
        await client.send(HANDSHAKE)
        await gateway.waits()
        async with origin(answering(SWITCH + b"\x81\x02hi"), port=port):
            assert (await client.read_head()).startswith(b"HTTP/1.1 101 ")
            assert await client.read(4) == b"\x81\x02hi"
            assert gateway.ws.queue.in_flight == 0, "a tunnel is not in flight"


async def test_a_handshake_that_waited_is_handed_over_if_the_service_takes_sockets_again(tmp_path: Path) -> None:
    port = free_port()
    where = tmp_path / "ws.sock"
    async with listening(f"http://127.0.0.1:{port}", handoff=str(where)) as gateway, gateway.client() as client:
        await client.send(HANDSHAKE)
        await gateway.waits()
        async with place(where) as service, origin(answering(SWITCH), port=port):
            adopter = await service.accept()
            message, descriptors = await adopter.receive()
            assert isinstance(message, wire.Open) and len(descriptors) == 1
            await adopter.send(wire.Adopted(message.socket.id))
            async with asyncio.timeout(10):
                while not gateway.gateway.handoff.handed_over:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.001)
            adopter.close()


UPLOAD = POST.replace(b"Length: 2\r\n\r\n{}", b"Length: 200000\r\n\r\nbegun")


@pytest.mark.parametrize(("request_", "what"), [(GET, "dash"), (POST, "dash"), (UPLOAD, "dash"), (HANDSHAKE, "ws")])
async def test_a_hold_that_ends_is_a_503_that_says_what_it_waited_for(request_: bytes, what: str) -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", timeouts={"hold": "300ms"}) as gateway:
        async with gateway.client() as client:
            began = asyncio.get_running_loop().time()
            await client.send(request_)
            head = await client.read_head()
            assert asyncio.get_running_loop().time() - began >= 0.3
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 5\r\n" in head
            body = json.loads(await client.read(int(head.partition(b"Content-Length: ")[2].split()[0])))
        lines = body["error"]  # of a callback's answer, for Dash's list of errors
        assert (" ".join(lines) if isinstance(lines, list) else lines) == (
            f"The upstream {what} cannot be reached: connection refused. It did not come back within 0.3 s."
        )
        assert (await gateway.ended()).outcome is Outcome.UPSTREAM_UNREACHABLE


async def test_a_callback_whose_wait_ends_gets_json() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", timeouts={"hold": "50ms"}) as gateway:
        async with gateway.client() as client:
            for _ in range(3):
                await client.send(POST)
                head = await client.read_head()
                assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
                assert b"\r\nContent-Type: application/json\r\n" in head and b"\r\nRetry-After: " in head
                await client.read(int(head.partition(b"Content-Length: ")[2].split()[0]))
        assert (await gateway.ended(3)).outcome is Outcome.UPSTREAM_UNREACHABLE


async def test_without_retries_a_callback_finds_an_upstream_that_is_back_though_none_has_checked_since() -> None:
    port = free_port()
    async with listening(f"http://127.0.0.1:{port}", timeouts={"hold": 0}) as gateway, gateway.client() as client:
        await client.send(POST)
        await client.read(int((await client.read_head()).partition(b"Content-Length: ")[2].split()[0]))
        async with origin(answering(b""), answering(OK), port=port):  # the first connection is the look
            await client.send(POST)
            assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_dashs_reload_poll_is_never_answered_by_us() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", timeouts={"hold": "100ms"}) as gateway:
        async with gateway.client() as client:
            await client.send(POLL)
            assert await client.read_all() == b""
        exchange = await gateway.ended()
        assert (exchange.status, exchange.outcome) == (444, Outcome.UPSTREAM_UNREACHABLE)


async def test_dashs_reload_poll_waits_like_any_other_get() -> None:
    port = free_port()
    async with listening(f"http://127.0.0.1:{port}") as gateway, gateway.client() as client:
        await client.send(POLL)
        await gateway.waits()
        async with origin(answering(OK), port=port):
            assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_request_whose_upstream_is_killed_before_its_answer_is_sent_again() -> None:
    async with origin(dying, answering(b""), answering(OK)) as server, listening(server.url) as gateway:
        assert (await gateway.ask(GET)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_handshake_whose_upstream_is_killed_before_its_answer_is_sent_again() -> None:
    scripts: list[Script] = [dying, answering(b""), answering(SWITCH)]
    async with origin(*scripts) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(HANDSHAKE)
        assert (await client.read_head()).startswith(b"HTTP/1.1 101 ")


async def test_a_request_that_kills_its_upstream_each_time_is_given_up() -> None:
    asked = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_head(reader))  # a look that only connects does not come so far
        writer.close()

    async with origin(script) as server, listening(server.url) as gateway:
        answer = await gateway.ask(GET)
        assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert len(asked) == 1 + MAX_RETRIES
        assert gateway.dash.health.state.value == "up", "one request's fate says nothing about the upstream"


@pytest.mark.parametrize(
    ("request_", "most"),
    [
        (GET, 2 + MAX_RETRIES),
        (GET.replace(b"GET", b"PUT"), 2),
        (GET.replace(b"Connection: close\r\n", b""), 2 + MAX_RETRIES),
    ],
    ids=["GET", "PUT", "plain GET"],
)
async def test_however_many_idle_connections_there_are_it_ends_no_more_than_one(request_: bytes, most: int) -> None:
    """Behind each may be another worker."""
    all_waiting = asyncio.Barrier(12)
    asked = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if head.startswith(b"POST"):
            await reader.readexactly(2)
            await all_waiting.wait()
            writer.write(OK)
            head = await read_head(reader)
        asked.append(head)
        writer.close()

    async with origin(script) as server, listening(server.url) as gateway:
        await asyncio.gather(*(gateway.ask(POST.replace(b"Host", b"Connection: close\r\nHost")) for _ in range(12)))
        assert gateway.dash.idle == 12
        async with gateway.client() as client:
            await client.send(request_)
            assert (await client.read_head()).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert len(asked) == most
        assert gateway.dash.idle >= 12 - 1


async def test_a_callback_whose_upstream_is_killed_is_not_sent_again() -> None:
    async with origin(dying, answering(OK)) as server, listening(server.url) as gateway:
        assert (await gateway.ask(POST)).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert server.connections == 1


async def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 2")
        writer.close()

    async with origin(script, answering(OK)) as server, listening(server.url) as gateway:
        assert (await gateway.ask(GET)).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert server.connections == 1


async def test_without_a_hold_nothing_waits_and_nothing_is_sent_again() -> None:
    async with origin(dying, answering(OK)) as server, listening(server.url, timeouts={"hold": 0}) as gateway:
        assert (await gateway.ask(GET)).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert server.connections == 1


async def test_a_client_that_leaves_while_it_is_held_frees_its_place() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway:
        async with clients(gateway, 3):
            await gateway.waits(3)
        await gateway.waits(0)
        assert (await gateway.ended(3)).outcome is Outcome.CLIENT_GONE


async def test_no_more_wait_than_may() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", limits={"waiting": 2}) as gateway, clients(gateway, 2):
        await gateway.waits(2)
        answer = await gateway.ask(GET)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: " in answer
        exchange = await gateway.ended()
        assert exchange.outcome is Outcome.UPSTREAM_FULL
        assert exchange.duration < 5


async def test_however_many_wait_one_connection_at_a_time_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway:
        async with clients(gateway, 1):
            await gateway.waits(1)  # now it is known to be away
        await gateway.waits(0)
        trying = most = tries = 0
        dial = gateway.dash.addresses[0]._dialer.dial

        async def counted(seconds: float) -> object:
            nonlocal trying, most, tries
            trying, tries = trying + 1, tries + 1
            most = max(most, trying)
            try:
                return await dial(seconds)
            finally:
                trying -= 1

        monkeypatch.setattr(gateway.dash.addresses[0]._dialer, "dial", counted)
        async with clients(gateway, 40):
            await gateway.waits(40)
            await asyncio.sleep(0.3)
            assert most == 1
            assert 2 <= tries <= 10


async def test_an_upstream_that_closes_each_connection_at_once_is_not_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one is whose listener is open in a process that is stopping, or in another program's."""
    monkeypatch.setattr(UpstreamConnection, "has_ended", lambda connection: True)
    async with origin(answering(OK)) as server, listening(server.url) as gateway, clients(gateway, 40):
        await gateway.waits(40)
        before = server.connections
        await asyncio.sleep(0.5)
        assert 1 <= server.connections - before <= 40, "they try in small batches, with pauses"


async def test_those_who_waited_come_in_growing_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    batches: list[int] = []
    async with listening(f"http://127.0.0.1:{port}") as gateway, clients(gateway, 40) as waiting:
        async with asyncio.timeout(10):
            while len(gateway.dash.queue._for_return) < 40:  # noqa: ASYNC110 - the last to come may ask first
                await asyncio.sleep(0.001)
        let_go = gateway.dash.queue._let_batch_go

        def noted(count: int) -> None:
            batches.append(count)
            let_go(count)

        monkeypatch.setattr(gateway.dash.queue, "_let_batch_go", noted)
        async with origin(answering(OK, close=True), port=port):
            for client in waiting:
                assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert batches == [1, 2, 4, 8, 16, 32]


async def test_a_stop_sends_them_away_at_once() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway, clients(gateway, 2) as waiting:
        await gateway.waits(2)
        gateway.begin_to_stop()
        gateway.dash.queue.close()
        for client in waiting:
            head = await client.read_head()
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 1\r\n" in head and b"\r\nConnection: close\r\n" in head
        assert (await gateway.ended(2)).outcome is Outcome.STOPPING


# -- another address


def at_two(*urls: str, **values: object) -> dict[str, object]:
    return {"upstreams": {"dash": list(urls)}, **values}


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("hold", [0, "15s"])
async def test_what_was_not_sent_goes_to_the_other_address_at_once(request_: bytes, hold: object) -> None:
    """Whatever the hold: that is the time to wait for a return, and there is nothing to wait for."""
    counting = Counting()
    async with origin(counting.play) as server:
        upstreams = at_two(f"http://127.0.0.1:{free_port()}", server.url, timeouts={"hold": hold})
        async with listening(**upstreams) as gateway:
            for _ in range(3):
                assert b" 200 OK\r\n" in await gateway.ask(request_)
            assert len(counting.asked) == 3
            assert (await gateway.ended()).held is None


async def test_a_get_that_an_address_took_and_did_not_answer_goes_to_the_other_one() -> None:
    counting = Counting()
    async with (
        origin(dying) as one,
        origin(counting.play) as other,
        listening(**at_two(one.url, other.url)) as gateway,
    ):
        for _ in range(4):
            assert b" 200 OK\r\n" in await gateway.ask(GET)
        assert one.connections >= 1


async def test_a_callback_that_an_address_took_is_sent_to_no_other() -> None:
    counting = Counting()
    async with (
        origin(dying) as one,
        origin(counting.play) as other,
        listening(**at_two(one.url, other.url)) as gateway,
    ):
        statuses = sorted([(await gateway.ask(POST))[9:12] for _ in range(2)])
        assert statuses == [b"200", b"502"]
        assert len(counting.asked) == 1


async def test_a_request_that_kills_each_address_is_given_up() -> None:
    async with origin(dying) as one, origin(dying) as other, listening(**at_two(one.url, other.url)) as gateway:
        assert (await gateway.ask(GET))[9:12] == b"502"
        probes = 2  # each is checked when it has given no answer
        assert one.connections + other.connections <= MAX_RETRIES + 1 + probes


async def test_with_no_hold_and_no_address_the_answer_is_a_503_at_once() -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    async with listening(**at_two(*urls, timeouts={"hold": 0})) as gateway:
        assert (await gateway.ask(GET))[9:12] == b"503"
        detail = (await gateway.ended()).detail
        assert any(url in detail for url in urls)


async def test_a_handshake_goes_to_the_other_address_at_once_and_a_tunnel_counts_where_it_is() -> None:
    async def accepting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        await reader.read()

    upstreams: dict[str, object] = {}
    async with origin(accepting) as one, origin(accepting) as other:
        upstreams["ws"] = [f"http://127.0.0.1:{free_port()}", one.url, other.url]
        async with listening(upstreams=upstreams) as gateway:
            async with gateway.client() as client, gateway.client() as second, gateway.client() as third:
                for each in (client, second, third):
                    await each.send(HANDSHAKE)
                    assert (await each.read_head()).startswith(b"HTTP/1.1 101 ")
                sockets = [address.sockets for address in gateway.ws.addresses]
                assert sorted(sockets) == [0, 1, 2]
                assert sockets[0] == 0
            await gateway.ended(3)
            assert [address.sockets for address in gateway.ws.addresses] == [0, 0, 0]
