"""Handing a client's socket over to the service on this host, so that the gateway leaves the path.

The service adopts it with the head that the gateway has decided on. Where that cannot be, ``offer`` says so before
anything has happened, a counter and one line in the log say why, and the tunnel carries the connection.

Of the sockets that are handed over the gateway keeps a number for each client and nothing else: the service remembers
what log and limits need, and reports it with the end. So a gateway that restarts learns everything again, and one that
is killed loses nothing.

docs/decisions/004-hand-off.md has the reasons; ``docs/handoff.md`` draws the conversation; the language is
``ws_service.handoff.protocol``.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from proxy.errors import Outcome
from proxy.exchange.record import Exchange
from proxy.net.client_limits import ClientCounter, Slot
from proxy.websocket.handoff_services import Services
from ws_service.handoff import protocol as wire

logger = logging.getLogger("proxy")

_OF_THE_REQUEST = frozenset(("tls", "too large", "unsent"))
"""Causes that lie in a handshake: others can be handed over meanwhile, so the log need not tell when one is."""

_ENDINGS = {
    wire.Ending.CLIENT: (Outcome.CLIENT_CLOSED, "client"),
    wire.Ending.SERVICE: (Outcome.UPSTREAM_CLOSED, "upstream"),
    wire.Ending.RESET: (Outcome.RESET, "client"),
}


class Handoff:
    """Offers sockets to the services that adopt them on this host, and counts what became of that.

    path: of the services' socket files; None hands nothing over.
    on_end: called with the record of each socket that has ended. websockets: where the clients' sockets are counted,
    from the moment in which a service has them, or may have them, to their end or the service's.

    ``handed_over`` counts sockets, ``fallbacks`` counts by cause those that the tunnel had to carry. ``address`` is for
    the access log: that of the services, empty where there is one alone.
    """

    def __init__(self, path: Path | None, on_end: Callable[[Exchange], None], websockets: ClientCounter) -> None:
        self.services = Services(path, websockets, lambda report: on_end(record_of(report, self.address)))
        self.address = ""
        self.handed_over = 0
        self.fallbacks: Counter[str] = Counter()
        self._logged: set[str] = set()  # causes that are in the log, since a socket was last handed over

    @property
    def is_on(self) -> bool:
        """Whether sockets are to be handed over at all."""
        return self.services.path is not None

    @property
    def live(self) -> int:
        """How many sockets the services have that were handed over, by this gateway or one before it."""
        return sum(channel.live for channel in self.services.channels)

    async def offer(
        self,
        exchange: Exchange,
        slot: Slot,
        descriptor: int,
        head: bytes,
        leftover: bytes,
        *,
        is_secure: bool,
        timeout: float,
        send_timeout: float,
    ) -> bool:
        """Hand a socket over; tell whether it is the service's now.

        exchange: the record of the handshake. slot: its WebSocket among those of its client; it goes over with the
        socket, and too where it is not known whether the service has that.
        descriptor: of the client's socket; reading from it must have stopped. The caller still owns it, and closes it
        without a FIN when this returns True.
        head: the handshake as the upstream would get it. leftover: what was read after it.
        is_secure: the client's scheme is https. timeout: seconds for the service to take the socket, and then
        again for its app to answer. send_timeout: seconds within which the client must take some of what waits for it.

        False means that nothing has happened to the socket, and that the cause is counted. After an exception, and
        when this is cancelled, the service may own it: nothing may be written to it any more. Raises UpstreamError and
        UpstreamTimeout.
        """
        if len(head) + len(leftover) > wire.MAX_HEAD:
            return self.fall_back("too large", f"its head, and what follows it, are larger than {wire.MAX_HEAD} bytes")
        channel = self.services.least_busy()
        if channel is None:
            return self.fall_back_for_absence()
        x = exchange
        # Not when its head came: the service counts from now on, and its handshake may have waited for the service.
        about = wire.Socket(x.id, x.client, x.target, x.host, x.route, time.time())
        try:
            channel.send(wire.encode(wire.Open(about, is_secure, head, leftover, timeout, send_timeout)), descriptor)
        except wire.WireError as error:
            return self.fall_back("too large", f"what is to be told of it is: {error}")
        except BlockingIOError:
            return self.fall_back("busy", f"the service (process {channel.pid}) does not read what is handed over")
        except OSError as error:
            return self.fall_back("send failed", f"the socket cannot be sent to the service: {error.strerror}")
        refusal = await channel.reply(x.id, slot, timeout)
        if refusal:
            return self.fall_back("refused", f"the service refused a socket: {refusal}")
        self.handed_over += 1
        if self._logged:
            self._log_recovery()
        return True

    def fall_back(self, cause: str, sentence: str) -> bool:
        """Count a connection that the tunnel has to carry, and log why when the cause is a new one; returns False.

        cause: the counter's name. sentence: for the operator.
        """
        self.fallbacks[cause] += 1
        if cause not in self._logged:
            self._logged.add(cause)
            logger.warning("a WebSocket goes through the tunnel and not to the service itself: %s", sentence)
        return False

    def fall_back_for_absence(self) -> bool:
        """Count a connection that the tunnel has to carry because there is no service, and look for one; returns
        False."""
        self.services.discover_if_due()
        return self.fall_back(*self.services.absence)

    def _log_recovery(self) -> None:
        if self._logged - _OF_THE_REQUEST:
            self._logged &= _OF_THE_REQUEST
            logger.info("WebSockets are handed over again")


def record_of(report: wire.Ended, address: str = "") -> Exchange:
    """Return the record of a socket that has ended, which the gateway itself no longer has. address: for the record."""
    about, now = report.socket, time.monotonic()
    outcome, closed_by = _ENDINGS[report.ending]
    return Exchange(
        id=about.id,
        when=about.opened,
        began=now - report.duration,
        client=about.client,
        method="GET",
        target=about.target,
        host=about.host,
        route=about.route,
        upstream="ws",
        address=address,
        is_handed_off=True,
        status=report.status,
        received=report.received or 0,
        sent=report.sent or 0,
        ended=now,
        outcome=outcome if report.status == 101 else Outcome.SERVED,
        close_code=report.close_code,
        closed_by=closed_by,
        detail="" if report.received is not None else "the system does not tell its bytes",
    )
