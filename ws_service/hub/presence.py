"""Which clients of this process are present in which topics. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ws_service.hub.publication import ClientInfo


class Presence:
    """The clients that are present, by topic. Bounded by the subscriptions of the process."""

    def __init__(self) -> None:
        self._topics: dict[str, dict[str, ClientInfo]] = {}

    def join(self, topic: str, info: ClientInfo) -> bool:
        """Count a client in. Returns whether it was not there before."""
        clients = self._topics.setdefault(topic, {})
        is_new = info.client not in clients
        clients[info.client] = info
        return is_new

    def leave(self, topic: str, info: ClientInfo) -> bool:
        """Count a client out. Returns whether it was there."""
        clients = self._topics.get(topic, {})
        was_there = clients.pop(info.client, None) is not None
        if not clients:
            self._topics.pop(topic, None)
        return was_there

    def of(self, topic: str) -> Mapping[str, ClientInfo]:
        """Return a copy of the clients of a topic, by their ids."""
        return dict(self._topics.get(topic, {}))

    def all(self) -> Iterator[tuple[str, ClientInfo]]:
        """Give each client with its topic, as they were at the call."""
        return iter([(topic, info) for topic, clients in self._topics.items() for info in clients.values()])
