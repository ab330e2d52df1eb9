"""Sockets of the hub through the real gateway, handed over and tunnelled: the way in, both directions, the ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.handoff import WAYS
from tests.system.hub.hub import Hub, running_hub
from tests.wire.connection import Wire
from tests.wire.frames import MASK, TEXT, text_frame
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
