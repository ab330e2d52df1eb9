"""A gateway, two strict origins and many fuzzed clients; the verdict at the end.

Clients and origins share one event loop, the gateway is a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.client import FuzzClient
from tests.fuzz.grammar import write_play
from tests.fuzz.judge import Judge
from tests.processes import Process, free_port, free_ports, python, running
from tests.system.gateway import PER_CLIENT
from tests.wire.strict_origin import StrictOrigin
from ws_service.handoff import protocol as wire

AT_ONCE = 64
"""Connections that are open at the same time."""

MAX_FAILURES = 20


@dataclass
class Verdict:
    """What a run has shown. ``failures``: each says what is wrong, and has the bytes."""

    connections: int = 0
    answers: int = 0
    requests: int = 0
    partial: int = 0
    lines: int = 0
    handed_off: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.connections} connections in {self.seconds:.1f} s ({self.connections / self.seconds:.0f}/s): "
            f"{self.answers} answers, {self.requests} requests at the origins ({self.partial} of them cut off), "
            f"{self.handed_off} sockets handed over, {self.lines} lines of the access log, "
            f"{len(self.failures)} failures"
        )


class Adopter:
    """The ws service, as far as the hand-off goes: it adopts each socket, and gives it to the strict origin."""

    def __init__(self, path: Path, origin: StrictOrigin) -> None:
        path.parent.mkdir(exist_ok=True)
        self._origin = origin
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.setblocking(False)
        self._channels: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener.fileno(), self._accept)
        self.adopted = 0

    def _accept(self) -> None:
        channel, _ = self._listener.accept()
        channel.setblocking(False)
        self._channels.append(channel)
        self._loop.add_reader(channel.fileno(), self._read, channel)

    def _read(self, channel: socket.socket) -> None:
        data, descriptors, _, _ = socket.recv_fds(channel, wire.MAX_MESSAGE + 1, 4)
        if not data:
            self._loop.remove_reader(channel.fileno())
            channel.close()
            return
        message = wire.decode(data)
        if isinstance(message, wire.Hello):
            channel.send(wire.encode(wire.Hello(0)))
        elif isinstance(message, wire.Open):
            self.adopted += 1
            task = self._loop.create_task(self._adopt(channel, message, descriptors[0]), name="adoption")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _adopt(self, channel: socket.socket, message: wire.Open, descriptor: int) -> None:
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        channel.send(wire.encode(wire.Adopted(message.socket.id)))

        def ended() -> None:
            if channel.fileno() >= 0:
                report = wire.Ended(message.socket, 0.0, 101, None, None, None, wire.Ending.CLIENT)
                channel.send(wire.encode(report))

        await self._origin.adopt_socket(sock, message.head + message.leftover, ended)

    def close(self) -> None:
        for channel in (self._listener, *self._channels):
            if channel.fileno() >= 0:
                self._loop.remove_reader(channel.fileno())
                channel.close()


@dataclass
class Running:
    process: Process
    port: int
    admin: int
    log: Path

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def files(self) -> list[str]:
        """What the descriptors are; one may be gone before it is looked at."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        return sorted(os.readlink(place) for place in folder.iterdir() if place.is_symlink())

    def ask(self, path: str) -> dict[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
            body: dict[str, object] = json.loads(answer.read())
            return body


@contextmanager
def gateway_process(folder: Path, upstreams: Mapping[str, object]) -> Iterator[Running]:
    """Run the gateway; its access log goes into a file, whatever else it says is the process's output."""
    port, admin = free_ports(2)
    settings = {
        "listen": f"127.0.0.1:{port}",
        "admin": f"127.0.0.1:{admin}",
        "upstreams": upstreams,
        "handoff": "off",
        "access_log": "json",
        "health": {"interval": 0},  # what the gateway asks on its own account is no client's
        # Every client has the same address here.
        "limits": dict.fromkeys(PER_CLIENT),
    }
    config, log = folder / "gateway.yaml", folder / "access.log"
    config.write_text(json.dumps({"gateway": settings}))
    argv = ["sh", "-c", f'exec "$@" >{log}', "sh", *python("-m", "proxy", "--config", config)]
    with running(*argv, ready=r"gateway ready on http://", cwd=folder) as process:
        yield Running(process, port, admin, log)


async def fuzz(
    folder: Path,
    *,
    seed: str,
    connections: int = 0,
    seconds: float = 0.0,
    first: int = 0,
    hands_off: bool = False,
    has_several: bool = False,
) -> Verdict:
    """Fuzz until so many connections, or so many seconds; 0 is no limit.

    first: the number of the first client. has_several: each upstream is at two addresses, and a third takes no
    connection.
    """
    judge = Judge(hands_off=hands_off)
    origins = tuple(StrictOrigin(name) for name in ("dash", "ws") * (2 if has_several else 1))
    for origin in origins:
        origin.note, origin.tunnel_ended = judge.see, judge.tunnel_ended
        await origin.start()
    nothing = [f"http://127.0.0.1:{free_port()}"] if has_several else []
    services = [each for each in origins if each.name == "ws"]
    files = [f"run/ws{number}.sock" if hands_off else "off" for number in range(len(services))]
    upstreams = {
        "dash": [*(each.url for each in origins if each.name == "dash"), *nothing],
        "ws": [*({"url": each.url, "handoff": file} for each, file in zip(services, files, strict=True)), *nothing],
    }
    # Each service has one: a handshake that it refuses ends its connection there, and through a tunnel it does not.
    adopters = [Adopter(folder / file, each) for each, file in zip(services, files, strict=True) if hands_off]
    verdict = Verdict()
    with gateway_process(folder, upstreams) as gateway:
        await _warm_up(gateway, origins)
        base = gateway.descriptors
        began = time.monotonic()
        slots = asyncio.Semaphore(AT_ONCE)

        def ended(client: FuzzClient) -> None:
            verdict.answers += client.answers
            slots.release()

        number = first
        while not (connections and number - first >= connections) and len(judge.failures) < MAX_FAILURES:
            if seconds and time.monotonic() - began >= seconds:
                break
            await slots.acquire()
            sent = judge.begin(number, write_play(Random(f"{seed}:{number}"), number))
            await _connect(gateway.port, FuzzClient(judge, sent, ended, hands_off=hands_off), sent.address)
            number += 1
        verdict.connections, verdict.seconds = number - first, time.monotonic() - began
        for _ in range(AT_ONCE):
            await slots.acquire()
        await _check_at_rest(gateway, judge, origins, base)
    verdict.lines = judge.compare_with_log(gateway.log)
    said = gateway.process.output
    for word in ("Traceback", "fault of the gateway", "Task exception", "never retrieved", "Unhandled", "Exception in"):
        if word in said:
            judge.fail(f"the gateway's log says {word!r}", None, said[-8000:])
    for adopter in adopters:
        adopter.close()
        verdict.handed_off += adopter.adopted
    for origin in origins:
        origin.close()
    verdict.requests, verdict.partial, verdict.failures = judge.requests, judge.partial, judge.failures
    return verdict


async def _connect(port: int, client: FuzzClient, address: str) -> None:
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((address, 0))
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.create_connection(lambda: client, sock=sock)


async def _warm_up(gateway: Running, origins: tuple[StrictOrigin, ...]) -> None:
    """Let the gateway open what it opens once, before its descriptors are counted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()
    await _rest(gateway, origins)


async def _rest(gateway: Running, origins: tuple[StrictOrigin, ...]) -> dict[str, Any]:
    """Drop the upstreams' connections, and return what the gateway says of itself; its own connection for that ends."""
    for origin in origins:
        origin.hang_up()
    state = await asyncio.to_thread(gateway.ask, "/readyz")
    await asyncio.sleep(0.1)  # nothing but /proc can tell, and it tells when it is asked
    return state


async def _check_at_rest(gateway: Running, judge: Judge, origins: tuple[StrictOrigin, ...], base: int) -> None:
    """Check that nothing is left of what was: exchanges, descriptors, and the gateway answers."""
    deadline = time.monotonic() + 10
    while True:
        state, descriptors = await _rest(gateway, origins), gateway.descriptors
        left = _leases(state)
        if (not left and descriptors <= base) or time.monotonic() > deadline:
            break
    if left:
        judge.fail(f"something was not given back: {left}", None, state)
    if descriptors > base:
        judge.fail("descriptors are left behind", None, f"{base} before, {descriptors} behind: {gateway.files()}")
    if (await asyncio.to_thread(gateway.ask, "/healthz"))["status"] != "alive":
        judge.fail("the gateway is not healthy", None)


def _leases(state: dict[str, Any]) -> dict[str, int]:
    """Return what is counted and not given back, by name."""
    counts = {name: state[name] for name in ("in_flight", "connections", "websockets", "uploads", "buffered")}
    for name, upstream in state["upstreams"].items():
        counts |= {f"{name} {what}": upstream[what] for what in ("in_flight", "waiting")}
    return {name: count for name, count in counts.items() if count}


def run(folder: Path, **options: object) -> Verdict:
    """Run ``fuzz`` to its end, on uvloop where there is one."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(fuzz(folder, **options))  # type: ignore[arg-type]


def report(verdict: Verdict) -> int:
    """Print a verdict; return the exit code."""
    for failure in verdict.failures[:MAX_FAILURES]:
        print(f"FAILED: {failure}", file=sys.stderr)
    print(verdict)
    return 1 if verdict.failures else 0
