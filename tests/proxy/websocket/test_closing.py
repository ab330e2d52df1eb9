"""How a tunnel closes: close frames between two frames, lingering close, and the timeout for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from proxy.errors import Outcome
from proxy.websocket.frames import close_frame
from tests.proxy.websocket.tunnels import HELLO, MASKED_HELLO, on_uvloop, rig


async def test_a_client_that_does_not_answer_that_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.websocket.closing.CLOSE_TIMEOUT", 0.05)
    async with rig() as r:
        r.upstream.reset()
        assert await r.client.receive_all() == close_frame(1012, masked=False)
        await r.ended()


CLOSE_1009 = {"upstream": close_frame(1009, masked=False), "client": close_frame(1009, masked=True)}


@pytest.mark.parametrize("before", [0, 40_000])
@pytest.mark.parametrize("role", ["client", "upstream"])
async def test_a_close_frame_reaches_the_other_side_though_a_write_meets_the_reset_after_it_first(
    role: str, before: int
) -> None:
    """As a service does that refuses a message which is still coming. before: bytes that wait to be read with it."""
    async with rig() as r:
        one, other = (r.client, r.upstream) if role == "client" else (r.upstream, r.client)
        near = r.tunnel.legs[0] if role == "client" else r.tunnel.legs[1]
        near.transport.pause_reading()  # whatever else has its turn first
        said = b"\x82\x7f" + before.to_bytes(8, "big") + bytes(before) + CLOSE_1009["upstream"]
        if role == "client":
            said = b"\x82\xff" + before.to_bytes(8, "big") + b"\0\0\0\0" + bytes(before) + CLOSE_1009["client"]
        await one.send(said)
        one.reset()
        sent = 0
        async with asyncio.timeout(10):
            while not near.transport.is_closing():
                await other.send(b"\x82\x7e\xff\xff")  # a frame without end
                sent += 4
                await asyncio.sleep(0)
        heard = await other.receive(len(said))
        assert heard == said
        await other.send(bytes(1 << 20))  # it goes on, and is not reset before it has heard
        other.end()
        assert await other.receive_all() == b""
        tunnel = await r.ended()
        assert (tunnel.closed_by, tunnel.close_code) == (role, 1009)
        assert tunnel.outcome in (Outcome.CLIENT_CLOSED, Outcome.UPSTREAM_CLOSED)


async def test_a_side_that_sends_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.websocket.closing.CLOSE_TIMEOUT", 0.05)
    monkeypatch.setattr("proxy.websocket.closing.LINGERING", 0.2)
    async with rig() as r:
        await r.upstream.send(CLOSE_1009["upstream"])
        assert await r.client.receive(4) == CLOSE_1009["upstream"]
        r.upstream.reset()
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(10):
                while True:
                    await r.client.send(bytes(65536))
                    await asyncio.sleep(0.001)
        await r.ended()


async def test_a_close_frame_reaches_both_sides_between_two_frames() -> None:
    async with rig() as r:
        await r.upstream.send(HELLO)
        assert await r.client.receive(4) == HELLO
        r.tunnel.start_closing(1012, Outcome.DRAINED)
        assert await r.client.receive(4) == close_frame(1012, masked=False)
        assert await r.upstream.receive(8) == close_frame(1012, masked=True)
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""
        tunnel = await r.ended()
        assert (tunnel.outcome, tunnel.closed_by, tunnel.close_code) == (Outcome.DRAINED, "gateway", 1012)


async def test_a_close_frame_waits_for_the_end_of_a_frame_under_way() -> None:
    async with rig() as r:
        await r.upstream.send(b"\x82\x7e\x01\x00" + b"x" * 100)
        assert await r.client.receive(104) == b"\x82\x7e\x01\x00" + b"x" * 100
        r.tunnel.start_closing(1012, Outcome.DRAINED)
        assert await r.upstream.receive(8) == close_frame(1012, masked=True)  # nothing was under way here
        await r.upstream.send(b"x" * 156 + HELLO + HELLO[:3])  # the rest, a whole frame, and half of a third
        assert await r.client.receive(164) == b"x" * 156 + HELLO + close_frame(1012, masked=False)
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""
        await r.ended()


async def test_a_close_frame_that_is_not_answered_is_followed_by_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.websocket.closing.CLOSE_TIMEOUT", 0.05)
    async with rig() as r:
        r.tunnel.start_closing(1012, Outcome.DRAINED)
        assert await r.client.receive_all() == close_frame(1012, masked=False)
        assert (await r.ended()).outcome is Outcome.DRAINED


async def test_an_upstream_that_ends_at_the_close_frame_does_not_hurry_the_client() -> None:
    async with rig() as r:
        r.tunnel.start_closing(1012, Outcome.DRAINED)
        assert await r.upstream.receive(8) == close_frame(1012, masked=True)
        r.upstream.close()
        assert await r.client.receive(4) == close_frame(1012, masked=False)
        await r.client.send(MASKED_HELLO * 100)  # still talking: closing now would reset its connection
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""
        await r.ended()


async def test_closing_after_a_half_close_writes_only_where_it_can() -> None:
    async with rig() as r:
        r.client.end()
        assert await r.upstream.receive_all() == b""
        r.tunnel.start_closing(1012, Outcome.DRAINED)
        assert await r.client.receive(4) == close_frame(1012, masked=False)


async def test_a_tunnel_that_is_closing_writes_no_second_close_frame() -> None:
    async with rig() as r:
        r.tunnel.start_closing(1012, Outcome.DRAINED)
        r.tunnel.start_closing(1001, Outcome.IDLE)
        assert await r.client.receive(4) == close_frame(1012, masked=False)
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""


async def test_an_end_that_is_told_to_the_protocol_before_the_close_frame_counts() -> None:
    """Over TLS the loops tell it to the protocol that was there when the end was on its way."""
    async with rig() as r:
        client, _ = r.tunnel.legs
        r.tunnel.start_closing(1012, Outcome.DRAINED)
        client.transport.set_protocol(asyncio.Protocol())  # the test tells it itself
        client.connection_lost(None)
        client.transport.abort()
        r.upstream.close()
        await r.ended()


@pytest.mark.parametrize(
    "scene",
    [
        test_a_close_frame_reaches_both_sides_between_two_frames,
        test_a_close_frame_waits_for_the_end_of_a_frame_under_way,
    ],
)
def test_close_frames_are_the_same_on_uvloop(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    on_uvloop(scene())


@pytest.mark.parametrize("before", [0, 40_000])
@pytest.mark.parametrize("role", ["client", "upstream"])
def test_a_close_frame_before_a_reset_is_read_on_uvloop_too(role: str, before: int) -> None:
    on_uvloop(test_a_close_frame_reaches_the_other_side_though_a_write_meets_the_reset_after_it_first(role, before))
