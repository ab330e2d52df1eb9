"""What travels through the hub: publications, their positions, and who is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Position(NamedTuple):
    """A place in a topic's history.

    offset: of the newest publication there; 0 before the first. epoch: changes when the history begins anew, after
    which an offset of before means nothing.
    """

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """One client, as others see it.

    client: the id of its connection. user: its user's name; empty for none. connection, subscription: JSON that its
    tokens carry about it; None for none.
    """

    client: str
    user: str = ""
    connection: bytes | None = None
    subscription: bytes | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """One message of a topic.

    data: JSON, compact. offset: its place in the history; 0 where the topic keeps none.
    info: which client has published it; None: the server. tags: of the publisher, passed on as they are.
    """

    data: bytes
    offset: int = 0
    info: ClientInfo | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def with_offset(self, offset: int) -> Publication:
        """Return it with its place in the history."""
        return Publication(self.data, offset, self.info, self.tags)


class History(NamedTuple):
    """Part of a topic's history. position: its newest place, also where no publication is asked for."""

    position: Position
    publications: tuple[Publication, ...] = ()
