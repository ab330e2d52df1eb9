"""The raw form: the data of publications alone, on a real hub with the broker in memory."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.wire.frames import CLOSE, PING, TEXT
from tests.ws_service.hub.sockets import PATH, SocketRig, connected
from ws_service.hub import raw
from ws_service.hub.broker import BrokerError
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.codes import INSUFFICIENT_STATE, UNSUBSCRIBED_BY_SERVER
from ws_service.hub.hub import Hub
from ws_service.hub.keys import Keys
from ws_service.hub.permissions import Permissions
from ws_service.hub.publication import Publication
from ws_service.hub.tokens import Tokens
from ws_service.hub.topics import Allowed, Namespaces, TopicOptions

TOKENS = Tokens(Keys("k" * 40))


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    namespaces = Namespaces({"open": TopicOptions(subscribe=Allowed.ANYONE, join_leave=True, presence=True)})
    hub = Hub(MemoryBroker(), namespaces, Permissions(namespaces, TOKENS))
    await hub.start()
    yield hub
    await hub.close()


async def publish(hub: Hub, topic: str, data: Any) -> None:
    await hub.broker.publish(topic, Publication(json.dumps(data).encode()), hub.namespaces.of(topic).keep)


def raw_socket(hub: Any, query: str) -> Any:
    return connected(target=f"{PATH}?{query}", hub=hub)


async def subscribed(hub: Hub, count: int) -> None:
    async with asyncio.timeout(10):
        while sum(hub.topics.values()) < count:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def ended_with(rig: SocketRig) -> int:
    opcode, payload = await rig.peer.frame()
    assert opcode == CLOSE
    return int(struct.unpack("!H", payload[:2])[0])


async def test_publications_of_all_topics_come_as_data_and_nothing_else_does(hub: Hub) -> None:
    await publish(hub, "open:a", {"old": 1})
    async with raw_socket(hub, "channels=open:a,open:b&raw=1") as rig:
        await rig.opened()
        assert await rig.peer.frame() == (TEXT, b'{"old":1}'), "the newest value comes at once"
        await subscribed(hub, 2)
        rig.peer.say('{"id":1,"publish":{"channel":"open:a","data":1}}')
        rig.peer.say("no JSON")
        await publish(hub, "open:b", [1, "ü"])
        await publish(hub, "open:a", "text")
        assert json.loads((await rig.peer.frame())[1]) == [1, "ü"]
        assert json.loads((await rig.peer.frame())[1]) == "text"
    async with asyncio.timeout(10):
        while hub.clients or hub.topics:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_a_token_lets_a_client_read(hub: Hub) -> None:
    token = TOKENS.sign_subscription("closed:a", expires_at=None)
    async with raw_socket(hub, f"channels=closed:a&raw=1&token={token}") as rig:
        await rig.opened()
        await subscribed(hub, 1)
        await publish(hub, "closed:a", 1)
        assert await rig.peer.frame() == (TEXT, b"1")


REFUSED = {
    "no right": ("channels=closed:a&raw=1", 3507),
    "no topic": ("raw=1", 3501),
    "a topic of 300 characters": (f"channels={'x' * 300}&raw=1", 3501),
    "a connection token that is wrong": ("channels=open:a&raw=1&token=x", 3500),
    "a connection token that names no topics": (
        "raw=1&token=" + TOKENS.sign_connection("ada", expires_at=None),
        3501,
    ),
    "an expired token": (
        "channels=closed:a&raw=1&token=" + TOKENS.sign_subscription("closed:a", expires_at=1000.0),
        3500,
    ),
}


@pytest.mark.parametrize(("query", "code"), REFUSED.values(), ids=REFUSED)
async def test_a_refusal_is_a_close_code(hub: Hub, query: str, code: int, caplog: pytest.LogCaptureFixture) -> None:
    async with raw_socket(hub, query) as rig:
        await rig.opened()
        assert await ended_with(rig) == code
        assert "Traceback" not in caplog.text


async def test_a_broker_that_fails_lets_the_client_come_back(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: str) -> None:
        raise BrokerError("down")

    monkeypatch.setattr(hub.broker, "subscribe", fails)
    async with raw_socket(hub, "channels=open:a&raw=1") as rig:
        await rig.opened()
        assert await ended_with(rig) == 3004


@pytest.mark.parametrize(("end", "code"), [(INSUFFICIENT_STATE, 3010), (UNSUBSCRIBED_BY_SERVER, 3503)])
async def test_the_end_of_a_subscription_is_the_end_of_the_connection(hub: Hub, end: Any, code: int) -> None:
    async with raw_socket(hub, "channels=open:a&raw=1") as rig:
        await rig.opened()
        await subscribed(hub, 1)
        (client,) = hub._clients
        client.end_subscription("open:a", end)
        assert await ended_with(rig) == code


async def test_a_quiet_connection_is_pinged(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "PING", 0.02)
    async with raw_socket(hub, "channels=open:a&raw=1") as rig:
        await rig.opened()
        assert await rig.peer.frame() == (PING, b"")
        assert await rig.peer.frame() == (PING, b"")


@pytest.mark.parametrize("query", ["", "a=1", "raw=0&channels=a", "channels=a"])
def test_any_other_query_is_the_protocols_own_form(query: str) -> None:
    assert not raw.is_raw(query)
