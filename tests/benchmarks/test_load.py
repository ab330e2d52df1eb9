"""The load: whoever answers wrongly, or not at all, does not win."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from benchmarks.load import (
    ChunkedRequester,
    Client,
    Counter,
    Download,
    Requester,
    Sockets,
    repeat_handshakes,
    start_echo,
    start_requests,
    transfer,
)
from benchmarks.origin import Http
from benchmarks.processes import Failed
from benchmarks.wire import EVENTS, PATTERN, SMALL, chunked_request, expecting_request, request

Server = Callable[[], asyncio.Protocol]


class Lying(Http):
    """An origin whose every answer has one byte wrong."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        write = self._transport.write
        self._transport = _Spoilt(self._transport, write)  # type: ignore[assignment]


class _Spoilt:
    def __init__(self, transport: asyncio.Transport, write: Callable[[bytes], None]) -> None:
        self._transport = transport
        self._write = write

    def write(self, data: bytes) -> None:
        self._write(data if data.endswith(b"\r\n\r\n") else data[:-1] + b"!")

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[int]:
    """Serve on a free port, which is yielded; every connection is cut at the end."""
    transports: list[asyncio.Transport] = []

    def connected() -> asyncio.Protocol:
        protocol = server()
        made = protocol.connection_made

        def connection_made(transport: asyncio.Transport) -> None:
            transports.append(transport)
            made(transport)

        protocol.connection_made = connection_made  # type: ignore[assignment, method-assign]
        return protocol

    running = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)  # a transport closes its socket in the next turn of the loop


class Watched(Counter):
    """Says when there are twenty answers."""

    def __init__(self) -> None:
        super().__init__()
        self.has_enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, sent: float) -> float:
        if self.count == 20 and not self.has_enough.done():
            self.has_enough.set_result(None)
        return super().answered(sent)


async def enough(counter: Watched, clients: Sequence[Client]) -> None:
    """Wait for twenty answers, or for the first client that leaves."""
    ends = [client.lost for client in clients]
    await asyncio.wait([counter.has_enough, *ends], timeout=20, return_when=asyncio.FIRST_COMPLETED)


async def echoes(server: Server, in_flight: int = 3) -> Counter:
    counter = Watched()
    async with serving(server) as port:
        sockets = Sockets("/ws", port, counter)
        await sockets.resize(3)
        start_echo(sockets, b"x" * 100, in_flight)
        await enough(counter, sockets)
        counter.is_over = True
        await sockets.resize(0)
    return counter


async def gets(server: Server) -> Counter:
    return await requests(server, lambda counter, port: Requester(counter, port, request("/", host="h"), SMALL))


async def chunked_posts(server: Server) -> Counter:
    message = chunked_request("/chunked", host="h", body=SMALL)
    return await requests(server, lambda counter, port: Requester(counter, port, message, b"%d" % len(SMALL)))


async def posts_after_a_100(server: Server) -> Counter:
    message = expecting_request("/sink", host="h", length=256)
    return await requests(server, lambda counter, port: Requester(counter, port, message, b"256", PATTERN[:256]))


async def event_streams(server: Server) -> Counter:
    message = request("/events", host="h")
    return await requests(server, lambda counter, port: ChunkedRequester(counter, port, message, b"".join(EVENTS)))


async def requests(server: Server, make: Callable[[Counter, int], Requester]) -> Counter:
    counter = Watched()
    async with serving(server) as port:
        clients = await start_requests(lambda: make(counter, port), port, 2)
        await enough(counter, clients)
        counter.is_over = True
        for client in clients:
            client.leave()
        await asyncio.gather(*(client.lost for client in clients))
    return counter


@pytest.mark.parametrize("play", [echoes, gets, chunked_posts, posts_after_a_100, event_streams])
async def test_right_answers_are_counted_with_their_latency(play: Callable[[Server], Awaitable[Counter]]) -> None:
    counter = await play(Http)
    counter.check()
    assert counter.count == len(counter.latencies) >= 20
    assert all(0 < latency < 5 for latency in counter.latencies)


@pytest.mark.parametrize("play", [echoes, gets, chunked_posts, posts_after_a_100, event_streams])
async def test_one_wrong_byte_is_a_fault(play: Callable[[Server], Awaitable[Counter]]) -> None:
    counter = await play(Lying)
    with pytest.raises(Failed, match="wrong"):
        counter.check()


async def test_fewer_messages_than_sockets_go_round() -> None:
    counter = await echoes(Http, in_flight=1)
    counter.check()


async def test_a_large_body_with_one_wrong_byte_is_a_fault() -> None:
    async with serving(Lying) as port:
        with pytest.raises(Failed, match="a wrong body"):
            await transfer(Download, port, request("/bytes/300000", host="h"), 300_000, timeout=5)


async def test_a_large_body_that_is_right_is_none() -> None:
    async with serving(Http) as port:
        await transfer(Download, port, request("/bytes/300000", host="h"), 300_000, timeout=5)


class Silent(asyncio.Protocol):
    """Hangs up at the first byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.close()


async def test_a_handshake_that_is_not_answered_is_a_fault() -> None:
    counter = Counter()
    async with serving(Silent) as port:
        await repeat_handshakes(counter, "/ws", port)
        with pytest.raises(Failed, match="a handshake failed: the connection was closed"):
            counter.check()
        with pytest.raises(Failed, match="the connection was closed"):
            await Sockets("/ws", port, Counter()).resize(1)


def test_silence_is_a_fault() -> None:
    with pytest.raises(Failed, match="no answer"):
        Counter().check()
