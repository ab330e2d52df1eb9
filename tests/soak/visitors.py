"""Who comes to the gateway during the soak: sockets, requests, streams; and what each of them has seen."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from tests.load.clients import Asker, Ended, Refused, Socket, address_of, connect
from tests.load.origin import page
from tests.load.stage import HANDED, TUNNEL, Stage
from tests.soak.ledger import Ledger
from tests.wire.messages import Message, request

TIMEOUT = 40.0
"""Seconds for any answer: more than the gateway's own timeout with an upstream."""

GONE = (OSError, EOFError, Ended, TimeoutError)

STAYS_AWAY = (1000, 4001)
"""Close codes after which Dash's own client does not come back: no fault of a server may say them."""

SHOWN = 20
"""Breaches that are told; the others are only counted."""


class Seen:
    """What all visitors have seen in one round."""

    def __init__(self) -> None:
        self.messages = 0
        self.handshakes: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.gets: Counter[str] = Counter()
        self.posts: Counter[str] = Counter()
        self.streams: Counter[str] = Counter()
        self.breaches: Counter[str] = Counter()
        self.examples: list[str] = []
        self.acknowledged: set[str] = set()
        self.kills: Counter[str] = Counter()
        self.away: set[str] = set()
        self.reloads: Counter[str] = Counter()

    def lives(self, server: str) -> int:
        """Return how many lives of a server are certainly over: while it is killed and until it is back, not the last.

        Whoever begins now has been hit by a kill if ``kills`` is more than this at its end.
        """
        return self.kills[server] - (server in self.away)

    def breach(self, kind: str, example: object) -> None:
        """Note something that may never happen."""
        self.breaches[kind] += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{kind}: {example}")


