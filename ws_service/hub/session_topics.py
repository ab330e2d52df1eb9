"""The topics of one session: its subscriptions, and the commands about topics. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

from ws_service.hub import messages
from ws_service.hub.access import Access, Grant
from ws_service.hub.codes import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    INTERNAL,
    LIMIT_EXCEEDED,
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    SUBSCRIPTION_TOKEN_EXPIRED,
    TOKEN_EXPIRED,
    TOO_MANY_REQUESTS,
    UNRECOVERABLE_POSITION,
    ErrorCode,
)
from ws_service.hub.counts import Counts
from ws_service.hub.effects import (
    Deliver,
    Effect,
    End,
    Enter,
    Operation,
    PublishTo,
    ReadPresence,
    ReadTopic,
    Release,
    answer,
    refuse,
)
from ws_service.hub.limits import Limits
from ws_service.hub.protocol import (
    Command,
    Presence,
    Publish,
    ReadHistory,
    RefreshSubscription,
    Subscribe,
    Unsubscribe,
    write_json,
)
from ws_service.hub.publication import ClientInfo, History, Position, Publication
from ws_service.hub.recovery import Look, Recovered, fitting, look, recover
from ws_service.hub.subscription import Subscription
from ws_service.hub.token_bucket import TokenBucket
from ws_service.hub.topics import Namespaces, TopicOptions

BURST = 10.0
"""Seconds over which the rate of a client's publications is averaged."""


