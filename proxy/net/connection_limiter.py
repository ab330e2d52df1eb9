"""Which connections are accepted: as many as there may be in all, and of one client."""

from __future__ import annotations

from proxy.config import Settings
from proxy.net.client_limits import Admitted, ClientCounter, ClientLimits, Rejected
from proxy.net.peer import is_trusted

_RESERVE = 64
"""Open files that are not for clients: listeners, the admin listener's connections, the log, the services' channels;
a quarter of all where that is less."""


class ConnectionLimiter:
    """Decides on connections by the settings in force.

    limits: counts them. files: that this process may open.
    """

    def __init__(self, limits: ClientLimits, settings: Settings, files: int) -> None:
        self._client_limits = limits
        self._settings = settings
        self._files = files

    def reconfigure(self, settings: Settings) -> None:
        """Decide by other settings from now on; open connections stay."""
        self._settings = settings

    @property
    def connections(self) -> ClientCounter:
        """The count of open connections, by client."""
        return self._client_limits.connections

    @property
    def is_full(self) -> bool:
        """Whether all connections are in use."""
        return self.connections.total >= self.capacity

    @property
    def capacity(self) -> int:
        """How many connections there may be at a time."""
        return capacity(self._settings.limits.connections, self._files)

    def count_pause(self) -> None:
        """Count that accepting pauses, because all connections are in use."""
        self._client_limits.hits["connections"] += 1

    @property
    def capacity_notice(self) -> str:
        """A sentence for the log: how many connections there may be at a time, and why."""
        return capacity_notice(self._settings.limits.connections, self._files)

    def admit(self, address: str, now: float) -> Admitted | Rejected:
        """Decide on a connection, and count it.

        address: of the client, as far as it is known. now: seconds of a monotonic clock.
        """
        most = None if self.is_free(address) else self._settings.limits.connections_per_client
        return self._client_limits.connection(address, most, now)

    def is_free(self, address: str) -> bool:
        """Tell whether this is a trusted proxy: it has many clients, and no limit for one client."""
        return is_trusted(address, self._settings.trusted_proxies)


def capacity(wished: int | None, files: int) -> int:
    """Return how many connections there may be at a time.

    wished: ``limits.connections``, which is used as it is: an idle connection takes one file, not two, and when none is
    left accepting pauses. None: as many as ``files`` allow, the number of files that this process may open.
    """
    return max(1, (files - min(_RESERVE, files // 4)) // 2) if wished is None else wished


def admin_places(files: int) -> int:
    """Return how many connections the admin listener may have: half of the files that are not for clients."""
    return max(1, min(_RESERVE, files // 4) // 2)


def capacity_notice(wished: int | None, files: int) -> str:
    """Return a sentence for the log: how many there may be, and why; the arguments are those of ``capacity``."""
    most = capacity(None, files)
    if wished is None:
        return f"room for {most} connections: {files} files may be open, and each connection may take two"
    if wished <= most:
        return f"room for {wished} connections (gateway.limits.connections)"
    return (
        f"room for {wished} connections (gateway.limits.connections), of which {most} may have an upstream at a time: "
        f"{files} files may be open, and such a connection takes two; raise that (ulimit -n, LimitNOFILE=)"
    )
