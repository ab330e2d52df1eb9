"""One upstream: its addresses, and the queue of what waits for any of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from proxy.config import Settings, Timeouts, UpstreamAddress
from proxy.errors import ProxyError, UpstreamLost
from proxy.upstream.address import Address
from proxy.upstream.balance import least_loaded
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.health import Health, State
from proxy.upstream.request_queue import RequestQueue

_BEST_FIRST = (State.UP, State.UNKNOWN, State.DEGRADED, State.UNREACHABLE)


class Upstream:
    """One of the services behind the gateway: one program, or several that do the same at addresses of their own.

    name: as the configuration calls it. addresses: at least one. settings, context: as for ``reconfigure``.

    An exchange takes a connection with ``acquire`` (or ``try_acquire``) and
    gives it back with ``release`` or ``discard``, or lets it go with its
    owner's ``detach``: in between it is in flight. So a long response (an event
    stream) is in flight to its end, and a tunnel only to its 101. It goes to
    the address with the fewest in flight that takes connections; nothing ties
    a client to one of them.

    ``addresses`` has each one with its ``url``, ``health``, ``slots`` (those that are ``taken`` are in flight) and
    ``sockets``; what waits is in ``queue``, for all of them.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[UpstreamAddress],
        settings: Settings,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.queue = RequestQueue(name, waiting=0)
        self.addresses: tuple[Address, ...] = ()
        self.try_acquire: Callable[[], UpstreamConnection | None] = self._try_acquire_any
        """Take an idle connection; None where there is none, or requests wait for a slot."""
        self._ready: tuple[Address, ...] = ()  # the best that there are; none where all are unreachable
        self._former: list[Address] = []
        self._unchecked: set[Address] = set()  # of the round of checks that requests wait for
        self._turn = 0
        self._is_started = False
        self.reconfigure(addresses, settings, context)

    # -- its life

    def reconfigure(
        self, addresses: Sequence[UpstreamAddress], settings: Settings, context: ssl.SSLContext | None
    ) -> None:
        """Serve by other settings from here on; what waits for it stays.

        addresses: at least one. One that stays keeps its connections and its health. One that is not in here any more
        gets nothing new, and exchanges that have one of its connections end on it. context: for TLS, where one is an
        ``https`` one.
        """
        self.queue.reconfigure(waiting=settings.limits.waiting)
        known = self.addresses
        by_url = {address.url: address for address in known}
        self.addresses = tuple(by_url.get(where.url) or Address(self, where) for where in addresses)
        for address, where in zip(self.addresses, addresses, strict=True):
            address.handoff = where.handoff
        for address in known:
            if address not in self.addresses:
                address.close()
                address.slots.gives = False
                self._former.append(address)
                self._unchecked.discard(address)
        self._forget_former()
        for address in self.addresses:
            address.reconfigure(settings, context, has_others=len(self.addresses) > 1)
            if self._is_started and address not in known:
                address.start()
        self.try_acquire = self.addresses[0].try_acquire if len(self.addresses) == 1 else self._try_acquire_any
        self.address_changed()

    def start(self) -> None:
        """Begin with the health checks, if the options ask for them."""
        self._is_started = True
        for address in self.addresses:
            address.start()

    def close(self, why: str = "This gateway is stopping.") -> None:
        """Close every idle connection, keep none any more, check no more, and end what waits for it.

        why: a sentence, for the client.
        """
        self.queue.close(why)
        for address in self.addresses:
            address.close()

    async def closed(self) -> None:
        """Wait until nothing of it runs any more, after ``close``."""
        for address in (*self.addresses, *self._former):
            await address.closed()

    # -- for exchanges

    async def acquire(
        self, timeouts: Timeouts, *, is_new: bool = False, preferred: Address | None = None
    ) -> UpstreamConnection:
        """Take a connection for one exchange: an idle one, or a new one; waits while the upstream has all it may have.

        timeouts: those that the exchange began with; of them ``queue`` and ``connect``.
        is_new: make one in any case. preferred: the address to take, where it takes connections and has a slot; None:
        the one with the fewest in flight. Raises UpstreamUnreachable,
        ConnectTimeout, UpstreamFull, Exhausted, Stopping, and UpstreamError
        when TLS cannot be spoken to it; cancelling gives everything back.
        While every address is unreachable only the health checks connect: a
        request waits for what the next ones find.
        """
        while True:
            if not any(address.is_worth_trying(is_new) for address in self.addresses):
                await self._wait_for_check()
            address = await self._slot(timeouts.queue, is_new, preferred)
            if address.is_worth_trying(is_new):
                return await address.take(timeouts.connect, is_new=is_new)
            address.slots.release()

    def choose(self, load: Callable[[Address], int]) -> Address:
        """Return the address with the smallest load, of those that take connections, or of all where none does."""
        return self._next(self._ready or self.addresses, load)

    async def wait_for_return(self, timeout: float) -> None:
        """Wait until the upstream is reachable, and it is this request's turn to try.

        timeout: seconds. Raises TimeoutError, UpstreamFull, Stopping.
        """
        for address in self.addresses:
            address.request_check()
        await self.queue.wait_for_return(timeout)

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back when its exchange is over; closes it unless another may follow."""
        connection.owner.release(connection)

    @contextmanager
    def lent(self, connection: UpstreamConnection) -> Iterator[None]:
        """Take a connection back at the end of a ``with`` block, however it ends, before anything else can wait."""
        try:
            yield
        except UpstreamLost:
            connection.owner.doubt()
            raise
        finally:
            connection.owner.release(connection)

    def discard(self, connection: UpstreamConnection) -> None:
        """Take a connection back and close it. Safe to call twice."""
        connection.owner.discard(connection)

    # -- what is known of it

    @property
    def others(self) -> int:
        """How many attempts may follow a failed one at once: as many as there are other addresses, while any takes
        connections."""
        return len(self.addresses) - 1 if self._ready else 0

    @property
    def authority(self) -> bytes:
        """The Host field of a request that came without one."""
        return self.addresses[0].authority

    @property
    def health(self) -> Health:
        """The health of the address that is best off: what a request will meet."""
        healths = [address.health for address in self.addresses]
        return min(healths, key=lambda health: _BEST_FIRST.index(health.state))

    @property
    def idle(self) -> int:
        """How many connections are idle."""
        return sum(address.idle for address in self.addresses)

    @property
    def urls(self) -> str:
        """Its addresses, for messages to the operator."""
        return ", ".join(address.url for address in self.addresses)

    def advice(self, question: str) -> str:
        """Return what the operator may look at."""
        return self.addresses[0].advice(question)

    # -- called by its addresses

    def address_changed(self) -> None:
        """Sort the addresses anew: which ones are used."""
        reachable = [address for address in self.addresses if not address.health.is_unreachable]
        self._ready = tuple([address for address in reachable if address.is_good] or reachable)
        for address in self.addresses:
            # Where all are unreachable, what waits for a slot is to find that out.
            address.slots.gives = address in self._ready or not self._ready
        for address in self.addresses:
            address.slots.give()

    def address_reached(self) -> None:
        """Let go what waits for the upstream's return."""
        self.queue.resume()

    def address_missed(self) -> None:
        """Let nothing go any more where no other address is reachable."""
        if not self._ready:
            self.queue.suspend()

    def address_checked(self, address: Address) -> None:
        """Let go what waits for a check when one address is reachable, or all are found not to be."""
        self._unchecked.discard(address)
        if self._ready or not self._unchecked:
            self.queue.checked()

    # -- inside

    def _try_acquire_any(self) -> UpstreamConnection | None:
        return self._next(self._ready, in_flight).try_acquire() if self._ready else None

    async def _slot(self, timeout: float, is_new: bool, preferred: Address | None) -> Address:
        """Take a slot of an address, the preferred one if that may be, or wait for the first that any has."""
        if preferred in self._ready and preferred.slots.try_acquire():
            return preferred
        candidates = self._ready or [address for address in self.addresses if address.is_worth_trying(is_new)]
        address = self._next(candidates, in_flight) if candidates else self.addresses[0]
        if address.slots.try_acquire():
            return address
        slots = await self.queue.wait_for_slot(timeout)
        return next(address for address in (*self.addresses, *self._former) if address.slots is slots)

    def _next(self, candidates: Sequence[Address], load: Callable[[Address], int]) -> Address:
        if len(candidates) == 1:
            return candidates[0]
        self._turn += 1
        return least_loaded(candidates, load, self._turn)

    async def _wait_for_check(self) -> None:
        """Wait for the next health check. Raises UpstreamUnreachable when the upstream is still unreachable."""
        if not all(address.has_just_checked for address in self.addresses):
            if not self.queue.awaits_check:
                self._unchecked = set(self.addresses)
            for address in self.addresses:
                address.request_check()
            await self.queue.wait_for_check()
        if not self._ready:
            raise self._unreachable_error()

    def _unreachable_error(self) -> ProxyError:
        errors = [address.unreachable_error() for address in self.addresses]
        if len(errors) > 1:
            errors[0].detail = "; ".join(error.detail for error in errors)
        return errors[0]

    def _forget_former(self) -> None:
        """Forget addresses of earlier configurations of which nothing is left."""
        for address in [address for address in self._former if address.has_ended]:
            self._former.remove(address)
            self.queue.remove_slots(address.slots)


def in_flight(address: Address) -> int:
    """Return how many requests an address has."""
    return address.slots.taken


def make_upstreams(
    settings: Settings, before: Mapping[str, Upstream], context: ssl.SSLContext | None
) -> dict[str, Upstream]:
    """Return the configured upstreams by name; nothing that exists is changed.

    before: those of the reading of the config before. One that keeps an address goes on, and is to be reconfigured when
    this reading is put in force; one that keeps none is another program under the same name, and what waits for the old
    one must not reach it. context: for TLS, where one of them is an ``https`` one.
    """
    return {
        name: known
        if (known := before.get(name)) is not None and _has_any(known, settings.addresses_of(name))
        else Upstream(name, settings.addresses_of(name), settings, context)
        for name in settings.upstreams.by_name
    }


def _has_any(upstream: Upstream, addresses: Sequence[UpstreamAddress]) -> bool:
    return bool({address.url for address in upstream.addresses} & {where.url for where in addresses})
