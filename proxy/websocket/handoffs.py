"""The services on this host that take sockets over, each at the hand-off's socket file of its address."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from proxy.exchange.record import Exchange
from proxy.net.client_limits import ClientCounter
from proxy.websocket.handoff import Handoff
from proxy.websocket.handoff_channel import Channel


class Handoffs:
    """One ``Handoff`` for each socket file that an address names.

    folder: from which their paths start. on_end, websockets: as for ``Handoff``.

    A file belongs to an address, and not to an upstream: a socket that was meant for one service must not be handed to
    another one, which may be drained or be of another version.
    """

    def __init__(self, folder: Path, on_end: Callable[[Exchange], None], websockets: ClientCounter) -> None:
        self._folder = folder
        self._on_end = on_end
        self._websockets = websockets
        self._by_path: dict[Path, Handoff] = {}
        self._by_file: dict[str, Handoff] = {}  # the same, as addresses name them: it is looked up for each handshake
        self._used: set[Path] = set()
        self._handed_over = 0  # through files that are forgotten
        self._fallbacks: Counter[str] = Counter()
        self._is_started = False

    def reconfigure(self, files: Iterable[str], addresses: Mapping[str, str] = {}) -> None:
        """Hand sockets over through these socket files from now on.

        One that is not among them takes none any more; the sockets that were handed over through it stay with their
        service, and are counted and logged until they end. Then it is forgotten, by the next call at the latest.

        addresses: for each file that of its services, for the access log; empty where there is one alone.
        """
        paths = {file: self._folder / file for file in files}
        used = set(paths.values())
        for path in self._used - used:
            self._by_path[path].services.retire()
        for path in used - self._used:
            if path not in self._by_path:
                self._by_path[path] = Handoff(path, self._on_end, self._websockets)
            if self._is_started:
                self._by_path[path].services.resume()
        self._used = used
        for path in [path for path in self._by_path if path not in used and not self._by_path[path].services.channels]:
            former = self._by_path.pop(path)
            self._handed_over += former.handed_over
            self._fallbacks += former.fallbacks
        kept = {file: each for file, each in self._by_file.items() if each.services.path in self._by_path}
        self._by_file = kept | {file: self._by_path[path] for file, path in paths.items()}
        for file in paths:
            self._by_file[file].address = addresses.get(file, "")

    async def start(self) -> None:
        """Connect to services, now and whenever some have come; those that are there are ready when it returns."""
        self._is_started = True
        await asyncio.gather(*(self._by_path[path].services.start() for path in self._used))

    def close(self) -> None:
        """Close every channel. The sockets stay with the services; the next gateway learns of them."""
        for handoff in self._by_path.values():
            handoff.services.close()

    def through(self, file: str | None) -> Handoff | None:
        """Return what hands over through a socket file; None where there is none. file: as an address has it."""
        return None if file is None else self._by_file.get(file)

    def load(self, file: str | None) -> int:
        """Return how many sockets the service at a socket file has that were handed over."""
        handoff = self.through(file)
        return 0 if handoff is None else handoff.services.load

    # -- for those that show it

    @property
    def is_on(self) -> bool:
        """Whether sockets are to be handed over at all."""
        return bool(self._used)

    @property
    def channels(self) -> list[Channel]:
        """The channels to all services."""
        return [channel for handoff in self._by_path.values() for channel in handoff.services.channels]

    @property
    def live(self) -> int:
        """How many sockets the services have that were handed over, by this gateway or one before it."""
        return sum(handoff.live for handoff in self._by_path.values())

    @property
    def handed_over(self) -> int:
        """How many sockets were handed over."""
        return self._handed_over + sum(handoff.handed_over for handoff in self._by_path.values())

    @property
    def fallbacks(self) -> Counter[str]:
        """How many the tunnel had to carry, by cause."""
        return sum((handoff.fallbacks for handoff in self._by_path.values()), self._fallbacks)

    @property
    def is_ready(self) -> bool:
        """Whether a service takes sockets, through whichever file."""
        return any(self._by_path[path].services.is_ready for path in self._used)

    @property
    def absences(self) -> list[str]:
        """Why no socket can be handed over at the moment, a sentence for each file of which that is so."""
        used = (self._by_path[path].services for path in sorted(self._used))
        return [services.absence[1] for services in used if not services.is_ready]
