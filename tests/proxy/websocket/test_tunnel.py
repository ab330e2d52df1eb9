"""The tunnel: bytes both ways, half-close, what its record says of the end, and the idle timeout."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AbstractAsyncContextManager

import pytest

from proxy.errors import Outcome
from proxy.websocket.frames import close_frame
from proxy.websocket.leg import Leg
from proxy.websocket.tunnel import IdleTunnels, State, Tunnel
from tests.proxy.websocket.tunnels import CLOSE, HELLO, MASKED_CLOSE, MASKED_HELLO, Rig, on_uvloop, rig


async def test_bytes_pass_both_ways_and_leftovers_go_first() -> None:
    async with rig(answer=b"101!", from_upstream=HELLO, from_client=MASKED_HELLO) as r:
        await r.client.send(b"\x82\x80\0\0\0\0")
        await r.upstream.send(b"\x82\x00")
        assert await r.client.receive(10) == b"101!" + HELLO + b"\x82\x00"
        assert await r.upstream.receive(14) == MASKED_HELLO + b"\x82\x80\0\0\0\0"
        assert (r.tunnel.bytes_from_client, r.tunnel.bytes_from_upstream) == (14, 6)


async def test_what_is_not_websocket_at_all_passes_too() -> None:
    async with rig() as r:
        noise = bytes(range(256)) * 64
        await r.client.send(noise)
        assert await r.upstream.receive(len(noise)) == noise


UNFINISHED = b"\x82\x0alast"
"""A frame that is not complete: nothing can be written after it."""


@pytest.mark.parametrize("role", ["client", "upstream"])
async def test_a_side_that_ends_can_still_receive(role: str) -> None:
    async with rig() as r:
        one, other = (r.client, r.upstream) if role == "client" else (r.upstream, r.client)
        await one.send(UNFINISHED)
        one.end()
        assert await other.receive_all() == UNFINISHED
        assert r.tunnel.state is (State.CLIENT_DONE if role == "client" else State.UPSTREAM_DONE)
        await other.send(b"and the answer")
        assert await one.receive(14) == b"and the answer"
        other.end()
        tunnel = await r.ended()
        assert tunnel.closed_by == role
        assert tunnel.outcome is (Outcome.CLIENT_CLOSED if role == "client" else Outcome.UPSTREAM_CLOSED)


@pytest.mark.parametrize(
    ("first", "frame", "reply"),
    [("client", MASKED_CLOSE, CLOSE), ("upstream", CLOSE, MASKED_CLOSE)],
)
async def test_the_record_names_who_closed_first_and_with_which_code(first: str, frame: bytes, reply: bytes) -> None:
    async with rig() as r:
        one, other = (r.client, r.upstream) if first == "client" else (r.upstream, r.client)
        await one.send(frame)
        assert await other.receive(len(frame)) == frame
        await other.send(reply)
        assert await one.receive(len(reply)) == reply
        r.upstream.close()  # a server ends the connection, whoever closed it
        tunnel = await r.ended()
        assert (tunnel.closed_by, tunnel.close_code) == (first, 1000)


@pytest.mark.parametrize("role", ["client", "upstream"])
async def test_a_reset_ends_the_other_side(role: str) -> None:
    async with rig() as r:
        one, other = (r.client, r.upstream) if role == "client" else (r.upstream, r.client)
        await one.send(UNFINISHED)
        assert await other.receive(len(UNFINISHED)) == UNFINISHED
        one.reset()
        assert await other.receive_all() == b"", "nothing is invented to end a frame"
        tunnel = await r.ended()
        assert (tunnel.outcome, tunnel.closed_by) == (Outcome.RESET, role)


@pytest.mark.parametrize(("how", "outcome"), [("end", Outcome.UPSTREAM_CLOSED), ("reset", Outcome.RESET)])
async def test_a_client_whose_upstream_vanishes_is_told_that_the_service_restarts(how: str, outcome: Outcome) -> None:
    async with rig() as r:
        await r.upstream.send(HELLO)
        assert await r.client.receive(len(HELLO)) == HELLO
        getattr(r.upstream, how)()
        assert await r.client.receive(4) == close_frame(1012, masked=False)
        await r.client.send(MASKED_HELLO * 100)  # still talking: to end now would reset its connection
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""
        tunnel = await r.ended()
        assert (tunnel.outcome, tunnel.closed_by, tunnel.close_code) == (outcome, "upstream", None)


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_close_frame_of_the_upstream_is_the_only_one(how: str) -> None:
    async with rig() as r:
        await r.upstream.send(CLOSE)
        assert await r.client.receive(len(CLOSE)) == CLOSE
        getattr(r.upstream, how)()
        assert await r.client.receive_all() == b""
        assert r.tunnel.close_code == 1000


async def test_a_client_that_has_begun_to_close_gets_no_second_code() -> None:
    async with rig() as r:
        await r.client.send(MASKED_CLOSE)
        assert await r.upstream.receive(len(MASKED_CLOSE)) == MASKED_CLOSE
        r.upstream.close()
        assert await r.client.receive_all() == b""
        r.client.close()
        assert (await r.ended()).closed_by == "client"


async def test_an_upstream_whose_client_vanishes_gets_no_close_frame() -> None:
    async with rig() as r:
        r.client.end()
        assert await r.upstream.receive_all() == b""


async def test_a_silent_tunnel_is_closed_with_a_code_that_brings_its_client_back() -> None:
    async with rig(idle=0.2) as r:
        assert await r.client.receive(4) == close_frame(1001, masked=False)
        await r.client.send(close_frame(1001, masked=True))
        assert (await r.ended()).outcome is Outcome.IDLE


async def test_a_tunnel_with_a_heartbeat_in_one_direction_stays_open() -> None:
    async with rig(idle=0.4) as r:
        for _ in range(8):  # a heartbeat every 0.1 s for twice the idle time
            await r.upstream.send(HELLO)
            assert await r.client.receive(4) == HELLO
            await asyncio.sleep(0.1)
        assert r.tunnel.state is State.OPEN


async def test_a_tunnel_keeps_the_idle_time_that_it_began_with() -> None:
    def unswept(idle: float) -> AbstractAsyncContextManager[Rig]:
        return rig(idle=idle, is_swept=False)

    async with unswept(0.2) as short, unswept(3600) as long, unswept(0.1) as later:
        tunnels: list[Tunnel] = []
        sweep = IdleTunnels(lambda: tunnels)
        for r in (short, long, later):
            tunnels.append(r.tunnel)
            sweep.start(r.tunnel.idle_timeout)
        assert await later.client.receive(4) == close_frame(1001, masked=False)
        assert await short.client.receive(4) == close_frame(1001, masked=False)
        assert short.tunnel.outcome is Outcome.IDLE
        assert long.tunnel.outcome is None
        tunnels.clear()


async def test_an_ended_tunnel_is_no_reference_cycle() -> None:
    """Else all tunnels of a reconnect would stay until the garbage collector looks at the oldest objects."""
    async with rig() as r:
        r.tunnel.start_closing(1012, Outcome.DRAINED)
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == close_frame(1012, masked=False)
        tunnel = await r.ended()
    for leg in tunnel.legs:
        assert not [one for one in gc.get_referents(leg) if isinstance(one, Leg | Tunnel | asyncio.Protocol)]


def test_bytes_pass_both_ways_on_uvloop() -> None:
    on_uvloop(test_bytes_pass_both_ways_and_leftovers_go_first())


@pytest.mark.parametrize("role", ["client", "upstream"])
def test_half_close_and_reset_are_the_same_on_uvloop(role: str) -> None:
    on_uvloop(test_a_side_that_ends_can_still_receive(role))
    on_uvloop(test_a_reset_ends_the_other_side(role))


@pytest.mark.parametrize(("how", "outcome"), [("end", Outcome.UPSTREAM_CLOSED), ("reset", Outcome.RESET)])
def test_a_vanished_upstream_is_the_same_on_uvloop(how: str, outcome: Outcome) -> None:
    on_uvloop(test_a_client_whose_upstream_vanishes_is_told_that_the_service_restarts(how, outcome))
