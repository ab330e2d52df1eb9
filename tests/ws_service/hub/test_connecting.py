"""The subscriptions of the server at connect."""

from __future__ import annotations

import json

from tests.ws_service.hub.session_play import NAMESPACES, Rights, encoded, found
from ws_service.hub.codes import INTERNAL
from ws_service.hub.connecting import Connecting
from ws_service.hub.effects import Deliver
from ws_service.hub.limits import Limits
from ws_service.hub.protocol import Connect
from ws_service.hub.publication import ClientInfo, Position
from ws_service.hub.session_topics import SessionTopics


def make(*names: str, limits: Limits = Limits(), **positions: Position) -> Connecting:  # noqa: B008 - frozen
    topics = SessionTopics(ClientInfo("c1"), Rights(), NAMESPACES, limits)
    return Connecting(Connect(1, "", positions), topics, names)


def test_they_are_made_one_after_the_other_and_deliver_together() -> None:
    connecting = make("a", "b", a=Position("e", 3))
    first = connecting.next()
    assert first is not None and connecting.take(first, found("e", 3, 3))
    first.subscription.receive(encoded(4))
    second = connecting.next()
    assert second is not None and connecting.take(second, found())
    assert connecting.next() is None and connecting.is_whole and connecting.release() == []
    results = {name: json.loads(result) for name, result in connecting.results(0).items()}
    assert results["a"]["recovered"] is True and "recovered" not in results["b"]
    delivered = [len(each.publications) for each in connecting.go_live() if isinstance(each, Deliver)]
    assert delivered == [1, 0]


def test_one_that_fails_is_for_all() -> None:
    connecting = make("a")
    first = connecting.next()
    assert first is not None and not connecting.take(first, INTERNAL)


def test_what_overflows_is_not_whole_and_what_ended_is_not_told() -> None:
    connecting = make("a", limits=Limits(buffered=0))
    first = connecting.next()
    assert first is not None and connecting.take(first, found())
    first.subscription.receive(encoded(1))
    assert not connecting.is_whole
    first.subscription.end()
    assert connecting.is_whole and len(connecting.release()) == 1
    assert connecting.results(0) == {} and connecting.go_live() == []
