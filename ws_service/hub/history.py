"""Histories of topics in memory, bounded in bytes all together. Pure: the time and new epochs are arguments."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import islice

from ws_service.hub.broker import Keep
from ws_service.hub.publication import ClientInfo, History, Position, Publication

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
"""Bytes of all histories together, as ``size_of`` and ``TOPIC_BYTES`` count them."""

TOPIC_BYTES = 1000
"""What a topic without publications counts: its name, its position and the objects around them."""

_PUBLICATION_BYTES = 300
"""What a publication counts beside its texts."""


def size_of(publication: Publication) -> int:
    """Return how many bytes a publication counts."""
    tags = sum(len(key) + len(value) for key, value in publication.tags.items())
    return _PUBLICATION_BYTES + len(publication.data) + tags + _size_of_info(publication.info)


def _size_of_info(info: ClientInfo | None) -> int:
    if info is None:
        return 0
    return len(info.client) + len(info.user) + len(info.connection or b"") + len(info.subscription or b"")


def is_continued(since: Position, history: History) -> bool:
    """Tell whether a history, read from ``since`` on, has each publication after it: nothing has been lost."""
    if since.epoch != history.position.epoch or since.offset > history.position.offset:
        return False
    offsets = [publication.offset for publication in history.publications]
    return offsets == list(range(since.offset + 1, history.position.offset + 1))


class TopicHistory:
    """The history of one topic. epoch: of its offsets, which begin with 1."""

    __slots__ = ("_expires", "_publications", "position", "size")

    def __init__(self, epoch: str) -> None:
        self.position = Position(epoch, 0)
        self.size = TOPIC_BYTES
        self._publications: deque[Publication] | tuple[()] = ()  # a deque takes 760 bytes, also where it is empty
        self._expires = 0.0

    def add(self, publication: Publication, keep: Keep, now: float) -> Position:
        """Add the newest publication, whose offset is in the returned position. now: seconds of any steady clock."""
        self._expire(now)
        self.position = Position(self.position.epoch, self.position.offset + 1)
        if not isinstance(self._publications, deque):
            self._publications = deque()
        self._publications.append(publication.with_offset(self.position.offset))
        self.size += size_of(publication)
        self._expires = now + keep.ttl
        while len(self._publications) > keep.size:
            self.drop_oldest()
        return self.position

    def read(self, now: float, since: Position | None, limit: int, *, is_reversed: bool) -> History:
        """Return a part, as ``Broker.history`` describes it."""
        self._expire(now)
        chosen = self._backward(since) if is_reversed else self._forward(since)
        return History(self.position, tuple(islice(chosen, None if limit < 0 else limit)))

    def drop_oldest(self) -> bool:
        """Drop the oldest publication. Returns whether there was one."""
        if not isinstance(self._publications, deque):
            return False
        self.size -= size_of(self._publications.popleft())
        if not self._publications:
            self._publications = ()
        return True

    def _forward(self, since: Position | None) -> Iterator[Publication]:
        """Go through those after a position. Their offsets have no gaps, so none has to be looked at to be left out."""
        kept = self._publications
        return islice(kept, max(0, since.offset + 1 - kept[0].offset) if since is not None and kept else 0, None)

    def _backward(self, since: Position | None) -> Iterator[Publication]:
        kept = self._publications
        newer = max(0, kept[-1].offset + 1 - since.offset) if since is not None and kept else 0
        return islice(reversed(kept), newer, None)

    def _expire(self, now: float) -> None:
        if now >= self._expires:
            while self.drop_oldest():
                pass


class Histories:
    """The histories of all topics.

    make_epoch: gives an epoch that was never used before. max_bytes: of all together; beyond them the topic that was
    used least lately loses its history and its epoch, and one topic alone loses its oldest publications. Topics that
    nothing was published to go before all others: a client may ask for as many names as it likes, and must not push
    out with them what others are to recover.
    """

    def __init__(self, make_epoch: Callable[[], str], max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._make_epoch = make_epoch
        self._max_bytes = max_bytes
        self._topics: OrderedDict[str, TopicHistory] = OrderedDict()
        self._unused: OrderedDict[str, TopicHistory] = OrderedDict()  # of topics that nothing was published to
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of all."""
        return self._size

    def add(self, topic: str, publication: Publication, keep: Keep, now: float) -> Position:
        """Add the newest publication of a topic, and return its position."""
        history = self._of(topic)
        if topic in self._unused:
            self._topics[topic] = self._unused.pop(topic)
        self._size -= history.size
        position = history.add(publication, keep, now)
        self._size += history.size
        self._shrink()
        return position

    def read(
        self, topic: str, now: float, since: Position | None = None, limit: int = 0, *, is_reversed: bool = False
    ) -> History:
        """Return a part of a topic's history, as ``Broker.history`` describes it. A topic without one gets it."""
        history = self._of(topic)
        self._size -= history.size
        part = history.read(now, since, limit, is_reversed=is_reversed)
        self._size += history.size
        self._shrink()
        return part

    def _of(self, topic: str) -> TopicHistory:
        topics = self._topics if topic in self._topics else self._unused
        history = topics.get(topic)
        if history is None:
            history = topics[topic] = TopicHistory(self._make_epoch())
            self._size += history.size
        topics.move_to_end(topic)
        return history

    def _shrink(self) -> None:
        while self._size > self._max_bytes and len(self._topics) + len(self._unused) > 1:
            topics = self._unused or self._topics
            self._size -= topics.popitem(last=False)[1].size
        for alone in self._topics.values() if self._size > self._max_bytes else ():
            while self._size > self._max_bytes and alone.drop_oldest():
                self._size = alone.size
