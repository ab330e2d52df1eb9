"""The proof: what the origins saw, against an independent reading of what each client sent, and against the log.

Each client has an address of its own (127.0.0.0/8 has enough). The gateway
tells the origin, and the log, and nothing that a client writes changes that.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from urllib.parse import unquote_to_bytes

from tests.fuzz.grammar import Play
from tests.wire.reading import Request, arrived, end_to_end, origin_form, read_all_public
from tests.wire.strict_origin import Seen

KEPT = 20_000
"""Plays that are remembered behind their end: what was on its way may still arrive."""


def address_of(number: int) -> str:
    """Return the address of a client."""
    number += 1 << 16
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


_HUB_EVENTS = b"/connection/uni_sse"


class Sent:
    """What one client sends, read independently, and what has become of it."""

    def __init__(self, number: int, play: Play) -> None:
        self.number = number
        self.address = address_of(number)
        self.play = play
        self.readings = read_all_public(play.data)
        self.next = 0
        self.ends: list[int] = []
        position = 0
        for reading in self.readings:
            position += reading.size
            self.ends.append(position)

    @property
    def good(self) -> int:
        """How many of the requests are whole and unambiguous."""
        last = self.readings[-1] if self.readings else None
        return len(self.readings) - (last is not None and bool(last.faults or not last.is_whole))


class Judge:
    """Is told of each play and of each request at an origin; ``failures`` must stay empty."""

    def __init__(self, *, hands_off: bool) -> None:
        self.hands_off = hands_off
        self.failures: list[str] = []
        self.requests = 0
        self.partial = 0
        self._plays: OrderedDict[bytes, Sent] = OrderedDict()
        self._decided: dict[str, tuple[str, str, str, str]] = {}

    def begin(self, number: int, play: Play) -> Sent:
        sent = Sent(number, play)
        self._plays[sent.address.encode()] = sent
        if len(self._plays) > KEPT:
            self._plays.popitem(last=False)
        return sent

    def fail(self, why: str, sent: Sent | None, more: object = "") -> None:
        what = "" if sent is None else f"\n  client {sent.number} sent {sent.play.pieces!r} ({sent.play.end})"
        self.failures.append(f"{why}{what}\n  {more}")

    # -- told by the origins

    def see(self, seen: Seen) -> None:
        """Judge one request at an origin."""
        request = seen.request
        if request.all(b"user-agent") == [b"dash-ws-proxy"] and not request.all(b"x-request-id"):
            return  # the gateway itself, which asks Dash for its page; what it forwards has an id
        self.requests += 1
        if request.target == b"/" and request.all(b"x-forwarded-for") == [b"127.0.0.1"]:
            return  # of nobody in the play: the first request, that warms up
        sent = self._sent_by(request)
        if request.faults:
            self.fail("an ambiguous request is at the origin", sent, request.raw)
            return
        if sent is None:
            self.fail("a request that nobody sent is at the origin", None, request.raw)
            return
        self.partial += not request.is_whole
        for index in range(sent.next, len(sent.readings)):
            reading = sent.readings[index]
            if (reading.method, origin_form(reading)) == (request.method, request.target):
                break
        else:
            self.fail("the origin reads a request where there is none in the stream", sent, request.raw)
            return
        sent.next = index + 1
        wrong = self._difference(seen, reading)
        if wrong:
            self.fail(f"the origin's request is another one: {wrong}", sent, request.raw)
        if self._takes_the_connection(seen):
            sent.next = len(sent.readings)
        (identity,) = request.all(b"x-request-id")
        if identity.decode() in self._decided:
            self.fail("one decision, and two requests at the origin", sent, identity)
        decided = (request.method.decode(), request.target.decode(), seen.upstream, sent.address)
        self._decided[identity.decode()] = decided

    def tunnel_ended(self, seen: Seen) -> None:
        """Check that what came behind a 101 is what the client sent behind its handshake, and nothing else."""
        sent = self._sent_by(seen.request)
        if sent is None:
            return
        for reading, end in zip(sent.readings, sent.ends, strict=True):
            is_it = reading.is_handshake and origin_form(reading) == seen.request.target
            if is_it and sent.play.data[end:].startswith(bytes(seen.tunnel)):
                return
        self.fail("a tunnel carries what was not sent into it", sent, bytes(seen.tunnel))

    def _sent_by(self, request: Request) -> Sent | None:
        return self._plays.get(b", ".join(request.all(b"x-forwarded-for")))

    def _takes_the_connection(self, seen: Seen) -> bool:
        request = seen.request
        return bool(request.all(b"upgrade")) and (
            not request.target.startswith(b"/refuse/") or (self.hands_off and seen.upstream == "ws")
        )

    def _difference(self, seen: Seen, reading: Request) -> str:
        request = seen.request
        if request.is_whole:
            if not reading.is_whole or reading.faults:
                return f"it has an end, and the client's has none ({reading.faults})"
            if request.body != reading.body:
                return "its body"
        elif not reading.body.startswith(request.body):
            return "the beginning of its body"
        expected = end_to_end(reading)
        if not any(name.lower() == b"host" for name, _ in expected):
            expected = [(b"Host", request.all(b"host")[0]), *expected]
        if sorted(arrived(request)) != sorted(expected):
            return f"its fields; expected {expected}"
        if bool(request.all(b"upgrade")) != reading.is_handshake:
            return "one is a handshake, and the other is not"
        path = unquote_to_bytes(request.target.partition(b"?")[0])
        is_own = path.endswith(b"/_dash-ws-callback") if reading.is_handshake else not path.endswith(_HUB_EVENTS)
        upstream = "dash" if is_own else "ws"
        return "" if seen.upstream == upstream else f"its upstream should be {upstream}"

    # -- at the end

    def compare_with_log(self, path: Path) -> int:
        """Check that each request at an origin is one line of the access log, which says the same; return the lines."""
        lines = 0
        told: set[str] = set()
        with path.open() as log:
            for line in log:
                entry = json.loads(line)
                lines += 1
                if entry["event"] not in ("request", "tunnel closed", "handed off"):
                    continue
                identity = entry["id"]
                if identity in told:
                    self.fail("an exchange ended twice", None, line)
                told.add(identity)
                seen = self._decided.pop(identity, None)
                if entry.get("outcome") in ("gateway bug", "upstream failed", "upstream timed out", "upstream cut"):
                    self.fail("an exchange ended as none may here", None, line)
                if seen is None:
                    continue
                target = entry["target"]
                if not target.startswith("/") and target != "*":
                    target = origin_form(Request(method=entry["method"].encode(), target=target.encode())).decode()
                if len(seen[0]) > 32:  # the log shortens it, and says how long it was
                    seen = (f"{seen[0][:32]}...({len(seen[0])} characters)", *seen[1:])
                if (entry["method"], target, entry.get("upstream"), entry["client"]) != seen:
                    self.fail(f"the log says something else than the origin saw: {seen}", None, line)
        for identity, seen in self._decided.items():
            self.fail("a request is at the origin and not in the log", None, (identity, seen))
        return lines
