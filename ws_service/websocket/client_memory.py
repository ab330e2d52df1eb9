"""The memory that one client takes of the service, counted over all of its sockets.

A message counts from its first byte to the moment in which the endpoint takes it, by its inflated size, with what its
objects cost besides: an empty frame costs memory too. What the library ``websockets`` inflates is counted frame by
frame, by an extension in its list, so that it stops before the frame that would be too much.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from websockets.exceptions import PayloadTooBig
from websockets.extensions.base import Extension
from websockets.frames import CTRL_OPCODES, Frame

from ws_service.net.client_key import client_key

FRAME_COST = 128
"""Bytes that a fragment takes beside its payload: an object and its place in a list."""

MESSAGE_COST = 512
"""Bytes that a message takes beside its payload: an event of ASGI and its place in a queue."""

_LEAST = 65536
"""Bytes that are made free for a compressed frame, whose size is not known before."""

_BURST = 0.002
"""Seconds of inflating that a client may have at once."""

_SHARE = 5
"""One client takes a fifth of the loop at the most by what it has compressed, over all of its sockets and frames."""

_REMEMBERED = 16384
"""Clients without a socket whose inflating is not paid for yet: 3 MiB. Of more, those that left last."""


class ClientMemory:
    """The accounts of all clients that have sockets.

    limit: bytes that one client's sockets may hold together.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._accounts: dict[str, Account] = {}
        self._unpaid: OrderedDict[str, Account] = OrderedDict()

    def account(self, address: str) -> Account:
        """Return the account of a client. It is forgotten after its last socket, as soon as all is paid."""
        key = client_key(address)
        account = self._accounts.get(key)
        if account is None:
            self._forget_paid()
            account = self._unpaid.pop(key) if key in self._unpaid else Account(key, self)
            self._accounts[key] = account
        return account

    def leave(self, account: Account) -> None:
        """Forget an account that has no socket left."""
        del self._accounts[account.client]
        self._forget_paid()
        if account.free_at > time.monotonic():  # a new socket would be a way around it
            self._unpaid[account.client] = account
            if len(self._unpaid) > _REMEMBERED:
                self._unpaid.popitem(last=False)

    @property
    def unpaid(self) -> int:
        """Clients that have no socket and are remembered for what they have not paid."""
        self._forget_paid()
        return len(self._unpaid)

    def _forget_paid(self) -> None:
        now = time.monotonic()
        while self._unpaid and next(iter(self._unpaid.values())).free_at <= now:
            self._unpaid.popitem(last=False)

    def __len__(self) -> int:
        return len(self._accounts)


class Account:
    """What the sockets of one client hold.

    ``held`` is in bytes. ``client`` is what its address is counted as.
    ``free_at`` is when what its frames have cost is paid for, in seconds of ``time.monotonic``.
    """

    __slots__ = ("_owner", "client", "free_at", "held", "sockets")

    sockets: set[SocketMemory]

    def __init__(self, client: str, owner: ClientMemory) -> None:
        self.client = client
        self._owner = owner
        self.sockets = set()
        self.held = 0
        self.free_at = 0.0

    def spend(self, seconds: float) -> None:
        """Count what one of its frames has cost (GCRA: each second of inflating takes ``_SHARE`` seconds to pay)."""
        self.free_at = max(self.free_at, time.monotonic()) + _SHARE * seconds

    def delay(self) -> float:
        """Return the seconds for which none of its sockets is read: until all but a burst is paid."""
        if not self.free_at:  # it has sent nothing that is compressed
            return 0.0
        return max(0.0, self.free_at - time.monotonic() - _SHARE * _BURST)

    @property
    def limit(self) -> int:
        """Bytes that may be held."""
        return self._owner.limit

    @property
    def left(self) -> int:
        """Bytes that may be held in addition; below 0 it is too much already."""
        return self._owner.limit - self.held

    def evict_for(self, asking: SocketMemory, size: int) -> None:
        """Close the sockets that hold most, until one more may hold ``size`` bytes more, or is the largest itself.

        So a socket with little is not closed for another one of the same address that has much.
        """
        while self.left < size:
            largest = max(self.sockets, key=_held)
            if largest is asking or largest.held <= asking.held + size:
                return
            largest.evict()

    def leave(self, socket: SocketMemory) -> None:
        """Take a socket off, with what it held."""
        self.held -= socket.held
        self.sockets.discard(socket)
        if not self.sockets:
            self._owner.leave(self)


