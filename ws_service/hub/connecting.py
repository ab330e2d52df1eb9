"""The subscriptions of the server that are made while a client connects, one after the other. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ws_service.hub.access import Grant
from ws_service.hub.codes import ErrorCode
from ws_service.hub.effects import Effect, Enter
from ws_service.hub.protocol import Connect
from ws_service.hub.recovery import Recovered
from ws_service.hub.session_topics import SessionTopics
from ws_service.hub.subscription import Subscription


class Connecting:
    """A connect command that is under way.

    topics: of the session. names: the topics that the server subscribes the client to.
    """

    __slots__ = ("_made", "_names", "_topics", "command")

    def __init__(self, command: Connect, topics: SessionTopics, names: Iterable[str]) -> None:
        self.command = command
        self._topics = topics
        self._names = deque(names)
        self._made: list[tuple[Subscription, Recovered | None]] = []

    def next(self) -> Enter | None:
        """Return the operation that makes the next subscription; None where all are made."""
        if not self._names:
            return None
        name = self._names.popleft()
        return self._topics.enter(name, Grant(), self.command.positions.get(name), is_by_server=True)

    def take(self, operation: Enter, outcome: object) -> bool:
        """Take the outcome of one. Returns False where it has failed: the client is to come back."""
        if isinstance(outcome, ErrorCode):
            return False
        subscription = operation.subscription
        since = self.command.positions.get(subscription.topic)
        self._made.append((subscription, self._topics.recovered(operation, outcome, since)))
        return True

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost of what has come for one while others were being made."""
        return not any(subscription.has_overflowed for subscription, _ in self._made)

    def release(self) -> list[Effect]:
        """Give back those that have ended meanwhile; the client is not told of them."""
        ended = [subscription for subscription, _ in self._made if subscription.is_ended]
        self._made = [each for each in self._made if not each[0].is_ended]
        return [effect for each in ended for effect in self._topics.release(each)]

    def results(self, wall: float) -> dict[str, bytes]:
        """Return what the client is told of each."""
        return {made.topic: self._topics.result(made, recovered, wall) for made, recovered in self._made}

    def go_live(self) -> list[Effect]:
        """Begin to deliver, once the client has been answered."""
        return [self._topics.go_live(*each) for each in self._made]
