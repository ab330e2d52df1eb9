"""One hostile client, in a process of its own: what it sends, how fast, and how often it is shown out.

``python -m tests.load.pour NAME PORT SECONDS RATE``: an input of ``tests.load.inputs`` for so long, at so many bytes a
second. ``python -m tests.load.pour NAME PORT AMOUNT``: so many bytes of it, as fast as they are taken.

Prints ``ready`` before the first byte that is hostile, and what it has seen (JSON) at its end.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from tests.load.inputs import INPUTS, Input

TIMEOUT = 10.0
"""Seconds for the answer to a handshake."""

BLOCK = 1 << 18
"""Bytes that are given to the kernel at a time."""

TICK = 0.002
"""Seconds between two looks at the clock."""

SLACK = 0.05
"""Seconds of the rate that may be sent at once, for a sender that was kept from sending."""


@dataclass
class Poured:
    """What became of it. taken: bytes that the kernels took, or that came for who pulls. comings: connections."""

    taken: int = 0
    seconds: float = 0.0
    comings: int = 0


class Left(Exception):
    """The connection is over."""


LAST_CHUNK = b"0\r\n\r\n"


class NotOpened(Exception):
    """A handshake was not answered as it should be."""


class Link:
    """One connection: everything that comes is read and dropped, so that nobody waits for this client."""

    def __init__(self, port: int, *, is_tls: bool) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._sock = context.wrap_socket(self._sock)
        self.received = 0
        self.tail = b""
        self.has_ended = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def begin(self, opening: bytes, *, is_awaited: bool, lead: bytes) -> None:
        """Send what comes first. Raises NotOpened and OSError."""
        self._sock.sendall(opening)
        head = b""
        while is_awaited and b"\r\n\r\n" not in head:
            data = self._sock.recv(4096)
            if not data:
                raise NotOpened("it was closed")
            head += data
        if is_awaited and not head.startswith(b"HTTP/1.1 101 "):
            raise NotOpened(f"it was answered with {head!r}")
        self._sock.sendall(lead)
        self._sock.setblocking(False)

    def send(self, data: memoryview) -> int:
        """Send some of it; return how much. Raises Left."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except OSError:
            raise Left from None

    def drop(self) -> None:
        """Read what there is."""
        while not self.has_ended:
            try:
                data = self._sock.recv(BLOCK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                data = b""
            self.received += len(data)
            self.tail = (self.tail + data)[-len(LAST_CHUNK) :]
            self.has_ended = not data

    def wait(self, seconds: float, *, for_memory: bool = False) -> None:
        """Wait until something comes, or there is room to send, or for so long."""
        readers = [] if self.has_ended else [self]
        select.select(readers, [self] if for_memory else [], [], seconds)
        self.drop()

    def close(self) -> None:
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


class Allowance:
    """How many bytes are due. rate: a second; None: any number. amount: of all; None: no end."""

    def __init__(self, rate: float | None, amount: int | None, seconds: float) -> None:
        self._rate = rate
        self._left = amount
        self.seconds = seconds
        self.began = self._seen = time.monotonic()
        self._end = self.began + seconds
        self._due = 0.0

    @property
    def is_over(self) -> bool:
        return self._left == 0 or time.monotonic() >= self._end

    def due(self) -> int:
        """Return how many bytes may be sent now."""
        if self._rate is not None:
            now = time.monotonic()
            self._due = min(self._due + (now - self._seen) * self._rate, self._rate * SLACK)
            self._seen = now
        due = BLOCK if self._rate is None else int(self._due)
        return due if self._left is None else min(due, self._left)

    def take(self, count: int) -> None:
        self._due -= count
        if self._left is not None:
            self._left -= count


def pour(given: Input, port: int, allowance: Allowance) -> tuple[Poured, list[Link]]:
    """Send it, over one connection at a time, until the allowance is over; return those that are open then."""
    poured = Poured()
    kept: list[Link] = []
    unit = given.unit * max(1, BLOCK // len(given.unit))
    if given.beside:
        kept.append(Link(port, is_tls=given.is_tls))
        kept[0].begin(given.beside, is_awaited=True, lead=b"")
    if given.burst is not None:
        allowance = Allowance(None, given.burst, allowance.seconds)
    while True:
        try:
            link = Link(port, is_tls=given.is_tls)
        except OSError:
            if allowance.is_over:
                break
            time.sleep(TICK)  # it is not let in; that may last
            continue
        if not poured.comings:
            print("ready", flush=True)
        poured.comings += 1
        with suppress(Left, OSError):
            link.begin(given.opening, is_awaited=given.is_awaited, lead=given.lead)
            _pour_one(given, link, memoryview(unit), allowance, poured)
        if allowance.is_over:
            kept.append(link)
            break
        link.close()
    poured.seconds = time.monotonic() - allowance.began
    return poured, kept


def _pour_one(given: Input, link: Link, unit: memoryview, allowance: Allowance, poured: Poured) -> None:
    at = 0
    while not allowance.is_over:
        due = allowance.due()
        if not due:
            link.wait(TICK)
            continue
        piece = due if given.piece is None else min(due, given.piece)
        count = link.send(unit[at : at + piece])
        at = (at + count) % len(unit)
        poured.taken += count
        allowance.take(count)
        if not count:
            link.wait(TICK, for_memory=True)
        elif given.piece is None or not at:
            link.drop()
        if link.has_ended and given.leaves:
            raise Left


def pull(given: Input, port: int, request: bytes, *, seconds: float, amount: int | None) -> tuple[Poured, list[Link]]:
    """Have it sent by the upstream, over ``given.pulls`` connections at a time; return those too."""
    poured = Poured(comings=given.pulls)
    links = [Link(port, is_tls=given.is_tls) for _ in range(given.pulls)]
    for link in links:
        link.begin(b"", is_awaited=False, lead=b"")
    print("ready", flush=True)
    began = time.monotonic()

    def is_over() -> bool:
        poured.taken = sum(link.received for link in links)
        return (
            time.monotonic() - began >= seconds
            or (amount is not None and (links[0].tail == LAST_CHUNK if given.every is None else poured.taken >= amount))
            or any(link.has_ended for link in links)
        )

    while not is_over():
        asked, before = time.monotonic(), {link: link.received for link in links}
        for link in links:
            link.send(memoryview(request))
        while not is_over():
            ready, _, _ = select.select(links, [], [], 0.02)
            for link in ready:
                link.drop()
            is_answered = not ready and all(link.received > before[link] for link in links)
            is_due = amount is not None or given.every is None or time.monotonic() - asked >= given.every
            if given.every is not None and is_answered and is_due:
                break
    if amount is not None and given.every is None:
        poured.taken = amount  # in chunks of the upstream's; the gateway may have made larger ones of them
    poured.seconds = time.monotonic() - began
    return poured, links


def stay(links: list[Link]) -> None:
    """Stay, and read, until whoever started this process has seen enough: to leave would be a relief for the server."""
    while not select.select([sys.stdin], [], [], 0)[0]:
        here = [link for link in links if not link.has_ended]
        for link in select.select([sys.stdin, *here], [], [])[0]:
            if isinstance(link, Link):
                link.drop()


def main(name: str, port: str, first: str, rate: str = "") -> None:
    """Pour one input."""
    given = INPUTS[name]
    seconds, amount = (float(first), None) if rate else (10 * TIMEOUT, int(first))
    if given.pulls:
        request = given.unit.replace(b"{amount}", b"%d" % (amount or 1 << 40)).replace(
            b"{rate}", b"%d" % float(rate or 0)
        )
        poured, links = pull(given, int(port), request, seconds=seconds, amount=amount)
    else:
        allowance = Allowance(float(rate) if rate else None, amount, seconds)
        poured, links = pour(given, int(port), allowance)
    print(json.dumps(asdict(poured)), flush=True)
    stay(links)


if __name__ == "__main__":
    main(*sys.argv[1:])