class SocketMemory:
    """What one socket holds: bytes that no frame has been made of, messages that are not finished, and not taken.

    on_unfinished: called when a message begins and is not finished with its first frame.
    on_evicted: called when the socket has to go, because it holds most of what is too much.

    ``is_too_much`` is set once a frame was refused.
    """

    __slots__ = (
        "_account",
        "_is_closed",
        "_on_evicted",
        "_on_unfinished",
        "_part",
        "_unread",
        "finished",
        "held",
        "is_too_much",
    )

    def __init__(self, account: Account, on_unfinished: Callable[[], None], on_evicted: Callable[[], None]) -> None:
        self._account = account
        self._on_unfinished = on_unfinished
        self._on_evicted = on_evicted
        self._is_closed = False
        self._part = 0  # what the message under way holds; 0 between messages
        self._unread: deque[int] = deque()
        self.held = 0
        self.finished = 0
        """Messages that have come to their end."""
        self.is_too_much = False
        account.sockets.add(self)

    @property
    def account(self) -> Account:
        """The account of its client."""
        return self._account

    @property
    def is_unfinished(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._part > 0

    def add(self, size: int) -> bool:
        """Count bytes; negative ones are no longer held. Returns whether the client may hold what it holds."""
        if self._is_closed:
            return True
        self.held += size
        self._account.held += size
        if size > 0 and self._account.left < 0:
            self._account.evict_for(self, 0)
        return self._account.left >= 0

    def make_free(self, size: int) -> int:
        """Return how many bytes more the client may hold; others of its sockets go for ``size`` of them if need be."""
        if self._account.left < size and not self._is_closed:
            self._account.evict_for(self, size)
        return self._account.left

    def frame(self, wire: int, payload: int, is_final: bool) -> None:
        """Note that a data frame was made of bytes that were counted.

        wire: bytes that it took. payload: bytes that it inflated to.
        """
        self._part += payload + FRAME_COST
        size = payload + FRAME_COST - wire
        if is_final:
            size += MESSAGE_COST
            self._unread.append(self._part + MESSAGE_COST)
            self._part = 0
            self.finished += 1
        elif self._part == payload + FRAME_COST:
            self._on_unfinished()
        self.add(size)

    def taken(self) -> None:
        """Note that the endpoint has taken the oldest message."""
        if self._unread:
            self.add(-self._unread.popleft())

    def evict(self) -> None:
        """Have the socket closed; what it holds counts no more."""
        self._on_evicted()
        self.close()

    def close(self) -> None:
        """Count nothing more. Safe to call twice."""
        if not self._is_closed:
            self._is_closed = True
            self._account.leave(self)
            self.held = 0


def _held(socket: SocketMemory) -> int:
    return socket.held


class CountedFrames(Extension):
    """Stands in the place of a connection's extensions, passes each frame through them, and counts what comes out.

    inner: the extensions that were negotiated, in their order.
    """

    def __init__(self, inner: list[Extension], memory: SocketMemory) -> None:
        self._inner = inner
        self._memory = memory
        self.name = inner[0].name if inner else "x-counted"  # type: ignore[assignment]

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Decode a frame. Raises PayloadTooBig when the client would hold more than it may; websockets says 1009."""
        size = len(frame.data)
        wire = size + (6 if size < 126 else 8 if size < 65536 else 14)
        memory = self._memory
        if frame.opcode in CTRL_OPCODES:
            memory.add(-wire)
            for extension in reversed(self._inner):
                frame = extension.decode(frame, max_size=max_size)
            return frame
        costs = FRAME_COST + MESSAGE_COST - wire
        left = memory.make_free(max(size, _LEAST if self._inner else 0) + costs) - costs
        allowed = left if max_size is None else min(left, max_size)
        if self._inner:
            began = time.monotonic()
            inflated = self._inflate(frame, allowed) if left > 0 else None
            memory.account.spend(time.monotonic() - began)
        else:
            inflated = frame if size <= allowed else None
        if inflated is None or len(inflated.data) > left:
            memory.is_too_much = left <= allowed
            raise PayloadTooBig(None, max(0, allowed))  # and the library closes with 1009
        memory.frame(wire, len(inflated.data), inflated.fin)
        return inflated

    def _inflate(self, frame: Frame, allowed: int) -> Frame | None:
        """Return what the extensions make of a frame; None when it is more than allowed.

        Their exception would hold what they had inflated for as long as the
        connection keeps it, so it ends here.
        """
        try:
            for extension in reversed(self._inner):
                frame = extension.decode(frame, max_size=allowed)
        except PayloadTooBig:
            return None
        return frame

    def encode(self, frame: Frame) -> Frame:
        """Encode a frame."""
        for extension in self._inner:
            frame = extension.encode(frame)
        return frame
