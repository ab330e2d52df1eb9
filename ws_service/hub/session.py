"""A client's session: messages in, effects out. Pure; the client carries the effects out.

Commands are executed in order, one at a time. While one waits for the broker, those that follow it wait too, and past a
bound nothing more is read.
"""

from __future__ import annotations

from collections import deque
from typing import Any, cast

from ws_service.hub import messages
from ws_service.hub.access import Access, Identity
from ws_service.hub.codes import (
    BAD_COMMAND,
    CONNECTION_EXPIRED,
    INVALID_TOKEN,
    POSITION_LOST,
    SERVER_ERROR,
    SUBSCRIPTION_EXPIRED,
    TOKEN_EXPIRED,
    TOO_MANY_COMMANDS,
    TOO_MANY_ERRORS,
    EndCode,
    ErrorCode,
    subscribes_again,
)
from ws_service.hub.connecting import Connecting
from ws_service.hub.counts import Counts
from ws_service.hub.effects import (
    OPERATIONS,
    Effect,
    End,
    Enter,
    Operation,
    PauseReading,
    ResumeReading,
    Send,
    answer,
    refuse,
)
from ws_service.hub.limits import Limits
from ws_service.hub.protocol import (
    Command,
    Connect,
    Pong,
    Refresh,
    Refused,
    UnreadableMessage,
    read_message,
)
from ws_service.hub.publication import ClientInfo
from ws_service.hub.session_states import SESSION, SessionState
from ws_service.hub.session_timers import SessionTimers
from ws_service.hub.session_topics import SessionTopics, ttl_of
from ws_service.hub.token_bucket import TokenBucket
from ws_service.hub.topics import Namespaces, is_valid

VERSION = "dash-ws-service"
"""What a client is told it is connected to."""

MAX_WAITING = 64
"""Commands that wait for the broker before reading is paused."""

LARGE = 2048
"""Bytes that count as one command: it is bytes that take time to be read."""

BURST = 10.0
"""Seconds whose commands may come at once: a page that comes back subscribes to everything."""