class SessionTopics:
    """Subscriptions by topic. now: seconds of a monotonic clock; wall: seconds since the epoch.

    me: the client, as others see it in no topic; replaced at connect. counts: of the hub; None: its own.
    next_expiry: when the next subscription is over, in seconds since the epoch.
    """

    __slots__ = ("_access", "_counts", "_limits", "_namespaces", "_rates", "_subscriptions", "me", "next_expiry")

    def __init__(
        self, me: ClientInfo, access: Access, namespaces: Namespaces, limits: Limits, counts: Counts | None = None
    ) -> None:
        self.me = me
        self.next_expiry = math.inf
        self._access = access
        self._namespaces = namespaces
        self._limits = limits
        self._counts = counts or Counts()
        self._subscriptions: dict[str, Subscription] = {}
        self._rates: dict[TopicOptions, TokenBucket] | None = None  # of publishing; bounded by the settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._subscriptions)

    def answer(self, command: Command, now: float, wall: float) -> list[Effect]:
        """Answer a command about a topic, or ask for the operation that it needs."""
        match command:
            case Subscribe():
                return self.subscribe(command, wall)
            case Unsubscribe():
                return self.unsubscribe(command)
            case Publish():
                return self.publish(command, now)
            case Presence():
                return self.presence(command)
            case ReadHistory():
                return self.history(command)
            case RefreshSubscription():
                return self.refresh(command, wall)
        raise TypeError(command)

    def finish(self, command: Command, operation: Operation, outcome: Any, wall: float) -> list[Effect]:
        """Answer a command whose operation is over. outcome: an ErrorCode where it has failed."""
        if isinstance(command, Subscribe):
            return self.entered(command, cast("Enter", operation), outcome, wall)
        if isinstance(outcome, ErrorCode):
            return [refuse(command.id, outcome)]
        if isinstance(command, Presence):
            return self.present(command, outcome)
        if isinstance(command, ReadHistory):
            return self.read(command, outcome)
        return [answer(command.id, "publish")]

    # -- subscribing

    def subscribe(self, command: Subscribe, wall: float) -> list[Effect]:
        """Begin to subscribe, or refuse."""
        if command.topic in self._subscriptions:
            return [refuse(command.id, ALREADY_SUBSCRIBED)]
        if len(self._subscriptions) >= self._limits.subscriptions:
            return [refuse(command.id, LIMIT_EXCEEDED)]
        grant = self._access.may_subscribe(command.topic, self.me.user, command.token, wall)
        if isinstance(grant, ErrorCode):
            return [refuse(command.id, grant)]
        return [self.enter(command.topic, grant, command.since)]

    def enter(self, topic: str, grant: Grant, since: Position | None, *, is_by_server: bool = False) -> Enter:
        """Claim a place for a subscription, and return the operation that makes it."""
        topic = _shared(topic)
        options = self._namespaces.of(topic)
        subscription = Subscription(topic, options, grant, self._limits, is_by_server=is_by_server)
        self._subscriptions[topic] = subscription
        return Enter(subscription, look(options, since, self._limits.recovered), self.info_in(subscription))

    def entered(self, command: Subscribe, operation: Enter, outcome: object, wall: float) -> list[Effect]:
        """Answer a subscribe command whose operation is over."""
        subscription = operation.subscription
        recovered = self.recovered(operation, outcome, command.since)
        if isinstance(outcome, ErrorCode) or subscription.is_ended or subscription.has_overflowed:
            error = outcome if isinstance(outcome, ErrorCode) else INTERNAL
            return [*self.release(subscription), refuse(command.id, error)]
        if (
            recovered is not None
            and command.is_error_if_unrecoverable
            and recovered.was_recovering
            and not recovered.is_recovered
        ):
            return [*self.release(subscription), refuse(command.id, UNRECOVERABLE_POSITION)]
        result = self.result(subscription, recovered, wall)
        return [answer(command.id, "subscribe", result), self.go_live(subscription, recovered)]

    def recovered(self, operation: Enter, outcome: object, since: Position | None) -> Recovered | None:
        """Return what a client gets of the history; None where the topic keeps none."""
        if not isinstance(outcome, History):
            return None
        limits = self._limits
        operation.subscription.know_epoch(outcome.position.epoch)
        recovered = recover(operation.subscription.options, since, outcome, limits.recovered, limits.queue)
        if since is not None:
            self._counts.recoveries[recovered.is_recovered] += 1
        return recovered

    def result(self, subscription: Subscription, recovered: Recovered | None, wall: float) -> bytes:
        """Return what the client is told of a subscription that begins."""
        ttl = ttl_of(subscription.grant.expires_at, wall)
        if recovered is None:
            return messages.subscribe_result(None, ttl=ttl)
        return messages.subscribe_result(
            recovered.position,
            recovered.publications,
            ttl=ttl,
            was_recovering=recovered.was_recovering,
            is_recovered=recovered.is_recovered,
        )

    def go_live(self, subscription: Subscription, recovered: Recovered | None) -> Deliver:
        """Begin to deliver, once the client has been answered."""
        self.next_expiry = min(self.next_expiry, subscription.grant.expires_at or math.inf)
        return Deliver(subscription.go_live(recovered.newest if recovered is not None else 0))

    # -- ending

    def unsubscribe(self, command: Unsubscribe) -> list[Effect]:
        """End a subscription; one that is not there is ended already."""
        subscription = self._subscriptions.get(command.topic)
        ended = self.release(subscription) if subscription is not None else []
        return [*ended, answer(command.id, "unsubscribe")]

    def is_of(self, user: str) -> bool:
        """Tell whether a user's orders are for this client: it is theirs, or has a right that is theirs alone.

        A page's connection may have no user, and be a user's by the tokens that the server has rendered into it.
        """
        return user == self.me.user or any(user == each.grant.user for each in self._subscriptions.values())

    def find(self, topic: str) -> Subscription | None:
        """Return a subscription; None where there is none."""
        return self._subscriptions.get(topic)

    def expired(self, wall: float) -> list[Subscription]:
        """Return the subscriptions whose time is over, the grace to refresh them too."""
        before = wall - self._limits.grace
        return [each for each in self._subscriptions.values() if (each.grant.expires_at or math.inf) <= before]

    def release(self, subscription: Subscription) -> list[Effect]:
        """End a subscription and give back what it holds. It may be another one's place by now."""
        subscription.end()
        if self._subscriptions.get(subscription.topic) is not subscription:
            return []
        del self._subscriptions[subscription.topic]
        if subscription.grant.expires_at is not None:
            self._note_expiry()
        return [Release(subscription, self.info_in(subscription))]

    def release_all(self) -> list[Effect]:
        """End all of them."""
        ended, self._subscriptions, self.next_expiry = self._subscriptions, {}, math.inf
        for subscription in ended.values():
            subscription.end()
        return [Release(each, self.info_in(each)) for each in ended.values()]

    # -- what is asked about a topic

    def refresh(self, command: RefreshSubscription, wall: float) -> list[Effect]:
        """Take a new token for a subscription."""
        subscription = self._live(command.topic)
        if subscription is None:
            return [refuse(command.id, PERMISSION_DENIED)]
        grant = self._access.may_subscribe(command.topic, self.me.user, command.token, wall)
        if grant == TOKEN_EXPIRED:
            return [End(SUBSCRIPTION_TOKEN_EXPIRED)]
        if isinstance(grant, ErrorCode):
            return [refuse(command.id, grant)]
        # What others see of the subscription stays: they have been told of it, and will be told of its end.
        subscription.grant = Grant(subscription.grant.info, grant.expires_at, grant.user)
        self._note_expiry()
        return [answer(command.id, "sub_refresh", messages.expiry_result(ttl_of(grant.expires_at, wall)))]

    def publish(self, command: Publish, now: float) -> list[Effect]:
        """Publish, where the client may."""
        topic = command.topic
        subscription = self._live(topic)
        error = self._access.may_publish(topic, self.me.user, is_subscribed=subscription is not None)
        if error is not None:
            return [refuse(command.id, error)]
        options = self._namespaces.of(topic)
        if not self._may_publish_now(options, now):
            return [refuse(command.id, TOO_MANY_REQUESTS)]
        try:
            data = write_json(command.value)
        except (ValueError, RecursionError):
            return [refuse(command.id, BAD_REQUEST)]
        info = self.info_in(subscription) if subscription is not None else self.me
        return [PublishTo(topic, Publication(data, info=info), options.keep)]

    def presence(self, command: Presence) -> list[Effect]:
        """Ask which clients are there."""
        if error := self._may_look(command.topic, is_kept=self._namespaces.of(command.topic).presence):
            return [refuse(command.id, error)]
        return [ReadPresence(command.topic)]

    def present(self, command: Presence, clients: Mapping[str, ClientInfo]) -> list[Effect]:
        """Answer which clients are there."""
        if command.is_count:
            return [answer(command.id, "presence_stats", messages.presence_stats_result(clients))]
        if len(clients) > self._limits.presence:
            return [refuse(command.id, LIMIT_EXCEEDED)]
        return [answer(command.id, "presence", messages.presence_result(clients))]

    def history(self, command: ReadHistory) -> list[Effect]:
        """Ask for publications."""
        keep = self._namespaces.of(command.topic).keep
        if error := self._may_look(command.topic, is_kept=bool(keep.size)):
            return [refuse(command.id, error)]
        most = self._limits.recovered
        limit = most if command.limit < 0 else min(command.limit, most)
        return [ReadTopic(command.topic, keep, Look(command.since, limit, command.is_reversed))]

    def read(self, command: ReadHistory, history: History) -> list[Effect]:
        """Answer with publications."""
        if command.since is not None and command.since.epoch not in ("", history.position.epoch):
            return [refuse(command.id, UNRECOVERABLE_POSITION)]
        publications = fitting(history.publications, self._limits.queue)
        return [answer(command.id, "history", messages.history_result(history.position, publications))]

    def info_in(self, subscription: Subscription) -> ClientInfo:
        """Return the client as others see it in a topic."""
        me, info = self.me, subscription.grant.info
        return me if info is None else ClientInfo(me.client, me.user, me.connection, info)

    # -- inside

    def _live(self, topic: str) -> Subscription | None:
        subscription = self._subscriptions.get(topic)
        return subscription if subscription is not None and subscription.is_live else None

    def _may_look(self, topic: str, *, is_kept: bool) -> ErrorCode | None:
        if self._live(topic) is None:
            return PERMISSION_DENIED
        return None if is_kept else NOT_AVAILABLE

    def _may_publish_now(self, options: TopicOptions, now: float) -> bool:
        if self._rates is None:
            self._rates = {}
        bucket = self._rates.setdefault(options, TokenBucket())
        return bucket.take(1, options.rate, max(options.rate * BURST, 1.0), now)

    def _note_expiry(self) -> None:
        ends = (each.grant.expires_at for each in self._subscriptions.values())
        self.next_expiry = min((end for end in ends if end is not None), default=math.inf)


def ttl_of(expires_at: float | None, wall: float) -> float | None:
    """Return the seconds until an expiry; None for none."""
    return None if expires_at is None else expires_at - wall


@lru_cache(maxsize=4096)
def _shared(topic: str) -> str:
    """Return one text for all subscribers of a topic. Not ``sys.intern``: CPython 3.12 keeps what it interns for ever
    (gh-113993), and clients choose the names."""
    return topic
