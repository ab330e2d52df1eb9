"""A leg: back-pressure, what waits for a slow side, and fair reading."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import Outcome
from tests.proxy.websocket.tunnels import MASKED_HELLO, on_uvloop, rig


@pytest.mark.parametrize("role", ["client", "upstream"])
async def test_what_waits_for_a_slow_side_is_counted_until_it_is_taken(role: str) -> None:
    async with rig(buffer=4096) as r:
        slow, fast = (r.client, r.upstream) if role == "client" else (r.upstream, r.client)
        data = b"\x82\x7f" + (16 << 20).to_bytes(8, "big") + bytes(16 << 20)
        sending = asyncio.get_running_loop().create_task(fast.send(data), name="sender")
        assert 4096 < await r.buffers() < 1 << 20
        assert await slow.receive(len(data)) == data
        await sending
        async with asyncio.timeout(10):
            while r.buffered.total:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("ending", ["close frame", "reset"])
async def test_what_waits_is_counted_out_when_the_tunnel_ends(ending: str) -> None:
    async with rig(buffer=4096) as r:
        data = b"\x82\x7f" + (16 << 20).to_bytes(8, "big") + bytes(16 << 20)
        sending = asyncio.get_running_loop().create_task(r.upstream.send(data), name="sender")
        await r.buffers()
        if ending == "close frame":
            r.tunnel.start_closing(1012, Outcome.DRAINED)
            r.tunnel.abort()
        else:
            r.client.reset()
        await r.ended()
        sending.cancel()


async def test_a_side_for_which_more_waits_than_may_is_cut_with_its_tunnel() -> None:
    async with rig(buffer=4096, most=1024) as r:
        data = b"\x82\x7f" + (16 << 20).to_bytes(8, "big") + bytes(16 << 20)
        sending = asyncio.get_running_loop().create_task(r.upstream.send(data), name="sender")
        tunnel = await r.ended()
        assert (tunnel.outcome, tunnel.closed_by) == (Outcome.TOO_SLOW, "gateway")
        sending.cancel()


async def test_a_side_that_sends_a_lot_lets_other_connections_be_read() -> None:
    """uvloop would read a stream 32 times before others have one; a pause ends that, and reading goes on by itself."""
    async with rig(buffer=1 << 30) as r:
        data = b"\x82\x7f" + (8 << 20).to_bytes(8, "big") + bytes(8 << 20)
        sending = asyncio.get_running_loop().create_task(r.upstream.send(data), name="sender")
        assert await r.client.receive(len(data)) == data
        await sending


@pytest.mark.parametrize("role", ["client", "upstream"])
async def test_a_slow_reader_makes_its_sender_wait_and_loses_nothing(role: str) -> None:
    async with rig(buffer=65536) as r:
        slow, fast = (r.client, r.upstream) if role == "client" else (r.upstream, r.client)
        data = bytes(range(256)) * (1 << 17)  # 32 MiB: more than the kernel's buffers hold
        sending = asyncio.get_running_loop().create_task(fast.send(data), name="fast sender")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.shield(sending)
        leg = r.tunnel.legs[0] if role == "client" else r.tunnel.legs[1]
        assert leg.transport.get_write_buffer_size() <= 65536 + (256 << 10)  # the mark, and one read of the loop
        assert await slow.receive(len(data)) == data
        await sending


async def test_leftovers_that_fill_the_buffer_do_not_undo_the_waiting() -> None:
    big = b"x" * (8 << 20)
    async with rig(buffer=65536, from_upstream=big) as r:
        await asyncio.sleep(0)
        assert not r.tunnel.legs[1].transport.is_reading()
        assert await r.client.receive(len(big)) == big
        await r.upstream.send(b"more")
        assert await r.client.receive(4) == b"more"


@pytest.mark.parametrize("role", ["client", "upstream"])
def test_back_pressure_holds_on_uvloop(role: str) -> None:
    on_uvloop(test_a_slow_reader_makes_its_sender_wait_and_loses_nothing(role))


def test_leftovers_that_fill_the_buffer_do_not_undo_the_waiting_on_uvloop() -> None:
    on_uvloop(test_leftovers_that_fill_the_buffer_do_not_undo_the_waiting())


async def test_what_was_written_before_the_tunnel_is_not_taken_for_acknowledged() -> None:
    """A client can vanish before it has acknowledged the response to its handshake, on a tunnel that stays idle."""
    async with rig() as r:
        for leg in r.tunnel.legs:
            assert not leg.is_acknowledged
            leg.is_acknowledged = True
            assert leg.is_acknowledged
        await r.client.send(MASKED_HELLO)
        assert await r.upstream.receive(len(MASKED_HELLO)) == MASKED_HELLO
        assert [leg.is_acknowledged for leg in r.tunnel.legs] == [True, False]
