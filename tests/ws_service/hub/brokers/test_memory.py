"""The broker in memory: the contract, and what it does when memory is short."""

from __future__ import annotations

import pytest

from tests.ws_service.hub.brokers.contract import KEEP, BrokerContract, Inbox, MakeBroker, numbered
from ws_service.hub.broker import IDEMPOTENCY_TTL, Lost, Published
from ws_service.hub.brokers.memory import MAX_IDEMPOTENCY_KEYS, IdempotencyKeys, MemoryBroker
from ws_service.hub.publication import Position, Publication


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def make_broker(self) -> MakeBroker:
        async def make() -> Inbox:
            inbox = Inbox(MemoryBroker())
            await inbox.start()
            return inbox

        return make


async def test_subscribers_of_a_history_that_was_forgotten_are_told_with_the_next_publication() -> None:
    inbox = Inbox(MemoryBroker(max_history=20_000))
    await inbox.start()
    await inbox.broker.subscribe("old")
    first = await inbox.broker.publish("old", Publication(b"1"), KEEP)
    for number in range(40):
        await inbox.broker.publish(f"new{number}", Publication(b"0"), KEEP)
    assert numbered(await inbox.so_far()) == [1]
    second = await inbox.broker.publish("old", Publication(b"2"), KEEP)
    assert first is not None and second is not None and second.epoch != first.epoch
    lost, published = await inbox.so_far()
    assert lost == Lost("old")
    assert published == Published("old", Publication(b"2", 1), second.epoch)


def test_idempotency_keys_are_forgotten_after_five_minutes() -> None:
    keys = IdempotencyKeys()
    keys.put(("prices", "a"), Position("e", 1), 0.0)
    assert keys.get(("prices", "a"), IDEMPOTENCY_TTL - 1) == (True, Position("e", 1))
    assert keys.get(("prices", "a"), IDEMPOTENCY_TTL) == (False, Position("e", 1))
    assert keys.get(("prices", "b"), 0.0) == (False, None)


def test_idempotency_keys_are_bounded_in_number() -> None:
    keys = IdempotencyKeys()
    for number in range(MAX_IDEMPOTENCY_KEYS + 1):
        keys.put(("prices", str(number)), None, 0.0)
    assert not keys.get(("prices", "0"), 0.0)[0]
    assert keys.get(("prices", "1"), 0.0)[0]
