"""The record of one exchange: data for the log, written while it goes on, read once when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.errors import Outcome

LOGGED_FIELDS = (b"referer", b"traceparent", b"user-agent")
"""Fields of a request that the access log reads when the exchange has ended."""

_LONGEST = 1024
"""Bytes of each that are kept while a WebSocket is open."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and everything that became of it.

    Times are seconds of a monotonic clock, ``when`` is seconds of the wall
    clock; both begin with the first byte of the head, however long the rest of
    it takes (nginx's ``$request_time`` does the same). Byte counts are of
    bodies, and for a tunnel of everything after the handshake.
    """

    id: str
    when: float
    began: float
    client: str = "-"
    method: str = "-"
    target: str = "-"
    host: str = ""
    version: tuple[int, int] = (1, 1)
    fields: Mapping[bytes, Sequence[bytes]] | None = None
    """The fields of the request by name, in lower case; of a WebSocket that has opened ``LOGGED_FIELDS`` alone. None
    where the gateway itself does not have them."""
    route: str = ""
    upstream: str = ""
    address: str = ""
    """The URL of the upstream's address that it went to last, where the upstream has several; empty elsewhere."""
    is_tunnel: bool = False
    is_handed_off: bool = False
    """The service has the client's socket: ``ended`` comes with its report, in a record made of it."""
    status: int = 0
    """The status that the client got; 499 when it left before there was one, 444 when it was let go without one (both
    as nginx has them); 0 while it is not known here."""
    received: int = 0
    """Bytes from the client."""
    sent: int = 0
    """Bytes to the client."""
    held: float | None = None
    """Seconds that it waited for an upstream that was unreachable; None where it did not have to."""
    limit: str = ""
    """The setting of ``gateway.limits`` that ended it; empty where none did."""
    responded: float | None = None
    """When the first byte of the response was written to the client; None before, where there was none, and for a
    WebSocket, which has ``opened``. Interim responses do not count."""
    opened: float | None = None
    """When its WebSocket opened, or its socket was handed over; None before, and where there is none."""
    ended: float | None = None
    outcome: Outcome = Outcome.BUG
    detail: str = ""
    """What the operator should know beside the outcome; may name addresses, never shown to clients."""
    close_code: int | None = None
    """A WebSocket's: the code of the close frame that began the end; None where there was none."""
    closed_by: str = ""
    """A WebSocket's: ``client``, ``upstream`` or ``gateway``."""

    def forget_fields(self) -> None:
        """Keep only the fields that the log prints, and of them no more than it does: a WebSocket lasts for hours."""
        if self.fields is not None:
            kept = [(name, values) for name in LOGGED_FIELDS if (values := self.fields.get(name))]
            self.fields = {name: [values[0][:_LONGEST]] * len(values[:2]) for name, values in kept}

    @property
    def duration(self) -> float:
        """Seconds from the first byte of the head to the end; 0 while it runs."""
        return 0.0 if self.ended is None else self.ended - self.began

    @property
    def first_byte(self) -> float | None:
        """Seconds from the first byte of the head to the first byte of the response; None while there is none."""
        return None if self.responded is None else self.responded - self.began
