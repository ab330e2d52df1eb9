"""Accepting connections: some in each turn of the event loop, and a pause when descriptors have run out.

Neither event loop does the second. uvloop accepts connections that it has no
descriptor for and closes them without a log line, and asyncio writes a
traceback for each.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

BACKLOG = 4096
"""Connections in the kernel's backlog; it caps this at somaxconn, which is 4096 nearly everywhere. Precedents:
nginx 511, uvicorn 2048."""

PAUSE = 0.5
"""Seconds between two tries while descriptors have run out. Precedent: asyncio 1 s."""

_NO_DESCRIPTORS = "no descriptors"


class AcceptLoop:
    """Accepts the connections of listening sockets, from now on.

    sockets: listening, not blocking. They stay the caller's to close.
    on_accept: called with each connection, not blocking, and the address of its peer.
    on_failure: called when accepting fails; it pauses then, for ``PAUSE``.
    batch: connections accepted in one turn of the event loop, before other callbacks run.
    may_accept: asked before each connection. When it returns False it has called ``pause``.

    ``pause`` and ``resume`` take a reason each; connections are accepted while there is none.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        on_accept: Callable[[socket.socket, object], None],
        on_failure: Callable[[OSError], None],
        *,
        batch: int,
        may_accept: Callable[[], bool] = lambda: True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._on_accept = on_accept
        self._on_failure = on_failure
        self._batch = batch
        self._may_accept = may_accept
        self._reasons = {"new"}
        self._timer: asyncio.TimerHandle | None = None
        self.resume("new")

    def pause(self, reason: str) -> None:
        """Accept nothing until ``resume`` is called with this reason; connections wait in the kernel's backlog."""
        if not self._reasons:
            for listener in self._sockets:
                self._loop.remove_reader(listener)
        self._reasons.add(reason)

    def resume(self, reason: str) -> None:
        """Remove a reason, if it was given; accept when it was the last one."""
        if self._reasons == {reason}:
            for listener in self._sockets:
                self._loop.add_reader(listener, self._accept, listener)
        self._reasons.discard(reason)

    def accept_backlog(self) -> None:
        """Accept the backlog, and nothing after it: closing the sockets would reset these connections."""
        for listener in self._sockets:
            for _ in range(BACKLOG // self._batch):
                if not self._accept(listener):
                    break
        self.pause("backlog accepted")

    def close(self) -> None:
        """Accept nothing any more. Safe to call twice."""
        self.pause("closed")
        if self._timer is not None:
            self._timer.cancel()

    # -- inside

    def _accept(self, listener: socket.socket) -> bool:
        """Accept a batch; return whether there may be more."""
        for _ in range(self._batch):
            if self._reasons or not self._may_accept():
                return False
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return False
            except ConnectionAbortedError:  # its client left while it was in the backlog
                continue
            except OSError as error:
                # Whatever the error (accept(2) has a long list), the listener stays readable: trying again at once
                # would spin.
                self.pause(_NO_DESCRIPTORS)
                self._timer = self._loop.call_later(PAUSE, self.resume, _NO_DESCRIPTORS)
                self._on_failure(error)
                return False
            sock.setblocking(False)
            self._on_accept(sock, address)
        return True
