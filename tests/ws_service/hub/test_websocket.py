"""The hub's own WebSocket connection: handshakes, messages both ways, slow clients, ends; no input disturbs others."""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import AsyncExitStack

import pytest

from tests.wire.frames import CLOSE, MASK, PING, PONG, TEXT, frame
from tests.ws_service.adopting import both_loops as both_loops
from tests.ws_service.adopting import close_frame, head, text_frame
from tests.ws_service.hub.sockets import PATH, TakingHub, connected, publication
from ws_service.hub import websocket
from ws_service.hub.codes import SHUTDOWN, SLOW
from ws_service.hub.outbox import MOST
from ws_service.hub.topics import SlowPolicy
from ws_service.websocket import deadlines, sweep
from ws_service.websocket.resources import Resources

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LATEST, DROP, DISCONNECT = SlowPolicy.LATEST, SlowPolicy.DROP_OLDEST, SlowPolicy.DISCONNECT


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PERIOD", 0.05)


def code_of(payload: bytes) -> int:
    return int(struct.unpack("!H", payload[:2])[0])


# -- handshakes


async def test_a_handshake_makes_a_client_that_knows_what_it_came_with() -> None:
    async with connected("X-User: ada", target=f"/app{PATH}?a=1&b") as rig:
        await rig.opened()
        found = rig.client.handshake
        assert (found.address, found.path, found.query) == ("10.0.0.7", f"/app{PATH}", "a=1&b")
        assert found.field("x-user") == "ada"
        assert rig.connection.status == 101


async def test_compression_is_not_negotiated_and_the_protocols_name_is() -> None:
    fields = ("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: centrifuge-json")
    async with connected(*fields) as rig:
        answer = (await rig.peer.head()).lower()
        assert b"sec-websocket-extensions" not in answer
        assert b"sec-websocket-protocol: centrifuge-json" in answer


