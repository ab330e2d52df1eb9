"""Handing a client's socket over to the service on this host, so that the gateway leaves the path.

The service adopts it with the head that the gateway has decided on. Where
that cannot be, ``offer`` says so before anything has happened, a counter
and one line in the log say why, and the tunnel carries the connection.

Of the sockets that are handed over the gateway keeps a number for each
client and nothing else: the service remembers what log and limits want, and
reports it with the end. So a gateway that restarts learns everything again,
and one that is killed loses nothing.

``docs/handoff.md`` draws the messages, docs/decisions/004-hand-off.md has the reasons; the language is
``ws_service.handoff.protocol``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from proxy.errors import Outcome, UpstreamError, UpstreamTimeout
from proxy.exchange.record import Exchange
from proxy.net.client_limits import ClientCounter, Slot, client_key
from ws_service.handoff import protocol as wire

logger = logging.getLogger("proxy")

_LOOK = 1.0
"""Seconds between two looks for services that have come. A handshake that finds none looks at once, and does not
wait for the result."""

_GREETING = 0.5
"""Seconds that the start waits for the answers of services that are there, and for what they hold: 10,000 sockets take
a fifth of them."""

_AT_ONCE = 64
"""Messages read from one service before everybody else has a turn."""

_LAST_WORDS = 4096
"""Messages read from a service that is left; the kernel holds a few hundred."""

_MOST_PLACES = 64
"""Socket files of one service, one for each of its processes: as many as it makes."""

_OF_THE_REQUEST = frozenset(("tls", "too large"))
"""Causes that lie in a handshake: others can be handed over meanwhile, so nothing is to be said when one is."""


class Handoff:
    """The services that adopt sockets on this host: one channel to each of their processes.

    path: of the first process's socket file; others have ``path.1`` and so on. None hands nothing over.
    on_end: called with the record of each socket that has ended. websockets: where the clients' sockets are counted,
    from the moment in which a service has them, or may have them, to their end or the service's.

    ``handed_over`` counts sockets, ``fallbacks`` counts by cause those that the tunnel had to carry.
    """

    def __init__(self, path: Path | None, on_end: Callable[[Exchange], None], websockets: ClientCounter) -> None:
        self._path = path
        self._on_end = on_end
        self.websockets = websockets
        self._channels: dict[Path, _Channel] = {}
        self._leaving: set[_Channel] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._shunned: dict[Path, tuple[int, int]] = {}
        self._told: set[str] = set()
        self._absence = ("no socket file", f"there is no socket file {path}; is the ws service running?")
        self.handed_over = 0
        self.fallbacks: Counter[str] = Counter()

    @property
    def is_on(self) -> bool:
        """Whether sockets are to be handed over at all."""
        return self._path is not None

    @property
    def live(self) -> int:
        """How many sockets the services hold that were handed over, by this gateway or one before it."""
        return sum(channel.live for channel in (*self._channels.values(), *self._leaving))

    async def start(self) -> None:
        """Look for services, and go on looking.

        Services that are there are ready when it returns, and it is known what they hold for whom.
        """
        if self._path is None:
            return
        self._look_again()
        await self._greeted()

    async def greet(self) -> None:
        """Look for services that have just come back; those that are there are ready when it returns."""
        if self._path is None:
            return
        self._look()
        await self._greeted()

    async def _greeted(self) -> None:
        try:
            async with asyncio.timeout(_GREETING):
                for channel in list(self._channels.values()):
                    await channel.is_settled.wait()
        except TimeoutError:
            pass  # it is busy; the tunnel carries until it answers

    def close(self) -> None:
        """Leave every channel. The sockets stay with the services; the next gateway learns them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for channel in [*self._channels.values(), *self._leaving]:
            channel.leave()

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
        send: float,
    ) -> bool:
        """Hand a socket over; tell whether it is the service's now.

        exchange: the handshake's record. slot: its place among its client's WebSockets; it goes over with the socket,
        and too where nobody knows who has that. descriptor: of the client's
        socket; reading from it must have stopped. It stays the caller's, to
        be closed without a word when this returns True.
        head: the handshake as the upstream would get it. leftover: what was read behind it.
        is_secure: the client's scheme is https. timeout: seconds for the service to take the socket, and then
        again for its app to answer. send: seconds within which the client must take some of what waits for it.

        False means that nothing has happened to the socket, and that the
        cause is counted. Behind an exception, and when this is cancelled, the
        service may own it: nothing may be written to it any more. Raises
        UpstreamError and UpstreamTimeout.
        """
        if len(head) + len(leftover) > wire.MAX_HEAD:
            return self.fall_back("too large", f"its head, and what follows it, are larger than {wire.MAX_HEAD} bytes")
        channel = self._least_busy()
        if channel is None:
            self._look()
            return self.fall_back(*self._absence)
        x = exchange
        # Not when its head came: the service counts from now on, and its handshake may have waited for the service.
        about = wire.Socket(x.id, x.client, x.target, x.host, x.route, time.time())
        try:
            data = wire.encode(wire.Open(about, is_secure, head, leftover, timeout, send))
        except wire.WireError as error:
            return self.fall_back("too large", f"what is to be told of it is: {error}")
        try:
            socket.send_fds(channel.sock, [data], [descriptor])
        except BlockingIOError:
            return self.fall_back("busy", f"the service (process {channel.pid}) does not read what is handed over")
        except OSError as error:
            return self.fall_back("send failed", f"the socket cannot be sent to the service: {error.strerror}")
        refusal = await channel.verdict(x.id, slot, timeout)
        if refusal:
            return self.fall_back("refused", f"the service refused a socket: {refusal}")
        self.handed_over += 1
        if self._told - _OF_THE_REQUEST:
            self._told &= _OF_THE_REQUEST
            logger.info("WebSockets are handed over again")
        return True

    def fall_back(self, cause: str, sentence: str) -> bool:
        """Count a connection that the tunnel has to carry, and say why when the cause is a new one; returns False.

        cause: the counter's name. sentence: for the operator.
        """
        self.fallbacks[cause] += 1
        self._tell(cause, sentence)
        return False

    def ended(self, report: wire.Ended) -> None:
        """Pass on the end of a socket, as the record that the gateway itself no longer has."""
        about, now = report.socket, time.monotonic()
        outcome, closed_by = _ENDINGS[report.ending]
        self._on_end(
            Exchange(
                id=about.id,
                when=about.opened,
                began=now - report.duration,
                client=about.client,
                method="GET",
                target=about.target,
                host=about.host,
                route=about.route,
                upstream="ws",
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
        )

    def leaving(self, channel: _Channel) -> None:
        """Hear a service that stops to its end; its place may have another one any time."""
        self.gone(channel)
        self._leaving.add(channel)

    def gone(self, channel: _Channel) -> None:
        """Forget a channel that has ended."""
        self._leaving.discard(channel)
        if self._channels.get(channel.place) is channel:
            del self._channels[channel.place]

    def shun(self, place: Path, identity: tuple[int, int], why: object) -> None:
        """Dial a socket file no more until another one is in its place: who is there is not understood.

        The answer of that one cannot change, and each dial is a line in its log.
        identity: of the file that was dialled; another one may be in its place already.
        """
        self._shunned[place] = identity
        self._absence = "not understood", f"the service on {place} is not understood: {why}"

    # -- inside

    def _tell(self, cause: str, sentence: str) -> None:
        if cause not in self._told:
            self._told.add(cause)
            logger.warning("a WebSocket goes through the tunnel and not to the service itself: %s", sentence)

    def _least_busy(self) -> _Channel | None:
        ready = (channel for channel in self._channels.values() if channel.is_ready)
        return min(ready, key=lambda channel: channel.load, default=None)

    def _look_again(self) -> None:
        self._look()
        self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look_again)

    def _look(self) -> None:
        """Dial every socket file that is not dialled yet."""
        assert self._path is not None
        if sys.platform != "linux":
            self._absence = "system", "this system cannot pass sockets that way; it takes Linux"
            return
        try:
            places = _places(self._path)
        except OSError as error:  # no descriptor is left, or no right; the next look may find out more
            self._absence = "not answered", f"the folder of {self._path} cannot be read: {error.strerror or error}"
            return
        if not places:
            self._absence = "no socket file", f"there is no socket file {self._path}; is the ws service running?"
        for place in places:
            if place not in self._channels and self._shunned.get(place) != _identity(place):
                self._dial(place)

    def _dial(self, place: Path) -> None:
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:  # no descriptor is left; the next look may find one
            self._absence = "not answered", f"the service on {place} cannot be asked: {error.strerror or error}"
            return
        sock.setblocking(False)
        identity = _identity(place)  # before: who takes its place meanwhile is somebody else
        try:
            sock.connect(str(place))
            pid, uid = _peer(sock)
            if uid not in (0, os.geteuid()):
                sock.close()
                who = f"the service on {place} runs as user {uid}, this as user {os.geteuid()}"
                self._absence = "not trusted", who
                self._shunned[place] = identity
                return
            sock.send(wire.encode(wire.Hello()))
        except OSError as error:
            sock.close()
            self._absence = "not answered", f"nobody answers on {place}: {error.strerror or error}"
            return
        self._absence = "no greeting", f"the service on {place} (process {pid}) has not answered the greeting yet"
        self._channels[place] = _Channel(self, place, identity, sock, pid, is_roots=uid != os.geteuid())


