"""Plays each way once undisturbed, then again for each of its awaits and each thing that may happen there.

What has to be true behind each run is one sentence: everything counted is back to what it was.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import uvloop

from proxy.config import Settings
from proxy.server.server import Server
from tests.leases import ledger
from tests.leases.peers import Ended, Origin, Peer, Script, connect, connect_unix
from tests.leases.stage import Await, Run, Stage, Watched, watched_method
from tests.processes import free_port

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}

_PLAY = 10.0
"""Seconds for an undisturbed run: a limit, and no pause."""

_GRACE = 0.3
"""Seconds for a disturbed run to come to its own end; then the client leaves."""

_QUIET = 0.015
"""Seconds in which nothing happens before it leaves already."""

_QUIET_WITH_TIMEOUTS = 0.05
"""The same where the way has timeouts of its own; longer than they are."""

_TRIES = 3
"""How often a run is made again that did not come to the await that is meant: the kernel may join two packets."""

NORMAL = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"


class Play:
    """What a way's script has in its hands."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.clients: list[Peer] = []

    @property
    def stage(self) -> Stage:
        return self.rig.stage

    @property
    def server(self) -> Server:
        return self.rig.server

    @property
    def in_flight(self) -> int:
        """How many exchanges the gateway has."""
        return ledger.in_flight(self.server)

    async def connect(self, **options: Any) -> Peer:
        """Return a new connection to the gateway. options: of ``peers.connect``; TLS is spoken where the way has it."""
        try:
            peer = await connect(self.stage, self.rig.port, **self.rig.tls_options | options)
        except OSError as error:
            raise Ended(f"no connection: {error}") from error
        self.clients.append(peer)
        return peer

    async def connect_to_admin(self) -> Peer:
        """Return a new connection to the admin listener."""
        path = self.rig.values["admin"].removeprefix("unix:")
        try:
            peer = await connect_unix(self.stage, path)
        except OSError as error:
            raise Ended(f"no connection: {error}") from error
        self.clients.append(peer)
        return peer

    def expect(self, is_so: bool, what: object) -> None:
        """Fail when the way itself does not work; what a disturbed run ends in is another matter."""
        if not self.stage.run.disturbed:
            assert is_so, what

    async def quiet(self, turns: int = 20) -> None:
        """Wait until nothing has happened for so many turns of the loop."""
        seen, left = -1, turns
        while left:
            await asyncio.sleep(0)
            left = left - 1 if seen == self.stage.activity else turns
            seen = self.stage.activity

    async def when(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so that nobody tells."""
        while not is_so():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)


ClientScript = Callable[[Play], Any]


@dataclass(frozen=True)
class Way:
    """One way through gateway or service.

    kinds: of those that must be covered. script: the client's part. values: settings that differ. origin: the
    upstream's part; None: ``answers`` of ``ways``. actions: what may happen at its awaits; None: everything. also: what
    may happen beside that. is_fresh: each run gets a gateway of its own. companion: makes who else there is, such as a
    service. tls: on the public listener; tls_upstream: to the upstreams. allowed: errors in the log that belong to the
    way, as a part of the message.
    """

    name: str
    kinds: frozenset[str]
    script: ClientScript
    values: dict[str, Any] = field(default_factory=dict)
    origin: Script | None = None
    actions: tuple[str, ...] | None = None
    also: tuple[str, ...] = ()
    is_fresh: bool = False
    companion: Callable[[Rig], Any] | None = None
    tls: bool = False
    tls_upstream: bool = False
    allowed: tuple[str, ...] = ()


@dataclass
class Report:
    """What was done with a way."""

    way: str
    awaits: int = 0
    runs: int = 0
    not_reached: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        missed = f", {len(self.not_reached)} not reached" if self.not_reached else ""
        return (
            f"{self.way}: {self.awaits} awaits x {len(self.actions)} actions, {self.runs} runs{missed}, "
            f"{len(self.left_over)} left over"
        )


class _Faults(logging.Handler):
    """What nobody was to hear: errors in the log, of the loop, and of what is collected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({record.exc_info[1]!r})"
        self.heard.append(f"logged: {text}")

    def of_the_loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.heard.append(f"the loop: {context.get('message')} ({context.get('exception')!r})")

    def unraisable(self, unraisable: Any) -> None:
        self.heard.append(f"unraisable: {unraisable.exc_value!r} in {unraisable.object!r}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        loggers = [logging.getLogger(name) for name in ("proxy", "ws_service", "aiohttp", "asyncio", "uvicorn")]
        hook = sys.unraisablehook
        sys.unraisablehook = self.unraisable
        for logger in loggers:
            logger.addHandler(self)
            logger.propagate = False  # pytest keeps each record, and with its traceback everything that was under way
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)
                logger.propagate = True
            sys.unraisablehook = hook

    def take(self, allowed: tuple[str, ...] = ()) -> list[str]:
        taken, self.heard = self.heard, []
        return [each for each in taken if not any(part in each for part in allowed)]


class Rig:
    """A gateway between a client and an upstream, all in one loop."""

    def __init__(self, way: Way, folder: Path, stage: Stage, faults: _Faults, timeout: float) -> None:
        self.way, self.folder, self.stage, self.faults, self.timeout = way, folder, stage, faults, timeout
        self.stopping: asyncio.Task[None] | None = None
        self.companion: Any = None
        self.former: set[Any] = set()
        self._owned: set[asyncio.Task[None]] = set()
        self.tls_options: dict[str, Any] = {}
        self.is_reloaded = False
        self.is_spent = False
        self.values: dict[str, Any] = {}

    async def open(self) -> None:
        """Start the upstreams and the gateway."""
        from tests.leases.ways import answers

        self._tasks = set(asyncio.all_tasks())
        context = None
        if self.way.tls or self.way.tls_upstream:
            from tests.certificates import Authority

            self.authority = Authority(self.folder)
        if self.way.tls_upstream:
            import ssl

            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            files = self.authority.issue(file="origin")
            context.load_cert_chain(files["certificate"], files["key"])
        script = self.way.origin or answers
        self.dash = Origin(self.stage, "upstream", script, context)
        self.ws = Origin(self.stage, "upstream", script, context)
        self.other = Origin(self.stage, "upstream", script, context)
        for origin in self.origins:
            await origin.listen()
        if self.way.companion is not None:
            self.companion = self.way.companion(self)
            await self.companion.open()
        self.values = {
            "listen": f"127.0.0.1:{free_port()}",
            "admin": f"unix:{self.folder}/admin-{os.urandom(4).hex()}.sock",
            "upstreams": {"dash": self.dash.url, "ws": self.ws.url},
            "handoff": "off",
            "access_log": "off",
            "limits": {"handshakes_per_second": None},
            **self.way.values,
        }
        self.values["health"] = {"interval": 0, **self.values.get("health", {})}
        self.values["timeouts"] = {
            "drain": "50ms",
            "drain_window": 0,
            "hold": "500ms",
            "upstream_idle": "60s",
            "queue": "5s",
            **self.way.values.get("timeouts", {}),
        }
        if self.way.tls:
            self.tls_options = {"ssl": self.authority.client()}
            self.values["tls"] = self.authority.issue()
        if self.way.tls_upstream:
            self.values["upstream_ca"] = str(self.authority.file)
        if self.companion is not None:
            self.values |= self.companion.values
        self.server = Server(
            Settings.model_validate(self.values), lambda _: None, self.folder, find_key=lambda: "the key of the API"
        )
        await self.server.start()
        self.port = ledger.port_of(self.server)

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self.dash, self.ws, self.other

    @property
    def is_stopped(self) -> bool:
        return self.stopping is not None

    def stop(self) -> asyncio.Task[None]:
        """Begin to stop the gateway."""
        if self.stopping is None:
            self.stopping = asyncio.get_running_loop().create_task(self.server.stop(), name="stop of the gateway")
        return self.stopping

    def own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something in a task, which ``close`` waits for."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._owned.add(task)

    def reload(self) -> None:
        """Serve by other settings: another upstream, other timeouts."""
        self.is_reloaded = True
        self.former |= set(ledger.upstreams_of(self.server))
        values = {**self.values, "upstreams": {"dash": self.other.url, "ws": self.other.url}, "buffer": "8KiB"}
        values["timeouts"] = {**self.values["timeouts"], "send": "50s", "head": "14s", "tunnel_idle": "50m"}
        self.server.reload(Settings.model_validate(values))

    def reload_back(self) -> None:
        """Serve by the settings of before."""
        self.is_reloaded = False
        self.former |= set(ledger.upstreams_of(self.server))
        self.server.reload(Settings.model_validate(self.values))

    async def ready(self) -> None:
        """Have everything as each run expects it."""
        for origin in self.origins:
            origin.is_open = False
            if not origin.is_listening:
                await origin.listen()
        if self.companion is not None:
            await self.companion.ready()

    async def normal(self, tries: int = 20) -> str:
        """Return what is wrong with one normal exchange on this gateway; nothing where it works.

        tries: an upstream that has just come back may have to be asked for more than once, and where connecting may
        take 30 ms only, a machine that is busy takes longer now and then.
        """
        try:
            async with asyncio.timeout(_PLAY):
                peer = await connect(self.stage, self.port, **self.tls_options)
                try:
                    if self.way.values.get("proxy_protocol"):
                        peer.send(b"PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\n")
                    peer.send(NORMAL)
                    answer = await peer.message()
                finally:
                    peer.end()
                    await peer.gone()
        except (Ended, OSError) as error:
            return f"a normal exchange fails: {error!r}"
        if answer.startswith((b"HTTP/1.1 503", b"HTTP/1.1 504")) and tries:
            return await self.normal(tries - 1)
        return "" if answer.startswith(b"HTTP/1.1 200") else f"a normal exchange is answered {answer[:60]!r}"

    def count(self) -> list[str]:
        """Return what is left over right now."""
        if not self.is_stopped:
            ledger.lose_upstreams(self.server)
        left = ledger.left_in_gateway(self.server, self.former)
        if self.companion is not None:
            left += self.companion.left()
        if count := sum(len(origin.peers) for origin in self.origins):
            left.append(f"connections of the upstream: {count}")
        strangers = {
            task
            for task in asyncio.all_tasks() - self._tasks
            if task is not asyncio.current_task() and self._is_stray(task)
        }
        left += [f"a task: {task.get_name()}" for task in strangers]
        return left

    def _is_stray(self, task: asyncio.Task[Any]) -> bool:
        name = task.get_name()
        if name.startswith("play of"):
            return False
        return self.is_stopped or not name.startswith(("health check of the upstream", "reader of Dash's page"))

    async def settled(self, base: int | None) -> list[str]:
        """Wait until nothing is left over, and return what is. base: descriptors that were open before."""
        try:
            async with asyncio.timeout(self.timeout):
                while True:
                    left = self.count()
                    if not left and base is not None and (now := len(ledger.descriptors())) != base:
                        left = [f"descriptors: {now - base:+d}"]
                    if not left:
                        return []
                    await asyncio.sleep(0.001)  # what is waited for are turns of the loop, and the kernel's
        except TimeoutError:
            if left and left[0].startswith("descriptors"):
                left += [f"  {number}: {what}" for number, what in ledger.descriptors().items() if "socket" in what]
            return left

    async def close(self) -> None:
        """Stop everything."""
        await asyncio.wait({self.stop()})
        assert self.stopping is not None
        if not self.stopping.cancelled() and (error := self.stopping.exception()) is not None:
            self.faults.heard.append(f"the stop of the gateway raised {error!r}")
        if self._owned:
            await asyncio.wait(self._owned)
            for task in self._owned:
                if not task.cancelled() and (error := task.exception()) is not None:
                    self.faults.heard.append(f"the {task.get_name()} raised {error!r}")
        if self.companion is not None:
            try:
                await self.companion.close()
            except Exception as error:
                self.faults.heard.append(f"the stop of the service raised {error!r}")
        for origin in self.origins:
            origin.go_away()
            await origin.ended()
            for fault in origin.faults:
                self.faults.heard.append(f"the upstream's script raised {fault!r}")


# -- what may happen


def _cancel(rig: Rig, coro: Watched | None, future: Any) -> None:
    assert coro is not None
    if coro.has_begun:
        asyncio.get_running_loop().call_soon(coro.cancel)
    else:
        coro.cancel()


def _cancel_late(rig: Rig, coro: Watched | None, future: Any) -> None:
    assert coro is not None
    if hasattr(future, "add_done_callback"):
        future.add_done_callback(lambda _: coro.cancel())
    else:
        asyncio.get_running_loop().call_soon(coro.cancel)


def _client_resets(play: Play) -> None:
    for client in play.clients:
        client.reset()


def _client_ends(play: Play) -> None:
    for client in play.clients:
        client.end()


CANCELS = ("cancel", "cancel late")
"""What happens to a task; the others happen to a peer or to the gateway, and at a peer's own steps too. Behind each
cancel that leaves the task something to wait for there is ``cancel again``."""

ACTIONS = (
    *CANCELS,
    "client resets",
    "client ends",
    "client is lost",
    "upstream resets",
    "upstream ends",
    "reload",
    "drain",
    "second signal",
)

ENDS_THE_GATEWAY = frozenset(("drain", "second signal"))
SPENDS_THE_RIG = ENDS_THE_GATEWAY | {"service stops"}

RARELY = frozenset(("client resets", "client ends", "upstream ends", "reload", "channel ends")) | SPENDS_THE_RIG
"""What happens at some of the awaits, unless ``LEASES=all`` is in the environment: each is either much the same as one
that happens at all of them, or needs a gateway of its own."""

_ONE_IN = 6
"""At how many of them."""

NOT_CANCELLED: dict[str, tuple[bool, str]] = {
    "RequestHandler.start": (False, "only the end of its connection cancels it, and closes that too"),
    "OutgoingBody.start.<locals>.run": (False, "its one owner, the exchange, has given the connection up by then"),
    "Server.stop": (False, "a second signal takes another turn of the loop"),
    "Server._end": (True, "the stop waits for its end, whatever comes"),
    "ClientConnection.shutdown": (True, "it belongs to the end of the gateway"),
    "Handoff._connect": (True, "a service that stops waits for its adoptions"),
}
"""Tasks that nobody cancels: whether nowhere (or only not before their first step), and why."""


def act(name: str, rig: Rig, play: Play, coro: Watched | None, future: Any) -> None:
    """Do what is named."""
    loop = asyncio.get_running_loop()
    if name in ("cancel", "cancel again"):
        _cancel(rig, coro, future)
    elif name == "cancel late":
        _cancel_late(rig, coro, future)
    elif name == "client resets":
        _client_resets(play)
    elif name == "client ends":
        _client_ends(play)
    elif name == "client is lost":
        loop.call_soon(ledger.lose_clients, rig.server)
    elif name == "upstream resets":
        for origin in rig.origins:
            origin.reset()
    elif name == "upstream ends":
        for origin in rig.origins:
            origin.end()
    elif name == "reload":
        loop.call_soon(rig.reload)
    elif name == "drain":
        rig.stop()
    elif name == "second signal":
        stop = rig.stop()
        loop.call_soon(lambda: loop.call_soon(stop.cancel))
    elif name == "channel ends":
        ledger.end_channels(rig.server)
    elif name == "service stops":
        rig.is_spent = True
        rig.companion.stop()
    else:
        raise KeyError(name)


_EAGER = frozenset(("RequestHandler.start",)) if sys.version_info >= (3, 12) else frozenset[str]()
"""Tasks whose first step aiohttp makes as it makes them, where Python can: what is before it elsewhere is their first
await there, for a request of which nothing has come."""


def _is_nobodys(key: Await) -> bool:
    if key.kind not in NOT_CANCELLED:
        return False
    is_nowhere, _ = NOT_CANCELLED[key.kind]
    return is_nowhere or key.number == (1 if key.kind in _EAGER else 0)


class Harness:
    """Runs one way on one loop."""

    def __init__(self, way: Way, folder: Path, timeout: float) -> None:
        self._way = way
        self._timeout = timeout
        self._is_thorough = os.environ.get("LEASES") == "all"
        self._folder = folder
        self._stage = Stage()
        self._faults = _Faults()
        self._rig: Rig | None = None
        self._objects: Counter[str] | None = None
        self._base = 0
        self._idle_descriptors: int | None = None  # descriptors without a gateway; known after the first
        self.report = Report(way.name)

    async def run(self) -> Report:
        """Run it undisturbed, then disturbed at each await in turn."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._stage.factory)
        loop.set_exception_handler(self._faults.of_the_loop)
        methods = [(kind, name, kind.__dict__.get(name)) for kind, name in ledger.watched_methods()]
        for kind, name, _ in methods:
            setattr(kind, name, watched_method(self._stage, getattr(kind, name)))
        try:
            with self._faults.listening():
                await self._run()
        finally:
            for kind, name, own in methods:
                if own is None:
                    delattr(kind, name)
                else:
                    setattr(kind, name, own)
            loop.set_task_factory(None)
        return self.report

    async def _run(self) -> None:
        report = self.report
        known: dict[Await, str] = {}
        cancellable: set[Await] = set()
        for _ in range(2):  # what the first makes for good is not counted
            run = await self._once(None, "")
            if report.left_over:
                await self._close()
                return
            known, cancellable = run.awaits, run.cancellable
        await self._close()
        report.awaits = len(known)
        actions = (*(self._way.actions or ACTIONS), *self._way.also)
        # Those that end the gateway come last: the others share one, whose objects are counted at the end.
        for action in sorted(actions, key=lambda action: action in SPENDS_THE_RIG):
            if action in SPENDS_THE_RIG:
                await self._close()
            for number, key in enumerate(sorted(known)):
                if action in RARELY and not self._is_thorough and (number + len(action)) % _ONE_IN:
                    continue
                if action in CANCELS and (key not in cancellable or _is_nobodys(key)):
                    continue
                if key.number == 0 and action not in ("cancel", *ENDS_THE_GATEWAY):
                    continue
                run = await self._try(key, known[key], action)
                if run.suspended_again and action == "cancel":
                    await self._try(key, known[key], "cancel again")
        await self._close()
        gc.collect()
        self._note("at the end", self._faults.take(self._way.allowed))

    async def _try(self, key: Await, where: str, action: str) -> Run:
        for _ in range(_TRIES):
            run = await self._once(key, action, where)
            if run.disturbed:
                self.report.runs += 1
                self.report.actions[action] += 1
                return run
        self.report.not_reached.append(f"{key}: {action}, at {where}")
        return run

    async def _once(self, target: Await | None, action: str, where: str = "") -> Run:
        """Play once; note what is left over."""
        stage, way = self._stage, self._way
        if self._rig is None:
            self._rig = Rig(way, self._folder, stage, self._faults, self._timeout)
            await self._rig.open()
            await self._rig.normal()
            await self._rig.settled(None)
            self._base = len(ledger.descriptors())
            # Not with TLS: the loop holds a protocol until the timers of its handshake and of its end have run out.
            is_shared = not (way.is_fresh or way.tls or way.tls_upstream or action in SPENDS_THE_RIG)
            self._objects = ledger.objects() if target is not None and is_shared else None
        rig = self._rig
        await rig.ready()
        play = Play(rig)
        label = f"{way.name}, {target}, {action}, at {where}" if target else f"{way.name}, undisturbed"
        loop = asyncio.get_running_loop()
        with stage.playing(
            target,
            lambda _, coro, future: act(action, rig, play, coro, future),
            cancels_again=action == "cancel again",
        ) as run:
            script = loop.create_task(way.script(play), name="play of the client")
            disturbed = loop.create_task(stage.disturbed.wait(), name="play of the disturbance")
            await asyncio.wait({script, disturbed}, timeout=_PLAY, return_when=asyncio.FIRST_COMPLETED)
            if run.disturbed:
                await self._run_on(script)
            disturbed.cancel()
            stage.is_on = False
            unfinished = not script.done()
            for client in play.clients:
                client.reset() if run.disturbed else client.end()
            script.cancel()
            await asyncio.wait({script, disturbed})
            for client in play.clients:
                await client.gone()
        wrong = []
        if not run.disturbed and not script.cancelled() and (error := script.exception()) is not None:
            wrong.append(f"the way itself does not work: {error!r}")
        elif unfinished and not run.disturbed:
            wrong.append("the way itself does not come to its end")
        elif not script.cancelled() and (error := script.exception()) is not None and not isinstance(error, Ended):
            wrong.append(f"the script raised {error!r}")
        for origin in rig.origins:
            wrong += [f"the upstream's script raised {fault!r}" for fault in origin.faults]
            origin.faults.clear()
        if rig.is_stopped:
            await self._close(label)
        else:
            if rig.is_reloaded:
                rig.reload_back()
            await rig.ready()
            left = await rig.settled(None if rig.is_spent else self._base)
            rig.former.clear()
            wrong += left
            if not left and (broken := await rig.normal()):
                wrong.append(broken)
            elif not left:
                left = await rig.settled(None if rig.is_spent else self._base)
                wrong += [f"behind a normal exchange: {each}" for each in left]
        wrong += self._faults.take(way.allowed)
        self._note(label, wrong)
        if wrong or way.is_fresh or rig.is_spent:
            await self._close(label, is_spoilt=bool(wrong))
        return run

    async def _run_on(self, script: asyncio.Task[None]) -> None:
        """Let a disturbed run come to its own end, as long as anything happens in it."""
        now = asyncio.get_running_loop().time
        quiet = _QUIET_WITH_TIMEOUTS if self._way.values.get("timeouts") else _QUIET
        until, seen, since = now() + _GRACE, self._stage.activity, now()
        while not script.done() and now() < until and now() - since < quiet:
            await asyncio.wait({script}, timeout=quiet / 4)
            if seen != self._stage.activity:
                seen, since = self._stage.activity, now()

    async def _close(self, label: str = "the last stop", *, is_spoilt: bool = False) -> None:
        if self._rig is None:
            return
        rig, self._rig = self._rig, None
        if self._objects is not None and not is_spoilt:
            await _steady_descriptors()
            ledger.forget_readings(rig.server)
            more = ledger.objects() - self._objects
            self._note("objects behind all runs", [f"{kind}: {count}" for kind, count in more.items()])
        await rig.close()
        left = [
            *await rig.settled(None if is_spoilt else self._idle_descriptors),
            *self._faults.take(self._way.allowed),
        ]
        if is_spoilt or self._idle_descriptors is None or left:
            self._idle_descriptors = await _steady_descriptors()
        if not is_spoilt:
            self._note(f"{label}, behind the stop", left)

    def _note(self, label: str, wrong: list[str]) -> None:
        if wrong:
            self.report.left_over.append(f"{label}: {'; '.join(wrong)}")


async def _steady_descriptors() -> int:
    """Return how many descriptors are open once that does not change any more."""
    seen, same = -1, 0
    while same < 5:
        now = len(ledger.descriptors())
        seen, same = now, same + 1 if now == seen else 0
        await asyncio.sleep(0.002)
    return seen


def play(way: Way, loop: str, *, timeout: float = 1.0) -> Report:
    """Run a way on a kind of loop, with everything that may happen, and return what was found.

    timeout: seconds for what is left behind to be given back.
    """
    _freeze()
    try:
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            return runner.run(Harness(way, Path(folder), timeout).run())
    finally:
        gc.collect()


@cache
def _freeze() -> None:
    """Keep what is imported already out of each collection, once for the process: a collection takes 0.1 s with it."""
    gc.collect()
    gc.freeze()
