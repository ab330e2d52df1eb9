"""When a session is overdue: its connect command, its pong, its token. Pure."""

from __future__ import annotations

from ws_service.hub.codes import CONNECTION_EXPIRED, NO_PONG, STALE, EndCode
from ws_service.hub.limits import Limits


class SessionTimers:
    """The deadlines of one session. now: seconds of a monotonic clock; wall: seconds since the epoch.

    ping: seconds between pings; 0 for none. expires_at: of its token; None: never.
    """

    __slots__ = ("_connect_by", "_limits", "_ping_at", "_pong_by", "expires_at", "ping")

    def __init__(self, limits: Limits, now: float, *, answers_pings: bool) -> None:
        self.ping = limits.ping if answers_pings else 0.0
        self.expires_at: float | None = None
        self._limits = limits
        self._connect_by: float | None = now + limits.connect
        self._ping_at: float | None = None
        self._pong_by: float | None = None

    def connecting(self) -> None:
        """Note that the connect command has come."""
        self._connect_by = None

    def refused(self, now: float) -> None:
        """Note that it was refused: the client may send another one."""
        self._connect_by = now + self._limits.connect

    def connected(self, now: float, spread: float) -> None:
        """Begin to ping. spread: when the first one is, as a part of the interval."""
        if self.ping:
            self._ping_at = now + self.ping * spread

    def pong(self) -> None:
        """Note that the client is there."""
        self._pong_by = None

    def overdue(self, now: float, wall: float) -> EndCode | None:
        """Return what the session ends with; None while nothing is overdue."""
        if self._connect_by is not None and now >= self._connect_by:
            return STALE
        if self._pong_by is not None and now >= self._pong_by:
            return NO_PONG
        if self.expires_at is not None and wall >= self.expires_at + self._limits.grace:
            return CONNECTION_EXPIRED
        return None

    def is_ping_due(self, now: float) -> bool:
        """Tell whether to ping; then the pong is waited for."""
        if self._ping_at is None or now < self._ping_at:
            return False
        self._ping_at = now + self.ping
        self._pong_by = now + self._limits.pong
        return True