class Visitors:
    """Everybody who visits in one round. ``is_over`` makes them leave."""

    def __init__(self, stage: Stage, seen: Seen, name: str) -> None:
        self._stage = stage
        self.seen = seen
        self._name = name
        self.is_over = asyncio.Event()

    def all(self, sockets: int) -> list[Coroutine[Any, Any, None]]:
        """Return what is to be run: so many sockets, and requests in proportion."""
        some = max(2, sockets // 100)
        return [
            *(self._sockets(number) for number in range(sockets)),
            *(self._gets(number) for number in range(some)),
            *(self._posts(number) for number in range(max(2, some // 2))),
            *(self._streams(number) for number in range(some)),
        ]

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the round."""
        try:
            async with asyncio.timeout(seconds):
                await self.is_over.wait()
        except TimeoutError:
            pass

    # -- sockets

    async def _sockets(self, number: int) -> None:
        """Open one socket after the other, talk, and end each in another way; odd ones go through the tunnel."""
        chance = random.Random(f"{self._name} {number}")
        way, target, server = ("tunnel", TUNNEL, "origin") if number % 2 else ("handed over", HANDED, "service")
        await self.pause(number / 200)  # not all in the same moment
        visit = 0
        while not self.is_over.is_set():
            visit += 1
            kills = self.seen.lives(server)
            try:
                async with asyncio.timeout(TIMEOUT):
                    socket = await Socket.open(self._stage.port, target, source=address_of(number))
            except (Refused, *GONE) as error:
                went_down = way == "handed over" and isinstance(error, Ended) and self.seen.kills[server] != kills
                # What a service has in its hands when it is killed, nobody can answer in its place.
                ends = self.seen.ends if went_down else self.seen.handshakes
                ends[f"{way}: {kind_of(error)}"] += 1
                await self.pause(chance.uniform(0.5, 2))
                continue
            self.seen.handshakes["answered"] += 1
            talk = _Talk(socket, self, server, kills, chance, f"{self._name} {way} {number}.{visit}")
            try:
                await talk.go_on()
                self.seen.ends[await talk.end()] += 1
            except Ended as end:
                self.seen.ends[f"{way}: {end.code} from the other side"] += 1
                if end.code in STAYS_AWAY:
                    self.seen.breach("a socket got a code that nobody comes back after", f"{talk.name}, {end.code}")
                elif not talk.has_been_killed:
                    self.seen.breach("a socket was closed although its server lived", f"{talk.name}, {end.code}")
            except TimeoutError:
                self.seen.breach("a socket got stuck", f"{talk.name}: {talk.ledger.owed} messages owed")
            finally:
                socket.reset()

    # -- requests

    async def _gets(self, number: int) -> None:
        """Ask for pages, half of them over a connection that is kept."""
        kept = Asker(self._stage.port, source=address_of(number))
        count = 0
        while not self.is_over.is_set():
            count += 1
            asker = kept if count % 2 else Asker(self._stage.port, source=address_of(number))
            what = f"{number}-{count}"
            try:
                async with asyncio.timeout(TIMEOUT):
                    answer = await asker.ask(f"GET /page/{what}")
                self.seen.gets[_answered(answer)] += 1
                if answer.status == 200 and answer.body != page(what).encode():
                    self.seen.breach("a GET got another one's answer", f"{what}: {answer.body[:60]!r}")
            except GONE as error:
                self.seen.gets[kind_of(error)] += 1
            if asker is not kept:
                asker.leave()
            await self.pause(0.1)
        kept.leave()

    async def _posts(self, number: int) -> None:
        """Order things, each once, whatever the answer."""
        asker = Asker(self._stage.port, source=address_of(number))
        count = 0
        while not self.is_over.is_set():
            count += 1
            token = f"{self._name}-{number}-{count}"
            try:
                async with asyncio.timeout(TIMEOUT):
                    answer = await asker.ask(f"POST /order/{token}", body=b"x" * (count % 3000 + 1))
                self.seen.posts[_answered(answer)] += 1
                if answer.status == 200:
                    self.seen.acknowledged.add(token)
            except GONE as error:
                self.seen.posts[kind_of(error)] += 1
            await self.pause(0.2)
        asker.leave()

    async def _streams(self, number: int) -> None:
        """Listen to events, and check that none is missing."""
        count = 60
        while not self.is_over.is_set():
            kills = self.seen.lives("origin")
            try:
                async with asyncio.timeout(TIMEOUT):
                    reader, writer = await connect(self._stage.port, source=address_of(number))
                    try:
                        writer.write(request(f"GET /events/{count}/100"))
                        status = Message(await reader.readuntil(b"\r\n\r\n")).status
                        if status == 200:
                            await self._events(reader, count)
                        self.seen.streams[f"answered with {status}"] += 1
                    finally:
                        writer.transport.abort()
            except GONE as error:
                self.seen.streams[kind_of(error)] += 1
                if self.seen.kills["origin"] == kills:
                    self.seen.breach("a stream was cut although its server lived", kind_of(error))
            await self.pause(0.5)

    async def _events(self, reader: asyncio.StreamReader, count: int) -> None:
        due = b"".join(b"data: %d\n\n" % number for number in range(count))
        while size := int(await reader.readuntil(b"\r\n"), 16):  # where a chunk ends is the sender's business
            piece = (await reader.readexactly(size + 2))[:-2]
            if not due.startswith(piece):
                self.seen.breach("an event", f"{piece!r} came in place of {due[:20]!r}")
                return
            due = due[size:]
        if due:
            self.seen.breach("an event", f"the stream ended, and {due[:20]!r} was due")


class _Talk:
    """One socket's life, from its 101 on.

    server: ``origin`` or ``service``. kills: of that server, before the handshake.
    """

    def __init__(
        self, socket: Socket, visitors: Visitors, server: str, kills: int, chance: random.Random, name: str
    ) -> None:
        self._socket = socket
        self._seen = visitors.seen
        self._pause = visitors.pause
        self._server = server
        self._kills = kills
        self._chance = chance
        self.name = name
        self.ledger = Ledger(name)

    @property
    def has_been_killed(self) -> bool:
        """Whether its server has died since the handshake."""
        return self._seen.kills[self._server] != self._kills

    async def go_on(self) -> None:
        """Talk for a while. Raises Ended, and TimeoutError when nothing comes back."""
        for _ in range(self._chance.randint(1, 12)):
            await self._say(self._chance.randint(1, 4))
            while self.ledger.owed:
                await self._hear()
            await self._pause(self._chance.uniform(0, 5))
            if (got := await self._socket.look()) is not None:
                self._check(got)

    async def end(self) -> str:
        """End it one way or another; return how. Raises as ``go_on``."""
        how = self._chance.choice(ENDINGS)
        await getattr(self, f"_{how}")()
        return how.replace("_", " ")

    async def _politely(self) -> None:
        if self._server == "origin":  # it answers in order; a service may drop what it has read when a close comes
            await self._say(3)
        self._socket.begin_to_close()
        code = await self._rest()
        if code != 1000:
            raise Ended(code)
        if self.ledger.owed:
            self._seen.breach("messages are lost", f"{self.name}: {self.ledger.owed} before an answered goodbye")

    async def _with_half_a_close(self) -> None:
        await self._say(3)
        self._socket.end()
        await self._rest()
        if self.ledger.owed and self._server == "origin" and not self.has_been_killed:
            self._seen.breach("messages are lost", f"{self.name}: {self.ledger.owed} before half a close")

    async def _with_a_reset(self) -> None:
        await self._say(3)
        self._socket.reset()

    async def _within_a_frame(self) -> None:
        self._socket.begin_a_frame()
        self._socket.reset()

    async def _without_a_word(self) -> None:
        self._socket.close()

    async def _silently_within_a_frame(self) -> None:
        self._socket.begin_a_frame()
        await self._pause(20)

    async def _without_reading(self) -> None:
        await self._say(16)
        await self._pause(2)

    async def _say(self, count: int) -> None:
        for _ in range(count):
            async with asyncio.timeout(TIMEOUT):
                await self._socket.say(self.ledger.say(), pieces=self._chance.choice((1, 1, 3)))

    async def _hear(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            got = await self._socket.hear()
        self._check(got)

    def _check(self, got: bytes) -> None:
        self._seen.messages += 1
        if wrong := self.ledger.hear(got):
            self._seen.breach("a message", f"{self.name}: {wrong}")

    async def _rest(self) -> int:
        """Hear everything that still comes; return the close code."""
        try:
            while True:
                await self._hear()
        except Ended as end:
            return end.code


ENDINGS = (
    "politely",
    "with_half_a_close",
    "with_a_reset",
    "within_a_frame",
    "without_a_word",
    "silently_within_a_frame",
    "without_reading",
)


def kind_of(error: BaseException) -> str:
    """Return the word under which an error is counted."""
    if isinstance(error, Refused):
        return f"answered with {error.status}"
    return f"ended with {error.code}" if isinstance(error, Ended) else type(error).__name__


def _answered(answer: Message) -> str:
    return "answered" if answer.status == 200 else f"answered with {answer.status}"