class Session:
    """A session. now: seconds of a monotonic clock, in which time that the process stands still is left out; wall:
    seconds since the epoch."""

    __slots__ = (
        "_access",
        "_commands",
        "_connecting",
        "_errors",
        "_is_paused",
        "_limits",
        "_operation",
        "_spread",
        "_state",
        "_timers",
        "_waiting",
        "topics",
    )

    def __init__(
        self,
        client: str,
        access: Access,
        namespaces: Namespaces,
        limits: Limits,
        now: float,
        *,
        user: str = "",
        spread: float = 1.0,
        answers_pings: bool = True,
        counts: Counts | None = None,
    ) -> None:
        """Begin.

        client: the id of the connection. user: whose it is, as far as the gateway has found out. spread: when the first
        ping is, as a part of the interval: clients that have come together are not pinged together. answers_pings:
        False for a connection that only receives; it is not pinged. counts: of the hub; None: its own.
        """
        self.topics = SessionTopics(ClientInfo(client, user), access, namespaces, limits, counts)
        self._access = access
        self._limits = limits
        self._state = SessionState.NEW
        self._timers = SessionTimers(limits, now, answers_pings=answers_pings)
        self._spread = spread
        self._commands = TokenBucket()
        self._errors: TokenBucket | None = None
        self._connecting: Connecting | None = None
        self._operation: tuple[Command, Operation] | None = None  # under way, and what it is for
        self._waiting: deque[Command] | None = None
        self._is_paused = False

    @property
    def state(self) -> SessionState:
        """What it is."""
        return self._state

    @property
    def is_ended(self) -> bool:
        """Whether it is over."""
        return self._state is SessionState.ENDED

    # -- what happens to it

    def receive(self, message: bytes, now: float, wall: float) -> list[Effect]:
        """Take a message of the client."""
        if self.is_ended:
            return []
        try:
            commands = read_message(message)
        except UnreadableMessage as error:
            return self.end(error.end)
        rate, count = self._limits.commands, max(1, len(commands), len(message) // LARGE)
        if not self._commands.take(count, rate, rate * BURST, now):
            return self.end(TOO_MANY_COMMANDS)
        effects: list[Effect] = []
        for command in commands:
            if isinstance(command, Pong):
                self._timers.pong()
            elif self._operation is not None:
                self._wait(command)
            else:
                effects += self._execute(command, now, wall)
            if self.is_ended:
                return effects
        return effects + self._pause()

    def done(self, outcome: object, now: float, wall: float) -> list[Effect]:
        """Take the outcome of the operation that was asked for; an ErrorCode where it has failed."""
        if self.is_ended or self._operation is None:
            return []
        (command, operation), self._operation = self._operation, None
        effects = self._check(self._finish(command, operation, outcome, now, wall), command, now)
        while self._waiting and self._operation is None and not self.is_ended:
            effects += self._execute(self._waiting.popleft(), now, wall)
        if not self._waiting:
            self._waiting = None
            if self._is_paused and not self.is_ended:
                self._is_paused = False
                effects.append(ResumeReading())
        return effects

    def tick(self, now: float, wall: float) -> list[Effect]:
        """Do what is due."""
        if self.is_ended:
            return []
        if self._is_paused:
            self._timers.pong()  # its pong may be among what is not read
        if (end := self._timers.overdue(now, wall)) is not None:
            return self.end(end)
        effects: list[Effect] = []
        if wall >= self.topics.next_expiry + self._limits.grace:
            for subscription in self.topics.expired(wall):
                effects += self.end_subscription(subscription.topic, SUBSCRIPTION_EXPIRED)
        if self._timers.is_ping_due(now):
            effects.append(Send(messages.PING))
        return effects

    def end(self, end: EndCode | None) -> list[Effect]:
        """End it. end: what the client is told; None: the connection is gone already."""
        if self.is_ended:
            return []
        self._move("end")
        self._operation = self._waiting = self._connecting = None
        told = [] if end is None else [End(end)]
        return [*self.topics.release_all(), *told]

    def end_subscription(self, topic: str, end: EndCode) -> list[Effect]:
        """End a subscription and tell the client; nothing where there is none."""
        subscription = self.topics.find(topic)
        if subscription is None or self.is_ended:
            return []
        if subscription.is_by_server and subscribes_again(end.code):  # clients do so only where they have asked for it
            return self.end(POSITION_LOST)
        if not subscription.is_live:  # the answer to its command will say so
            subscription.end()
            return []
        return [*self.topics.release(subscription), Send(messages.unsubscribe_push(topic, end))]

    # -- commands

    def _execute(self, command: Command, now: float, wall: float) -> list[Effect]:
        return self._check(self._answer(command, now, wall), command, now)

    def _answer(self, command: Command, now: float, wall: float) -> list[Effect]:
        if isinstance(command, Refused):
            return [refuse(command.id, command.error)]
        if isinstance(command, Connect) != (self._state is SessionState.NEW):
            return self.end(BAD_COMMAND)
        if isinstance(command, Connect):
            return self._connect(command, now, wall)
        if isinstance(command, Refresh):
            return self._refresh(command, wall)
        return self.topics.answer(command, now, wall)

    def _finish(self, command: Command, operation: Operation, outcome: Any, now: float, wall: float) -> list[Effect]:
        if isinstance(command, Connect):
            return self._entered(cast("Enter", operation), outcome, now, wall)
        return self.topics.finish(command, operation, outcome, wall)

    def _check(self, effects: list[Effect], command: Command, now: float) -> list[Effect]:
        """Note the operation that was asked for, if any; end the session where the client errs too often or it must."""
        for place, effect in enumerate(effects):
            if isinstance(effect, OPERATIONS):
                self._operation = command, effect
            elif isinstance(effect, End) and not self.is_ended:
                return effects[:place] + self.end(effect.end)
            elif isinstance(effect, Send) and effect.is_counted and not self._may_err(now):
                return effects + self.end(TOO_MANY_ERRORS)
        return effects

    def _may_err(self, now: float) -> bool:
        self._errors = self._errors or TokenBucket()
        return self._errors.take(1, 1.0, self._limits.errors, now)

    def _wait(self, command: Command) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(command)

    def _pause(self) -> list[Effect]:
        """Read no more where enough waits. What is read already is bounded by the rate of commands."""
        if self._is_paused or self._waiting is None or len(self._waiting) < MAX_WAITING:
            return []
        self._is_paused = True
        return [PauseReading()]

    # -- the connection

    def _connect(self, command: Connect, now: float, wall: float) -> list[Effect]:
        me = self.topics.me
        identity = self._access.identify(command.token, wall) if command.token else Identity(me.user)
        self._move("connect")
        self._timers.connecting()
        if identity == TOKEN_EXPIRED:
            self._move("refused")
            self._timers.refused(now)
            return [refuse(command.id, TOKEN_EXPIRED)]
        if isinstance(identity, ErrorCode):
            return self.end(INVALID_TOKEN)
        self.topics.me = ClientInfo(me.client, identity.user, identity.info)
        self._timers.expires_at = identity.expires_at
        topics = dict.fromkeys(topic for topic in identity.topics if is_valid(topic))
        self._connecting = Connecting(command, self.topics, list(topics)[: self._limits.subscriptions])
        return self._connect_on(now, wall)

    def _connect_on(self, now: float, wall: float) -> list[Effect]:
        """Make the next subscription of the server, or answer."""
        connecting = self._connecting
        assert connecting is not None
        if (operation := connecting.next()) is not None:
            return [operation]
        if not connecting.is_whole:
            return self.end(SERVER_ERROR)
        self._connecting = None
        self._move("connected")
        self._timers.connected(now, self._spread)
        released = connecting.release()
        ttl = ttl_of(self._timers.expires_at, wall)
        client, ping = self.topics.me.client, self._timers.ping
        result = messages.connect_result(client, VERSION, ping, ttl, connecting.results(wall))
        return [*released, answer(connecting.command.id, "connect", result), *connecting.go_live()]

    def _entered(self, operation: Enter, outcome: object, now: float, wall: float) -> list[Effect]:
        assert self._connecting is not None
        if not self._connecting.take(operation, outcome):
            return self.end(SERVER_ERROR)
        return self._connect_on(now, wall)

    def _refresh(self, command: Refresh, wall: float) -> list[Effect]:
        identity = self._access.identify(command.token, wall)
        if identity == TOKEN_EXPIRED:
            return self.end(CONNECTION_EXPIRED)
        if isinstance(identity, ErrorCode) or identity.user != self.topics.me.user:
            return self.end(INVALID_TOKEN)
        self._timers.expires_at = identity.expires_at
        ttl = ttl_of(identity.expires_at, wall)
        return [answer(command.id, "refresh", messages.refresh_result(self.topics.me.client, VERSION, ttl))]

    def _move(self, event: str) -> None:
        self._state = SESSION[self._state][event]
