"""The tunnel between two real TCP connections: bytes, back-pressure, half-close, goodbye and deadlines."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.errors import Outcome
from proxy.net.client_limits import Admitted, ClientCounter, ClientLimits, Lease
from proxy.websocket.frames import close_frame
from proxy.websocket.tunnel import IdleWatch, State, Tunnel

HELLO = b"\x81\x02hi"  # a whole text frame of a server
MASKED_HELLO = b"\x81\x82\0\0\0\0hi"
CLOSE = close_frame(1000, masked=False)
MASKED_CLOSE = close_frame(1000, masked=True)


class End:
    """The far end of one leg: what the client, or the upstream, sends and gets."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def receive(self, count: int) -> bytes:
        """Read exactly ``count`` bytes."""
        data = b""
        async with asyncio.timeout(10):
            while len(data) < count:
                piece = await asyncio.get_running_loop().sock_recv(self._sock, count - len(data))
                if not piece:
                    raise AssertionError(f"ended after {len(data)} bytes: {data[-100:]!r}")
                data += piece
        return data

    async def receive_all(self) -> bytes:
        """Read to the end."""
        data = b""
        async with asyncio.timeout(10):
            while piece := await asyncio.get_running_loop().sock_recv(self._sock, 1 << 20):
                data += piece
        return data

    def end(self) -> None:
        """Send no more, but still read."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


class Rig:
    """A tunnel with both its far ends."""

    def __init__(
        self, tunnel: Tunnel, client: End, upstream: End, ended: asyncio.Event, buffered: ClientCounter
    ) -> None:
        self.tunnel, self.client, self.upstream, self._ended = tunnel, client, upstream, ended
        self.buffered = buffered

    async def buffers(self) -> int:
        """Wait until bytes wait for a side that is slow; return how many."""
        async with asyncio.timeout(10):
            while not self.buffered.total:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
        return self.buffered.total

    async def ended(self) -> Tunnel:
        async with asyncio.timeout(10):
            await self._ended.wait()
        return self.tunnel


@asynccontextmanager
async def rig(
    *,
    idle: float = 60,
    buffer: int = 65536,
    most: int | None = None,
    answer: bytes = b"",
    from_upstream: bytes = b"",
    from_client: bytes = b"",
) -> AsyncIterator[Rig]:
    ended = asyncio.Event()
    client_transport, client = await _leg()
    upstream_transport, upstream = await _leg()
    calls = []

    def on_end(tunnel: Tunnel) -> None:
        watch.forget(tunnel)
        calls.append(tunnel)
        ended.set()

    admission = ClientLimits()

    def hold(size: int) -> Lease | None:
        verdict = admission.buffer("192.0.2.1", size, most, 0.0)
        return verdict.slot if isinstance(verdict, Admitted) else None

    tunnel = Tunnel(client_transport, upstream_transport, buffer=buffer, send=60, hold=hold, on_end=on_end)
    tunnel.open(answer, from_upstream, from_client)
    watch = IdleWatch(idle)
    watch.watch(tunnel)
    try:
        yield Rig(tunnel, client, upstream, ended, admission.buffered)
    finally:
        tunnel.abort()
        client.close()
        upstream.close()
        async with asyncio.timeout(10):
            await ended.wait()
        assert calls == [tunnel], "the end is told once"
        assert admission.buffered.total == 0, "and what waited is counted out"


async def _leg() -> tuple[asyncio.Transport, End]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    far.setblocking(False)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    transport.pause_reading()
    return transport, End(far)


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


LAST_WORDS = b"\x82\x0alast"
"""A frame that is not at its end: whoever leaves in it has said its last word, whatever it was."""


@pytest.mark.parametrize("role", ["client", "upstream"])
async def test_a_side_that_ends_can_still_receive(role: str) -> None:
    async with rig() as r:
        one, other = (r.client, r.upstream) if role == "client" else (r.upstream, r.client)
        await one.send(LAST_WORDS)
        one.end()
        assert await other.receive_all() == LAST_WORDS
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
        await one.send(LAST_WORDS)
        assert await other.receive(len(LAST_WORDS)) == LAST_WORDS
        one.reset()
        assert await other.receive_all() == b"", "nothing is invented to end a frame"
        tunnel = await r.ended()
        assert (tunnel.outcome, tunnel.closed_by) == (Outcome.RESET, role)


@pytest.mark.parametrize(("how", "outcome"), [("end", Outcome.UPSTREAM_CLOSED), ("reset", Outcome.RESET)])
async def test_a_client_whose_upstream_vanishes_is_told_to_come_back(how: str, outcome: Outcome) -> None:
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


async def test_a_client_that_does_not_answer_that_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.websocket.tunnel.FAREWELL", 0.05)
    async with rig() as r:
        r.upstream.reset()
        assert await r.client.receive_all() == close_frame(1012, masked=False)
        await r.ended()


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_close_that_the_upstream_has_said_itself_is_the_only_one(how: str) -> None:
    async with rig() as r:
        await r.upstream.send(CLOSE)
        assert await r.client.receive(len(CLOSE)) == CLOSE
        getattr(r.upstream, how)()
        assert await r.client.receive_all() == b""
        assert r.tunnel.close_code == 1000


async def test_a_client_that_has_begun_to_close_hears_no_second_code() -> None:
    async with rig() as r:
        await r.client.send(MASKED_CLOSE)
        assert await r.upstream.receive(len(MASKED_CLOSE)) == MASKED_CLOSE
        r.upstream.close()
        assert await r.client.receive_all() == b""
        r.client.close()
        assert (await r.ended()).closed_by == "client"


GOODBYE = {"upstream": close_frame(1009, masked=False), "client": close_frame(1009, masked=True)}


@pytest.mark.parametrize("before", [0, 40_000])
@pytest.mark.parametrize("role", ["client", "upstream"])
async def test_a_goodbye_reaches_the_other_side_though_a_write_meets_the_reset_behind_it_first(
    role: str, before: int
) -> None:
    """As a service does that refuses a message which is still coming. before: bytes that wait to be read with it."""
    async with rig() as r:
        one, other = (r.client, r.upstream) if role == "client" else (r.upstream, r.client)
        near = r.tunnel._client if role == "client" else r.tunnel._upstream
        near.transport.pause_reading()  # whatever else has its turn first
        said = b"\x82\x7f" + before.to_bytes(8, "big") + bytes(before) + GOODBYE["upstream"]
        if role == "client":
            said = b"\x82\xff" + before.to_bytes(8, "big") + b"\0\0\0\0" + bytes(before) + GOODBYE["client"]
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


async def test_whoever_sends_without_end_is_not_heard_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.websocket.tunnel.FAREWELL", 0.05)
    monkeypatch.setattr("proxy.websocket.tunnel.LINGERING", 0.2)
    async with rig() as r:
        await r.upstream.send(GOODBYE["upstream"])
        assert await r.client.receive(4) == GOODBYE["upstream"]
        r.upstream.reset()
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(10):
                while True:
                    await r.client.send(bytes(65536))
                    await asyncio.sleep(0.001)
        await r.ended()


async def test_an_upstream_whose_client_vanishes_gets_no_word_of_ours() -> None:
    async with rig() as r:
        r.client.end()
        assert await r.upstream.receive_all() == b""


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


@pytest.mark.parametrize("ending", ["goodbye", "reset"])
async def test_what_waits_is_counted_out_when_the_tunnel_ends(ending: str) -> None:
    async with rig(buffer=4096) as r:
        data = b"\x82\x7f" + (16 << 20).to_bytes(8, "big") + bytes(16 << 20)
        sending = asyncio.get_running_loop().create_task(r.upstream.send(data), name="sender")
        await r.buffers()
        if ending == "goodbye":
            r.tunnel.say_goodbye(1012, Outcome.DRAINED)
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


async def test_a_side_that_sends_a_lot_lets_others_have_a_turn() -> None:
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
        leg = r.tunnel._client if role == "client" else r.tunnel._upstream
        assert leg.transport.get_write_buffer_size() <= 65536 + (256 << 10)  # the mark, and one read of the loop
        assert await slow.receive(len(data)) == data
        await sending


async def test_leftovers_that_fill_the_buffer_do_not_undo_the_waiting() -> None:
    big = b"x" * (8 << 20)
    async with rig(buffer=65536, from_upstream=big) as r:
        await asyncio.sleep(0)
        assert not r.tunnel._upstream.transport.is_reading()
        assert await r.client.receive(len(big)) == big
        await r.upstream.send(b"more")
        assert await r.client.receive(4) == b"more"


async def test_goodbye_reaches_both_sides_between_two_frames() -> None:
    async with rig() as r:
        await r.upstream.send(HELLO)
        assert await r.client.receive(4) == HELLO
        r.tunnel.say_goodbye(1012, Outcome.DRAINED)
        assert await r.client.receive(4) == close_frame(1012, masked=False)
        assert await r.upstream.receive(8) == close_frame(1012, masked=True)
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""
        tunnel = await r.ended()
        assert (tunnel.outcome, tunnel.closed_by, tunnel.close_code) == (Outcome.DRAINED, "gateway", 1012)


async def test_goodbye_waits_for_the_end_of_a_frame_under_way() -> None:
    async with rig() as r:
        await r.upstream.send(b"\x82\x7e\x01\x00" + b"x" * 100)
        assert await r.client.receive(104) == b"\x82\x7e\x01\x00" + b"x" * 100
        r.tunnel.say_goodbye(1012, Outcome.DRAINED)
        assert await r.upstream.receive(8) == close_frame(1012, masked=True)  # nothing was under way here
        await r.upstream.send(b"x" * 156 + HELLO + HELLO[:3])  # the rest, a whole frame, and half of a third
        assert await r.client.receive(164) == b"x" * 156 + HELLO + close_frame(1012, masked=False)
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""
        await r.ended()


async def test_goodbye_is_followed_by_the_end_even_if_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.websocket.tunnel.FAREWELL", 0.05)
    async with rig() as r:
        r.tunnel.say_goodbye(1012, Outcome.DRAINED)
        assert await r.client.receive_all() == close_frame(1012, masked=False)
        assert (await r.ended()).outcome is Outcome.DRAINED


async def test_an_upstream_that_leaves_at_the_goodbye_does_not_hurry_the_client() -> None:
    async with rig() as r:
        r.tunnel.say_goodbye(1012, Outcome.DRAINED)
        assert await r.upstream.receive(8) == close_frame(1012, masked=True)
        r.upstream.close()
        assert await r.client.receive(4) == close_frame(1012, masked=False)
        await r.client.send(MASKED_HELLO * 100)  # still talking: closing now would reset its connection
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""
        await r.ended()


async def test_goodbye_after_a_half_close_writes_only_where_it_can() -> None:
    async with rig() as r:
        r.client.end()
        assert await r.upstream.receive_all() == b""
        r.tunnel.say_goodbye(1012, Outcome.DRAINED)
        assert await r.client.receive(4) == close_frame(1012, masked=False)


async def test_goodbye_twice_is_goodbye_once() -> None:
    async with rig() as r:
        r.tunnel.say_goodbye(1012, Outcome.DRAINED)
        r.tunnel.say_goodbye(1001, Outcome.IDLE)
        assert await r.client.receive(4) == close_frame(1012, masked=False)
        await r.client.send(close_frame(1012, masked=True))
        assert await r.client.receive_all() == b""


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


async def test_both_connections_send_each_piece_at_once() -> None:
    async with rig() as r:
        for leg in (r.tunnel._client, r.tunnel._upstream):
            sock = leg.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    uvloop = pytest.importorskip("uvloop")
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@pytest.mark.parametrize(
    "scene",
    [
        test_bytes_pass_both_ways_and_leftovers_go_first,
        test_goodbye_reaches_both_sides_between_two_frames,
        test_goodbye_waits_for_the_end_of_a_frame_under_way,
        test_leftovers_that_fill_the_buffer_do_not_undo_the_waiting,
    ],
)
def test_the_same_holds_on_uvloop(scene: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=_uvloop_factory()) as runner:
        runner.run(scene())  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["client", "upstream"])
def test_half_close_and_back_pressure_hold_on_uvloop(role: str) -> None:
    with asyncio.Runner(loop_factory=_uvloop_factory()) as runner:
        runner.run(test_a_side_that_ends_can_still_receive(role))
        runner.run(test_a_slow_reader_makes_its_sender_wait_and_loses_nothing(role))
        runner.run(test_a_reset_ends_the_other_side(role))


@pytest.mark.parametrize("before", [0, 40_000])
@pytest.mark.parametrize("role", ["client", "upstream"])
def test_last_words_are_heard_on_uvloop_too(role: str, before: int) -> None:
    scene = test_a_goodbye_reaches_the_other_side_though_a_write_meets_the_reset_behind_it_first
    with asyncio.Runner(loop_factory=_uvloop_factory()) as runner:
        runner.run(scene(role, before))


async def test_an_end_that_is_told_to_the_leg_before_the_goodbye_counts() -> None:
    """Over TLS the loops tell it to the protocol that was there when the end was on its way."""
    async with rig() as r:
        client, _ = r.tunnel.legs
        r.tunnel.say_goodbye(1012, Outcome.DRAINED)
        client.transport.set_protocol(asyncio.Protocol())  # who is told is played here
        client.connection_lost(None)
        client.transport.abort()
        r.upstream.close()
        await r.ended()


async def test_a_tunnel_keeps_the_idle_time_that_it_began_with() -> None:
    async with rig() as short, rig() as long, rig() as later:
        watch = IdleWatch(0.2)
        watch.watch(short.tunnel)
        watch.use(3600)
        watch.watch(long.tunnel)
        watch.use(0.1)
        watch.watch(later.tunnel)
        assert await later.client.receive(4) == close_frame(1001, masked=False)
        assert await short.client.receive(4) == close_frame(1001, masked=False)
        assert short.tunnel.outcome is Outcome.IDLE
        assert long.tunnel.outcome is None
        for r in (short, long, later):
            watch.forget(r.tunnel)
        assert len(watch) == 0


@pytest.mark.parametrize(("how", "outcome"), [("end", Outcome.UPSTREAM_CLOSED), ("reset", Outcome.RESET)])
def test_a_vanished_upstream_is_the_same_on_uvloop(how: str, outcome: Outcome) -> None:
    with asyncio.Runner(loop_factory=_uvloop_factory()) as runner:
        runner.run(test_a_client_whose_upstream_vanishes_is_told_to_come_back(how, outcome))
