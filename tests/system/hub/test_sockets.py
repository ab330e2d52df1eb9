"""Sockets of the hub through the real gateway, handed over and tunnelled: the way in, both directions, the ends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.handoff import WAYS
from tests.system.hub.hub import Hub, running_hub
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import CLOSE, MASK, PING, TEXT, Frame, frame, text_frame
from tests.wire.messages import handshake

PATH = "/connection/websocket"


@pytest.fixture(scope="module", params=WAYS)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("sockets"), way=request.param) as hub:
        yield hub


def dial(hub: Hub, target: str = PATH, *fields: str, ahead: bytes = b"") -> Wire:
    client = hub.gateway.dial()
    client.send(handshake(target, *fields) + ahead)
    head = client.read_head()
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client


def command(**fields: Any) -> bytes:
    return text_frame(json.dumps(fields), mask=MASK)


def messages(client: Wire, count: int) -> list[Any]:
    """Read so many messages; several may be in one frame."""
    found: list[Any] = []
    while len(found) < count:
        frame = client.read_frame()
        assert frame.opcode == TEXT, frame
        found += map(json.loads, frame.payload.splitlines())
    return found


@pytest.mark.parametrize("prefix", ["", "/app"])
def test_a_publication_reaches_every_client_that_has_subscribed(hub: Hub, prefix: str) -> None:
    topic = f"open:{prefix}"
    with dial(hub, prefix + PATH, ahead=command(id=1, connect={})) as one, dial(hub) as other:
        one.send(command(id=2, subscribe={"channel": topic}))
        connected, subscribed = messages(one, 2)
        assert connected["connect"]["client"]
        assert subscribed["id"] == 2 and "error" not in subscribed
        other.send(command(id=1, connect={}))
        other.send(command(id=2, subscribe={"channel": topic}))
        messages(other, 2)
        position = hub.publish(topic, {"n": 1})
        (pushed,), (same,) = messages(one, 1), messages(other, 1)
        assert pushed == same
        assert pushed["push"]["channel"] == topic
        assert pushed["push"]["pub"] == {"data": {"n": 1}, "offset": position["offset"]}


def test_the_raw_form_is_data_alone(hub: Hub) -> None:
    hub.publish("latest:raw", {"n": 1})
    with dial(hub, f"{PATH}?channels=latest:raw,open:raw&raw=1") as client:
        assert json.loads(client.read_frame().payload) == {"n": 1}
        until_subscribed(hub, "open:raw")
        hub.publish("open:raw", "text")
        frame = client.read_frame()
        assert (frame.opcode, json.loads(frame.payload)) == (TEXT, "text")


def until_subscribed(hub: Hub, topic: str) -> None:
    """Wait until a topic has a subscriber."""
    deadline = time.monotonic() + DEADLINE
    while topic not in hub.ask("channels", {})["result"]["channels"]:
        assert time.monotonic() < deadline


def subscriber(hub: Hub, topic: str, **options: Any) -> Wire:
    """Return a client that has subscribed."""
    client = dial(hub)
    client.send(command(id=1, connect={}))
    client.send(command(id=2, subscribe={"channel": topic, **options}))
    assert "error" not in messages(client, 2)[1]
    return client


FRAMES = {
    "binary": (frame(2, b"x", mask=MASK), 1003),
    "RSV1": (frame(TEXT, b"{}", rsv=4, mask=MASK), 1002),
    "an unknown opcode": (frame(3, b"x", mask=MASK), 1002),
    "no mask": (frame(TEXT, b"{}"), 1002),
    "not UTF-8": (frame(TEXT, b"\xff", mask=MASK), 1007),
    "a frame of 1 MiB": (frame(TEXT, bytes(1 << 20), mask=MASK)[:14], 1009),
    "fragments of 100 KiB": (
        frame(TEXT, bytes(50 << 10), fin=False, mask=MASK) + frame(0, bytes(50 << 10), mask=MASK),
        1009,
    ),
    "text that is no command": (text_frame("hello", mask=MASK), 3501),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_that_cannot_be_taken_ends_its_connection_alone(hub: Hub, name: str) -> None:
    given, code = FRAMES[name]
    with subscriber(hub, "read:witness") as witness, dial(hub) as client:
        client.send(given)
        closed = client.read_frame()
        assert closed.opcode == CLOSE
        assert int.from_bytes(closed.payload[:2], "big") == code
        hub.publish("read:witness", name)
        assert messages(witness, 1)[0]["push"]["pub"]["data"] == name


def test_half_a_handshake_and_pages_of_other_sites_get_no_client(hub: Hub) -> None:
    with hub.gateway.dial() as half:
        half.send(handshake(PATH)[:40])
    with hub.gateway.dial() as other:
        other.send(handshake(PATH, "Origin: https://evil.example"))
        assert other.read_head().startswith(b"HTTP/1.1 403 ")
    with hub.gateway.dial() as plain:
        plain.send(handshake(PATH).replace(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8"))
        assert plain.read_head().startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 426 "))


def test_a_flood_of_pings_and_commands_does_not_keep_others_waiting(hub: Hub) -> None:
    flood = frame(PING, bytes(100), mask=MASK) * 10_000 + command(id=1, connect={}) * 2_000
    with subscriber(hub, "read:witness") as witness, dial(hub) as client:
        sending = client.send_later(flood)
        for number in range(20):
            hub.publish("read:witness", number)
            assert messages(witness, 1)[0]["push"]["pub"]["data"] == number
        client.reset()
        sending.join()


SLOW = {f"slow-{policy}": {"subscribe": "anyone", "slow": policy} for policy in ("latest", "drop-oldest", "disconnect")}
MANY, SIZE = 1000, 20_000


def test_a_subscriber_that_stops_reading_has_its_policy_and_the_others_all(tmp_path: Path) -> None:
    """20 MB are published to each of three clients that do not read; the queue of each is 256 KiB."""
    with running_hub(tmp_path, namespaces=SLOW, queue="256KiB") as hub:
        memory = psutil.Process(hub.service.pid).memory_info
        with ExitStack() as stack:
            stopped = {name: stack.enter_context(subscriber(hub, f"{name}:a")) for name in SLOW}
            readers = {name: stack.enter_context(subscriber(hub, f"{name}:a")) for name in SLOW}
            before = memory().rss
            most = 0
            for number in range(MANY):
                topics = [f"{name}:a" for name in SLOW]
                hub.ask("broadcast", {"channels": topics, "data": [number, "x" * SIZE]})
                for reader in readers.values():
                    assert messages(reader, 1)[0]["push"]["pub"]["data"][0] == number
                most = max(most, memory().rss - before)
            kept = 3 * 100 * SIZE  # the histories
            assert most < kept + (20 << 20), f"{most >> 20} MiB more"
            latest, some = (numbers(stopped[f"slow-{policy}"]) for policy in ("latest", "drop-oldest"))
            assert latest[-1] == some[-1] == MANY - 1
            assert len(latest) < len(some) < MANY
            assert sorted(set(some)) == some, "in order, none twice"
            closed = last_frame(stopped["slow-disconnect"])
            assert int.from_bytes(closed.payload[:2], "big") == 3008


def numbers(client: Wire) -> list[int]:
    """Read publications until the last one."""
    found: list[int] = []
    while not found or found[-1] < MANY - 1:
        found += [message["push"]["pub"]["data"][0] for message in messages(client, 1)]
    return found


def last_frame(client: Wire) -> Frame:
    """Return the close frame, after whatever was sent before it."""
    while (found := client.read_frame()).opcode != CLOSE:
        pass
    return found


@pytest.mark.parametrize("way", WAYS)
def test_a_stop_closes_with_3001_and_the_gateway_knows_it(tmp_path: Path, way: str) -> None:
    with running_hub(tmp_path, way=way) as hub, subscriber(hub, "read:a") as client:
        threading.Thread(target=hub.stop, name="stop", daemon=True).start()
        closed = client.read_frame()
        assert (closed.opcode, closed.payload) == (CLOSE, (3001).to_bytes(2, "big") + b"shutdown")
        client.send(frame(CLOSE, closed.payload, mask=MASK))
        hub.gateway.process.wait_for(r"101 .*closed by=upstream code=3001")
