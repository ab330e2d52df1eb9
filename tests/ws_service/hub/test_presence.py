"""Which clients are present."""

from __future__ import annotations

from ws_service.hub.presence import Presence
from ws_service.hub.publication import ClientInfo

ADA, BOB = ClientInfo("1", "ada"), ClientInfo("2", "bob")


def test_clients_join_and_leave_once() -> None:
    presence = Presence()
    assert presence.join("chat", ADA)
    assert not presence.join("chat", ADA)
    assert presence.join("chat", BOB)
    assert presence.of("chat") == {"1": ADA, "2": BOB}
    assert presence.leave("chat", ADA)
    assert not presence.leave("chat", ADA)
    assert presence.of("chat") == {"2": BOB}


def test_nothing_is_kept_of_a_topic_that_is_empty() -> None:
    presence = Presence()
    presence.join("chat", ADA)
    presence.join("news", BOB)
    presence.leave("chat", ADA)
    assert not presence.leave("never", ADA)
    assert list(presence.all()) == [("news", BOB)]
    presence.leave("news", BOB)
    assert list(presence.all()) == []