REFUSED = {
    "no HTTP": (b"\x16\x03\x01\r\n\r\n", 400),
    "half a head": (b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\n", 400),
    "no upgrade": (b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\n\r\n", 426),
    "no key": (head(PATH).replace(b"Sec-WebSocket-Key", b"X-Nothing"), 400),
    "another version": (head(PATH).replace(b"Version: 13", b"Version: 8"), 400),
    "another method": (head(PATH).replace(b"GET ", b"PUT ", 1), 405),
    "a control character": (head(PATH, "X-Bad: \x01"), 400),
    "5000 fields": (head(PATH, *(f"X-{number}: y" for number in range(5000))), 431),
}


@pytest.mark.parametrize(("given", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_handshake_is_answered_with_a_line(
    given: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(given=given) as rig:
        answer = await rig.peer.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        await rig.ended()
        assert rig.connection.status == status
        assert caplog.text.count(f"answered the handshake with {status}: ") == 1
        assert not rig.hub.clients


async def test_a_hub_that_stops_answers_503() -> None:
    hub = TakingHub()
    hub.is_closing = True
    async with connected(hub=hub) as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 503 ")


# -- messages of the client


async def test_messages_reach_the_client_whole_whatever_their_frames_are() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.peer.say("one")
        rig.peer.writer.write(frame(TEXT, b"tw", fin=False, mask=MASK) + frame(PING, b"?", mask=MASK))
        rig.peer.writer.write(frame(0, b"o", mask=MASK) + text_frame("grün"))
        await rig.client.has_taken(3)
        assert rig.client.taken == [b"one", b"two", "grün".encode()]
        assert await rig.peer.frame() == (PONG, b"?")
        assert rig.connection.input.memory is not None
        assert rig.connection.input.memory.held == 0


ENDS = {
    "binary": (frame(2, b"x", mask=MASK), 1003),
    "not UTF-8": (frame(TEXT, b"\xff", mask=MASK), 1007),
    "RSV1": (frame(TEXT, b"x", rsv=4, mask=MASK), 1002),
    "RSV3": (frame(TEXT, b"x", rsv=1, mask=MASK), 1002),
    "an unknown opcode": (frame(3, b"x", mask=MASK), 1002),
    "no mask": (frame(TEXT, b"x"), 1002),
    "a continuation of nothing": (frame(0, b"x", mask=MASK), 1002),
    "a long control frame": (frame(PING, bytes(126), mask=MASK), 1002),
    "a frame that is too long": (frame(TEXT, bytes(65537), mask=MASK)[:20], 1009),
    "a frame of 2^63 bytes": (b"\x81\xff" + (2**63 - 1).to_bytes(8, "big") + MASK, 1009),
    "a message that is too long": (
        frame(TEXT, b"x" * 40_000, fin=False, mask=MASK) + frame(0, b"x" * 40_000, mask=MASK),
        1009,
    ),
}


@pytest.mark.parametrize(("given", "code"), ENDS.values(), ids=ENDS)
async def test_a_mistake_ends_the_connection_with_its_code_and_no_traceback(
    given: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected() as rig:
        await rig.opened()
        rig.peer.writer.write(given)
        opcode, payload = await rig.peer.frame()
        assert (opcode, code_of(payload)) == (CLOSE, code)
        assert await rig.peer.rest() == b""
        await rig.ended()
        assert rig.client.ends == 1
        assert rig.client.taken == []
        assert "Traceback" not in caplog.text


async def test_the_longest_message_is_taken() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.peer.say("x" * 65536)
        await rig.client.has_taken(1)


async def test_a_fault_of_the_client_ends_its_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with connected() as rig:
        await rig.opened()
        rig.peer.say("fail")
        opcode, payload = await rig.peer.frame()
        assert (opcode, code_of(payload)) == (CLOSE, 3004)
        assert "the hub failed (RuntimeError: a fault)" in caplog.text


async def test_a_client_that_is_paused_is_not_read_until_it_is_resumed() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.connection.pause_reading()
        rig.peer.say("one")
        async with asyncio.timeout(10):
            while not rig.connection.input.is_waiting or not rig.connection.input.is_paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert rig.client.taken == []
        rig.connection.resume_reading()
        await rig.client.has_taken(1)


async def test_what_one_client_holds_in_unfinished_messages_is_bounded() -> None:
    async with connected(memory=20_000) as rig:
        await rig.opened()
        rig.peer.writer.write(frame(TEXT, bytes(15_000), fin=False, mask=MASK) + frame(0, bytes(15_000), mask=MASK))
        opcode, payload = await rig.peer.frame()
        assert (opcode, code_of(payload)) == (CLOSE, 1009)


async def test_a_message_that_does_not_end_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "UNFINISHED", 0.05)
    async with connected() as rig:
        await rig.opened()
        rig.peer.writer.write(frame(TEXT, b"x", fin=False, mask=MASK))
        opcode, payload = await rig.peer.frame()
        assert (opcode, code_of(payload)) == (CLOSE, 1008)


# -- messages to the client


async def test_replies_and_publications_are_frames_of_their_own_in_their_order() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.connection.send(b"reply")
        rig.connection.deliver(publication(1))
        rig.connection.send(b"another")
        assert [await rig.peer.frame() for _ in range(3)] == [
            (TEXT, b"reply"),
            (TEXT, publication(1).push),
            (TEXT, b"another"),
        ]


async def test_the_raw_form_is_data_alone() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.connection.is_raw = True
        rig.connection.deliver(publication(1))
        assert await rig.peer.frame() == (TEXT, publication(1).data)


def make_slow(connection: object) -> None:
    """Have the transport say that it has as much as it takes."""
    connection.pause_writing()  # type: ignore[attr-defined]


async def test_what_has_waited_is_joined_sixteen_to_a_frame() -> None:
    async with connected() as rig:
        await rig.opened()
        make_slow(rig.connection)
        for number in range(MOST + 1):
            rig.connection.send(b"%d" % number)
        rig.connection.resume_writing()
        assert await rig.peer.frame() == (TEXT, b"\n".join(b"%d" % number for number in range(MOST)))
        assert await rig.peer.frame() == (TEXT, b"%d" % MOST)
        rig.connection.send(b"at once")
        assert await rig.peer.frame() == (TEXT, b"at once")


async def test_the_raw_form_never_joins_messages() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.connection.is_raw = True
        make_slow(rig.connection)
        for number in range(2):
            rig.connection.deliver(publication(number, DROP))
        rig.connection.resume_writing()
        assert [await rig.peer.frame() for _ in range(2)] == [(TEXT, publication(n).data) for n in range(2)]


async def until_slow(connection: object) -> int:
    """Publish until the transport takes no more; return how many that took."""
    count = 0
    while not connection._is_slow:  # type: ignore[attr-defined]
        connection.deliver(publication(count, size=10_000))  # type: ignore[attr-defined]
        count += 1
        if count % 10 == 0:
            await asyncio.sleep(0)
    return count


@pytest.mark.parametrize("policy", [LATEST, DROP])
async def test_a_client_that_stops_reading_holds_no_more_than_its_queue(policy: SlowPolicy) -> None:
    async with connected(hub=TakingHub(queue=100_000)) as rig:
        await rig.opened()
        rig.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = await until_slow(rig.connection)
        for number in range(1000):
            rig.connection.deliver(publication(before + number, policy, size=10_000))
        outbox = rig.connection._outbox
        assert outbox is not None
        assert outbox.size <= (11_000 if policy is LATEST else 100_000)
        assert rig.hub.counts.of("a").dropped == {policy: 1000 - len(outbox)}
        assert rig.connection._transport.get_write_buffer_size() < 50_000
        rig.peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        last, joined = -1, 0
        while last < before + 999:
            _, payload = await rig.peer.frame()
            found = [int(line.removeprefix(b"push ")[:8]) for line in payload.split(b"\n")]
            assert found == sorted(found) and found[0] > last, "in order, whatever is left out"
            joined = max(joined, len(found))
            last = found[-1]
        assert rig.connection._outbox is None
        assert joined == (1 if policy is LATEST else 9)


@pytest.mark.parametrize("way", ["a publication", "replies", "one large reply"])
async def test_what_waits_counts_for_all_sockets_of_a_client(way: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with connected(memory=1 << 20, hub=TakingHub(queue=8 << 20)) as rig:
        await rig.opened()
        rig.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until_slow(rig.connection)
        for number in range(1 if way == "one large reply" else 150):
            if way == "a publication":
                rig.connection.deliver(publication(number, DISCONNECT, size=10_000))
            else:
                rig.connection.send(bytes(1_500_000 if way == "one large reply" else 10_000))
        await rig.ended()
        assert "more than 1024 KiB wait for it; this one is cut" in caplog.text


async def test_what_the_client_has_taken_counts_no_more() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until_slow(rig.connection)
        for number in range(100):
            rig.connection.deliver(publication(number, DISCONNECT, size=10_000))
        memory = rig.connection.input.memory
        assert memory is not None and memory.held > 1_000_000
        rig.peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while rig.connection._outbox or rig.connection._is_slow:
            await rig.peer.frame()
        assert memory.held == 0


async def test_a_large_publication_to_many_clients_of_one_address_cuts_none() -> None:
    shared = Resources(1 << 20)
    large = publication(1, size=8_000_000)  # more than the kernel takes at once
    async with AsyncExitStack() as stack:
        rigs = [await stack.enter_async_context(connected(shared=shared)) for _ in range(5)]
        for rig in rigs:
            await rig.opened()
        for rig in rigs:
            rig.connection.deliver(large)
            assert rig.connection._transport.get_write_buffer_size() > 1 << 20
        for rig in rigs:
            assert await rig.peer.frame() == (TEXT, large.push)
            assert not rig.connection.is_gone


@pytest.mark.parametrize("way", ["a publication", "replies"])
async def test_one_that_must_get_all_and_does_not_read_is_closed_with_3008(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with connected(hub=TakingHub(queue=50_000)) as rig:
        await rig.opened()
        rig.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until_slow(rig.connection)
        for number in range(10):
            if way == "replies":
                rig.connection.send(bytes(10_000))
            else:
                rig.connection.deliver(publication(number, DISCONNECT, size=10_000))
        assert rig.connection._outbox is None
        assert rig.client.ends, "its client is told at once"
        assert rig.hub.counts.disconnects == {"3008": 1}
        assert rig.hub.counts.of("a").dropped == ({} if way == "replies" else {DISCONNECT: 1})
        assert "more than 48 KiB wait for it; closed with 3008" in caplog.text
        rig.peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        opcode, payload = TEXT, b""
        while opcode == TEXT:
            opcode, payload = await rig.peer.frame()
        assert (opcode, code_of(payload), payload[2:]) == (CLOSE, SLOW.code, b"slow")


async def test_one_that_takes_nothing_is_cut() -> None:
    async with connected(send=0.05) as rig:
        await rig.opened()
        rig.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until_slow(rig.connection)
        await rig.ended()
        assert rig.connection.was_reset is False
        assert rig.client.ends == 1


async def test_nothing_is_read_of_one_that_does_not_read() -> None:
    async with connected() as rig:
        await rig.opened()
        make_slow(rig.connection)
        rig.peer.writer.write(frame(PING, b"?", mask=MASK) * 100)
        async with asyncio.timeout(10):
            while not rig.connection.input.is_paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        rig.connection.resume_writing()
        assert await rig.peer.frame() == (PONG, b"?")


# -- ends


async def test_a_close_comes_after_what_waits_and_the_connection_ends_with_the_answer() -> None:
    async with connected() as rig:
        await rig.opened()
        make_slow(rig.connection)
        rig.connection.send(b"the last reply")
        rig.connection.close(3500, "invalid token")
        rig.connection.close(3501, "too late")
        rig.connection.send(b"too late")
        rig.connection.deliver(publication(1))
        rig.connection.resume_writing()
        assert await rig.peer.frame() == (TEXT, b"the last reply")
        assert await rig.peer.frame() == (CLOSE, struct.pack("!H", 3500) + b"invalid token")
        rig.peer.say("too late")
        rig.peer.writer.write(close_frame(3500))
        assert await rig.peer.rest() == b""
        await rig.ended()
        assert rig.client.taken == []


async def test_a_client_that_does_not_answer_a_close_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_WAIT", 0.05)
    async with connected() as rig:
        await rig.opened()
        rig.connection.close(3503, "force disconnect")
        assert (await rig.peer.frame())[0] == CLOSE
        await rig.ended()


async def test_a_flood_that_goes_on_after_a_close_is_cut() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.connection.close(3013, "too many requests")
        rig.peer.say("{}")
        assert (await rig.peer.frame())[0] == CLOSE
        began = asyncio.get_running_loop().time()
        for _ in range(websocket.MOST_TOO_LATE + 1):
            rig.peer.say("{}")
        await rig.ended()
        assert asyncio.get_running_loop().time() - began < websocket.CLOSE_WAIT
        assert rig.client.taken == []


async def test_a_close_of_the_client_is_answered() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.peer.writer.write(close_frame(1000))
        assert await rig.peer.frame() == (CLOSE, struct.pack("!H", 1000))
        assert await rig.peer.rest() == b""
        await rig.ended()
        assert rig.client.ends == 1


async def test_a_long_reason_is_cut_between_characters() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.connection.close(3501, "ü" * 100)
        _, payload = await rig.peer.frame()
        assert payload[2:].decode() == "ü" * 61


async def test_a_stop_closes_with_3001_so_that_clients_come_back() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.connection.shutdown()
        rig.connection.shutdown()
        assert await rig.peer.frame() == (CLOSE, struct.pack("!H", SHUTDOWN.code) + b"shutdown")


async def test_after_the_end_nothing_is_sent_and_nothing_raised() -> None:
    async with connected() as rig:
        await rig.opened()
        rig.peer.writer.transport.abort()
        await rig.ended()
        assert rig.client.ends == 1
        rig.connection.send(b"reply")
        rig.connection.deliver(publication(1))
        rig.connection.pause_reading()
        rig.connection.resume_reading()
        rig.connection.close(3500, "")
        rig.connection.shutdown()


async def test_a_client_that_cannot_be_made_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    hub = TakingHub()
    hub.connect = lambda *_: json.loads("{")  # type: ignore[method-assign]
    async with connected(hub=hub) as rig:
        await rig.opened()
        opcode, payload = await rig.peer.frame()
        assert (opcode, code_of(payload)) == (CLOSE, 3004)
        assert "the hub failed (JSONDecodeError" in caplog.text
