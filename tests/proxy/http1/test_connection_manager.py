"""All connections of clients: the ones that are idle, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.config import Settings
from proxy.http1.client_connection import ClientConnection
from proxy.http1.client_stream import ClientStream, SentResponse
from proxy.http1.connection_manager import ConnectionManager
from proxy.http1.headers import Head
from tests.proxy.http1.test_client_connection import GET, connected, unused
from ws_service.net.periodic_sweep import PIECES_PER_TURN


async def test_an_idle_connection_is_closed_when_its_keep_alive_timeout_has_ended() -> None:
    async def handler(client: ClientStream) -> SentResponse:
        client.write(b"done")
        return SentResponse(keep_alive=True)

    async with connected(handler, keepalive_timeout=0.2) as (reader, writer, manager):
        writer.write(GET % 1)
        assert await reader.readexactly(4) == b"done"
        began = asyncio.get_running_loop().time()
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - began >= 0.19
        while manager.connections:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)


async def test_a_sweep_over_very_many_idle_connections_lets_others_have_a_turn() -> None:
    """Ten thousand took 20 ms of one turn, in each second."""
    async with connected(unused, keepalive_timeout=600) as (_, _, manager):
        while not manager.connections:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        others = [manager() for _ in range(100)]
        manager._connections |= dict.fromkeys(others)
        assert len(list(manager._close_timed_out(1.0))) == 101, "pieces of work, of which so many are in one turn"
        for other in others:
            manager.ended(other)


async def test_closing_very_many_idle_connections_lets_others_have_a_turn() -> None:
    """Four thousand took 75 ms of one turn, at the beginning of a drain."""
    async with connected(unused, keepalive_timeout=600) as (_, _, manager):
        while not manager.connections:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        others = [manager() for _ in range(2 * PIECES_PER_TURN)]
        manager._connections |= dict.fromkeys(others)
        closing = asyncio.get_running_loop().create_task(manager.close_idle(float("inf")), name="closing")
        turns = 0
        while not closing.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 2
        for other in others:
            manager.ended(other)


def changed(manager: ConnectionManager, **timeouts: float) -> Settings:
    """Settings that differ from those in force in a few timeouts."""
    settings = manager.settings
    return settings.model_copy(update={"timeouts": settings.timeouts.model_copy(update=timeouts)})


async def test_a_connection_keeps_the_keep_alive_timeout_that_it_began_with() -> None:
    async with connected(unused, keepalive_timeout=0.2) as (reader, _, manager):
        while not manager.connections:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        manager.reconfigure(changed(manager, keepalive=600))
        assert await reader.read() == b""


async def test_another_read_buffer_holds_for_bodies_that_begin_later() -> None:
    async with connected(unused) as (_, _, manager):
        before = manager.streaming
        manager.reconfigure(changed(manager, head=3))
        assert manager.streaming is before
        manager.reconfigure(manager.settings.model_copy(update={"buffer": 8192}))
        assert manager.streaming is not before


async def test_a_body_tells_how_much_of_it_comes_unread_also_after_the_read_buffer_has_changed() -> None:
    capacities: list[int] = []

    async def handler(client: ClientStream) -> SentResponse:
        capacities.append(client.body.capacity)
        while await client.body.read():
            pass
        client.write(b"done")
        return SentResponse(keep_alive=True)

    async with connected(handler) as (reader, writer, manager):
        for read_buffer in (65536, 8192):
            manager.reconfigure(manager.settings.model_copy(update={"buffer": read_buffer}))
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
            await asyncio.sleep(0.01)
            writer.write(b"b")
            assert await reader.readexactly(4) == b"done"
    assert capacities == [2 * 65536, 2 * 8192]


async def test_the_end_waits_for_exchanges_and_then_cuts_them() -> None:
    began, cut = asyncio.Event(), asyncio.Event()

    async def handler(client: ClientStream) -> SentResponse:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()
        raise AssertionError("cancelled before")

    async with connected(handler) as (reader, writer, manager):
        writer.write(GET % 1)
        await began.wait()
        await manager.shutdown(0.05)
        assert cut.is_set()
        assert manager.connections == []
        assert await reader.read() == b""


class Stuck(asyncio.Transport):
    """A transport whose last bytes are never taken, so that it does not tell of its end."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Cut:
    """An exchange that calls something when it is cut."""

    def __init__(self, on_cut: Callable[[], None]) -> None:
        self.cut = on_cut

    def client_left(self) -> None:
        raise AssertionError("nothing tells of it")

    def client_is_slow(self, is_slow: bool) -> None:
        raise AssertionError("it writes nothing")


async def test_an_exchange_that_begins_while_the_others_are_cut_is_cut_too() -> None:
    exchanges: list[Cut] = []

    def offer_simple(connection: ClientConnection, head: Head, body: bytes) -> Cut:
        return exchanges.pop()

    async with connected(unused, offer_simple=offer_simple) as (_, _, manager):
        late, early = manager(), manager()
        for connection in (late, early):
            connection.connection_made(Stuck())
        exchanges += [
            Cut(lambda: late.exchange_ended(keep_alive=False)),
            Cut(lambda: late.data_received(GET)),
        ]
        early.data_received(GET)
        await manager.shutdown(0.01)
        assert not exchanges
        assert late.exchange is None