class _Channel:
    """One process of the service, from our greeting to the end of either.

    identity: of the socket file that was dialled.
    is_roots: it runs as root and this process does not, so it will not take anything from us.
    """

    def __init__(
        self, owner: Handoff, place: Path, identity: tuple[int, int], sock: socket.socket, pid: int, *, is_roots: bool
    ) -> None:
        self._is_roots = is_roots
        self.place = place
        self._identity = identity
        self.sock = sock
        self.pid = pid
        self.live = 0
        self.is_ready = False
        self._is_leaving = False
        self.is_settled = asyncio.Event()
        """Set when the service has answered and told of the sockets that it holds, or will not."""
        self._is_greeted = False
        self._untold = 0
        self._owner = owner
        self._waiting: dict[str, tuple[asyncio.Future[str], Slot]] = {}
        self._doubtful: dict[str, str] = {}  # sockets for whose verdict nobody waits any more, and whose they are
        self._held: Counter[str] = Counter()  # by client
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def load(self) -> int:
        """How many sockets it has, those under way with them."""
        return self.live + len(self._waiting) + len(self._doubtful)

    async def verdict(self, id: str, slot: Slot, timeout: float) -> str:
        """Wait until the service has taken a socket, and its slot; return why it has not, or nothing."""
        verdict: asyncio.Future[str] = self._loop.create_future()
        self._waiting[id] = verdict, slot
        try:
            async with asyncio.timeout(timeout):
                return await verdict
        except TimeoutError:
            raise UpstreamTimeout(
                f"The ws service did not take the connection over within {timeout:g} s.",
                detail=f"the ws service (process {self.pid}) did not take the socket within {timeout:g} s",
            ) from None
        finally:
            if self._waiting.pop(id, None) is not None:
                self._doubtful[id] = slot.hand_over()

    def end(self, why: str) -> None:
        """End the channel. Who waits for a verdict gets an error: the service may own the socket.

        why: for the log; empty where there is nothing to say.
        """
        if self.sock.fileno() < 0:
            return
        if why:
            logger.error("the channel to the ws service on %s (process %d) ends: %s", self.place, self.pid, why)
        self.is_ready = False
        self.is_settled.set()
        self._loop.remove_reader(self.sock.fileno())
        self.sock.close()
        for verdict, _ in self._waiting.values():
            if not verdict.done():
                verdict.set_exception(
                    UpstreamError("The ws service went away while it took the connection over.", passes=True)
                )
        self._waiting.clear()
        for key, count in (*self._held.items(), *((key, 1) for key in self._doubtful.values())):
            self._owner.websockets.leave(key, count)
        self._held.clear()
        self._doubtful.clear()
        self._owner.gone(self)

    def leave(self) -> None:
        """End the channel, but not before everything is heard that the service has said."""
        if self.sock.fileno() >= 0:
            self._is_leaving = True
            self.sock.shutdown(socket.SHUT_RDWR)  # what it says from here on it keeps for the next gateway
            self._read(_LAST_WORDS)
            self.end("")

    def _readable(self) -> None:
        self._read(_AT_ONCE)

    def _read(self, count: int) -> None:
        for _ in range(count):
            if self.sock.fileno() < 0:
                return
            try:
                data = self.sock.recv(wire.MAX_MESSAGE + 1)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._left()
                return
            try:
                self._understand(wire.decode(data))
            except wire.WireError as error:
                self._owner.shun(self.place, self._identity, error)
                self.end(f"it sent a message that cannot be read: {error}")

    def _understand(self, message: wire.Message) -> None:
        match message:
            case wire.Hello() if not self._is_greeted:
                self._is_greeted = self.is_ready = True
                self._told(message.live)
                logger.info(
                    "the ws service on %s (process %d) takes WebSockets over; it holds %d that live on",
                    self.place,
                    self.pid,
                    message.live,
                )
            case wire.Live(about):
                key = client_key(about.client)
                self._owner.websockets.enter(key)
                self._hold(key)
                self._told(self._untold - 1)
            case wire.Adopted(id):
                self._hold(self._settle(id, ""))
            case wire.Refused(id, reason):
                self._settle(id, reason or "it gave no reason")
            case wire.Ended(about):
                self._let_go(client_key(about.client))
                self._owner.ended(message)
            case wire.Closing():
                self.is_ready = False
                self._owner.leaving(self)
            case _:
                raise wire.WireError(f"{type(message).__name__} is out of place")

    def _settle(self, id: str, refusal: str) -> str:
        """Give a verdict to whoever waits for it; return the key of a socket that was taken, to be counted out."""
        if id in self._waiting:
            verdict, slot = self._waiting.pop(id)
            if not verdict.done():
                verdict.set_result(refusal)
            return "" if refusal else slot.hand_over()
        try:
            key = self._doubtful.pop(id)
        except KeyError:
            raise wire.WireError(f"it decides on a socket that it was not offered: {id}") from None
        if refusal:
            self._owner.websockets.leave(key)
        return key

    def _told(self, left: int) -> None:
        self._untold = left
        if left <= 0:
            self.is_settled.set()

    def _hold(self, key: str) -> None:
        self.live += 1
        self._held[key] += 1

    def _let_go(self, key: str) -> None:
        if not self._held[key]:
            raise wire.WireError(f"it reports the end of a socket that it does not have, of {key}")
        self.live -= 1
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        self._owner.websockets.leave(key)

    def _left(self) -> None:
        if self._is_leaving:
            pass
        elif not self._is_greeted:
            why = "it ended before its greeting; it may be another version: restart both programs"
            if self._is_roots:
                why = f"it runs as root, and takes nothing from user {os.geteuid()}: run both as the same user"
            logger.warning("the ws service on %s (process %d) is not understood: %s", self.place, self.pid, why)
            self._owner.shun(self.place, self._identity, why)
        elif self.live:
            logger.warning(
                "the ws service (process %d) is gone, and %d sockets that were handed over to it with it",
                self.pid,
                self.live,
            )
        else:
            logger.info("the ws service (process %d) is gone", self.pid)
        self.end("")


_ENDINGS = {
    wire.Ending.CLIENT: (Outcome.CLIENT_CLOSED, "client"),
    wire.Ending.SERVICE: (Outcome.UPSTREAM_CLOSED, "upstream"),
    wire.Ending.RESET: (Outcome.RESET, "client"),
}


def _identity(place: Path) -> tuple[int, int]:
    try:
        status = place.stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_ctime_ns


def _places(path: Path) -> list[Path]:
    """Return the socket files of a service: ``path`` and ``path.1``, ``path.2``, ... Raises OSError.

    Each is asked for by its name: whoever may write into the folder may fill it with a million others.
    """
    names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, _MOST_PLACES))]
    return [name for name in names if _is_there(name)]


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _peer(sock: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end, as the kernel knows them (unix(7), SO_PEERCRED)."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
