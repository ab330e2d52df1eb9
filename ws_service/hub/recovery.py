"""What a client that subscribes gets of a topic's history: all that it has missed, or none and the fact.

As a stream: every publication after its position. As a cache: the newest publication alone, also for a client that
does not ask (Centrifugo's ``auto_cache_recovery``).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, takewhile

from ws_service.hub.publication import History, Position, Publication
from ws_service.hub.topics import Recovery, TopicOptions


@dataclass(frozen=True, slots=True)
class Look:
    """What the broker is asked, with the arguments of ``Broker.history``."""

    since: Position | None
    limit: int
    is_reversed: bool = False


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a client gets.

    position: what it is told; recovered publications move it. newest: the offset up to which it has everything then.
    was_recovering: whether it is told that it has asked. is_recovered: whether it has missed nothing.
    """

    position: Position
    newest: int
    publications: tuple[Publication, ...] = ()
    was_recovering: bool = False
    is_recovered: bool = False


def look(options: TopicOptions, since: Position | None, most: int) -> Look | None:
    """Return what to ask the broker; None where the topic keeps no history. most: publications of one recovery."""
    if not options.keep.size:
        return None
    if options.recovery is Recovery.CACHE:
        return Look(None, 1, is_reversed=True)
    return Look(since, most + 1) if since is not None else Look(None, 0)


def recover(options: TopicOptions, since: Position | None, history: History, most: int, most_bytes: int) -> Recovered:
    """Return what a client gets. since: its position; None: it asks for none. history: what the broker has found.

    most, most_bytes: publications of one recovery, and what they carry together.
    """
    if options.recovery is Recovery.CACHE:
        return _newest(since, history)
    if since is None:
        return Recovered(history.position, history.position.offset)
    return _missed(since, history, most, most_bytes)


def fitting(publications: tuple[Publication, ...], most_bytes: int) -> tuple[Publication, ...]:
    """Return the first of some publications, as many as carry so many bytes together; one at least."""
    ends = accumulate(len(each.data) for each in publications)
    count = sum(1 for _ in takewhile(lambda end: end <= most_bytes, ends))
    return publications[: max(1, count)]


def _missed(since: Position, history: History, most: int, most_bytes: int) -> Recovered:
    newest = history.position
    missed = tuple(each for each in history.publications if each.offset > since.offset)
    # A client that knows no epoch goes by the offset alone: (0, "") asks for everything from the beginning.
    if since.epoch not in ("", newest.epoch) or len(missed) > most or len(fitting(missed, most_bytes)) < len(missed):
        is_whole = False
    elif missed:
        is_whole = missed[0].offset == since.offset + 1 and missed[-1].offset == newest.offset
    else:
        is_whole = newest.offset == since.offset
    if not is_whole:
        return Recovered(newest, newest.offset, was_recovering=True)
    reached = Position(newest.epoch, since.offset)
    return Recovered(reached, newest.offset, missed, was_recovering=True, is_recovered=True)


def _newest(since: Position | None, history: History) -> Recovered:
    newest = history.position
    if since == newest and newest.offset:  # it has the newest already
        return Recovered(newest, newest.offset, was_recovering=True, is_recovered=True)
    if not history.publications:
        return Recovered(newest, newest.offset, was_recovering=since is not None)
    publication = history.publications[0]
    before = Position(newest.epoch, publication.offset - 1)
    return Recovered(before, newest.offset, (publication,), was_recovering=True, is_recovered=True)
