"""One upstream at two addresses: who has a socket at the one that dies loses it, and nothing else is noticed."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.gateway import Gateway, running_gateway
from tests.system.handoff import Service, code_of, echoes, hear, make_room_for, open_socket, running_service
from tests.system.test_reload import change, reload
from tests.wire.connection import Ended, Wire
from tests.wire.frames import CLOSE
from tests.wire.messages import handshake, request

MANY = 500
EACH_SECOND = 100
THREADS = 4


@contextmanager
def two_services(folder: Path) -> Iterator[tuple[Service, Service]]:
    folders = folder / "a", folder / "b"
    for each in folders:
        each.mkdir()
    with running_service(folders[0]) as one, running_service(folders[1]) as other:
        yield one, other


def addresses(*services: Service, way: str = "handed over") -> list[object]:
    """Return the setting ``upstreams.ws``. way: one of ``WAYS``."""
    is_tunnelled = way == "tunnelled"
    return [{"url": each.url, "handoff": "off" if is_tunnelled else str(each.socket_file)} for each in services]


@contextmanager
def gateway_for_both(
    folder: Path, *services: Service, way: str = "handed over", **settings: object
) -> Iterator[Gateway]:
    upstreams = {"dash": "http://127.0.0.1:9", "ws": addresses(*services, way=way)}
    with running_gateway(folder, dash="", upstreams=upstreams, **settings) as gateway:
        if way != "tunnelled":
            gateway.process.wait_for_count("takes WebSockets over", len(services))
        yield gateway


def known(gateway: Gateway) -> list[dict[str, object]]:
    """Return what /readyz tells of the addresses of ws."""
    with Wire.to(gateway.admin_port) as admin:
        admin.send(request("GET /readyz", host="localhost"))
        told = json.loads(admin.read_message().body)
    found: list[dict[str, object]] = told["upstreams"]["ws"]["addresses"]
    return found


@dataclass(frozen=True)
class Attempt:
    """One WebSocket that was opened, heard and closed, or one request.

    met: the process of the service that it came to, or the status of its answer; None: it failed.
    """

    began: float
    ended: float
    met: int | None
    trouble: str = ""


class Visitors:
    """Handshakes at a steady rate, in threads, from the beginning of a ``with`` block to its end."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._is_over = threading.Event()
        self.attempts: list[Attempt] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(THREADS)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, count: int) -> None:
        """Wait until so many more have ended."""
        wanted = len(self.attempts) + count
        until = time.monotonic() + 60
        while len(self.attempts) < wanted:
            assert time.monotonic() < until, "the visitors stand still"
            time.sleep(0.01)

    def _run(self, number: int) -> None:
        pause = THREADS / EACH_SECOND
        due = time.monotonic() + number * pause / THREADS
        while not self._is_over.wait(max(0.0, due - time.monotonic())):
            due += pause
            self.attempts.append(self._visit())

    def _visit(self) -> Attempt:
        began = time.monotonic()
        try:
            with Wire.to(self._gateway.port) as client:
                client.send(handshake("/who"))
                head = client.read_head()
                assert head.startswith(b"HTTP/1.1 101 "), head
                pid = json.loads(hear(client))["pid"]
        except (AssertionError, OSError, ValueError) as error:
            return Attempt(began, time.monotonic(), None, f"{type(error).__name__}: {error}"[:200])
        return Attempt(began, time.monotonic(), pid)


def pids(gateway: Gateway, count: int) -> list[tuple[Wire, int]]:
    """Open sockets, and learn which service has each."""
    make_room_for(count)
    clients = [open_socket(gateway, "/who") for _ in range(count)]
    return [(client, json.loads(hear(client))["pid"]) for client in clients]


def ends(client: Wire) -> str:
    """Wait for the end of a socket, and leave: a close frame's code, or the end alone."""
    with client:
        try:
            frame = client.read_frame()
        except (AssertionError, OSError, EOFError):
            return "end"
        return str(code_of(frame)) if frame.opcode == CLOSE else f"opcode {frame.opcode}"


@pytest.mark.parametrize(
    ("how", "way"),
    [(signal.SIGKILL, "handed over"), (signal.SIGTERM, "tunnelled")],
    ids=["killed, handed over", "stopped, tunnelled"],
)
def test_of_two_services_one_ends_and_only_its_own_sockets_notice(
    tmp_path: Path, how: signal.Signals, way: str
) -> None:
    with two_services(tmp_path) as (one, other), gateway_for_both(tmp_path, one, other, way=way) as gateway:
        opened = pids(gateway, MANY)
        counts = Counter(pid for _, pid in opened)
        assert counts == {one.process.pid: MANY // 2, other.process.pid: MANY // 2}
        mine = [client for client, pid in opened if pid == one.process.pid]
        others = [client for client, pid in opened if pid == other.process.pid]
        with Visitors(gateway) as visitors:
            visitors.wait_for(EACH_SECOND)
            one.process.send(how)
            one.process.wait()
            ended = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                heard = Counter(pool.map(ends, mine))
            visitors.wait_for(2 * EACH_SECOND)
        assert heard.keys() <= ({"1012"} if how is signal.SIGTERM else {"1012", "end"}), heard
        assert all(echoes(client, f"still here {number}") for number, client in enumerate(others))
        before = [each for each in visitors.attempts if each.began < ended]
        after = [each for each in visitors.attempts if each.began >= ended]
        assert {each.met for each in before} >= {one.process.pid, other.process.pid}
        assert {each.met for each in after} == {other.process.pid}, [each.trouble for each in after if each.trouble]
        assert max(each.ended - each.began for each in after) < 1, "new ones go to the other within a second"
        lost = [each for each in before if each.met is None]
        assert len(lost) <= (0 if how is signal.SIGTERM else THREADS), [each.trouble for each in lost]
        assert ("goes through the tunnel" in gateway.process.output) is False, "each was for the other one, or is gone"
        gone, stays = known(gateway)
        assert (gone["state"], stays["state"] in ("up", "unknown")) == ("unreachable", True)
        logged = len(gateway.process.output)
        with running_service(tmp_path / "a", listen=one.url.removeprefix("http://")) as again:
            gateway.process.wait_for(rf"the upstream ws at {one.url} is up", after=logged)
            assert {pid for _, pid in pids(gateway, 10)} == {again.process.pid}, "it has the fewest sockets now"
        assert _addresses_logged(gateway, "handed off" if way == "handed over" else "tunnel open") == {
            one.url,
            other.url,
        }
        ended = "hand-off closed" if way == "handed over" else "tunnel closed"
        assert _addresses_logged(gateway, ended) == {one.url, other.url}
        if way == "handed over":
            _assert_that_each_end_is_told_after_its_opening(gateway)


def _addresses_logged(gateway: Gateway, event: str) -> set[str]:
    """Return the addresses in the lines of an event; empty for a line without one."""
    return set(re.findall(rf" {event} -> ws(?: at (\S+))? ", gateway.process.output))


def _assert_that_each_end_is_told_after_its_opening(gateway: Gateway) -> None:
    events = re.findall(r" (handed off|hand-off closed) .* id=(\S+)$", gateway.process.output, re.MULTILINE)
    opened = set()
    for event, id in events:
        assert event == "handed off" or id in opened
        opened.add(id)


def test_an_address_comes_and_goes_under_load_and_no_handshake_fails(tmp_path: Path) -> None:
    with two_services(tmp_path) as (one, other), gateway_for_both(tmp_path, one, other) as gateway:
        opened = pids(gateway, 50)
        with Visitors(gateway) as visitors:
            for services in ((one,), (one, other), (other,), (one, other), (one,), (other, one)):
                change(gateway, upstreams={"dash": "http://127.0.0.1:9", "ws": addresses(*services)})
                assert "1 changed" in reload(gateway)
                began = time.monotonic()
                visitors.wait_for(EACH_SECOND // 4)
                wanted = {each.process.pid for each in services}
                met = {each.met for each in visitors.attempts if each.began > began}
                assert met == wanted
        assert [each.trouble for each in visitors.attempts if each.trouble] == []
        assert all(echoes(client, "still here") for client, _ in opened)
        assert {each["url"]: each["in_flight"] for each in known(gateway)} == {one.url: 0, other.url: 0}
        for client, _ in opened:
            client.close()
        gateway.process.wait_for_count("hand-off closed", len(visitors.attempts) + len(opened))
        _assert_that_each_end_is_told_after_its_opening(gateway)


def test_requests_go_to_the_other_address_at_once_when_one_dies(tmp_path: Path) -> None:
    with (
        two_services(tmp_path) as (one, other),
        gateway_for_both(
            tmp_path, one, other, way="tunnelled", routes=[{"path": "/", "to": "ws"}], timeouts={"hold": 0}
        ) as gateway,
    ):
        answers: list[Attempt] = []
        is_over = threading.Event()

        def ask() -> None:
            """Ask again and again on one connection, and on a new one where an answer broke off in the middle."""
            while not is_over.is_set():
                with Wire.to(gateway.port) as client:
                    while not is_over.is_set():
                        began = time.monotonic()
                        client.send(request("GET /healthz"))
                        try:
                            status = client.read_message().status
                        except (Ended, ConnectionError) as error:
                            answers.append(Attempt(began, time.monotonic(), None, str(error)))
                            break
                        answers.append(Attempt(began, time.monotonic(), status))

        with ThreadPoolExecutor(THREADS) as pool:
            asking = [pool.submit(ask) for _ in range(THREADS)]
            while len(answers) < 200:
                time.sleep(0.01)
            one.process.send(signal.SIGKILL)
            one.process.wait()
            ended, reached = time.monotonic(), len(answers)
            while len(answers) < reached + 200:
                time.sleep(0.01)
            is_over.set()
            for each in asking:
                each.result(30)
        named = re.findall(r'"GET /healthz" 200 -> ws(?: at (\S+))? ', gateway.process.output)
        assert set(named) == {one.url, other.url}
        cut = [each for each in answers if each.met is None]
        assert all(each.began < ended for each in cut), "only what had begun to be answered breaks off"
        assert len(cut) <= THREADS
        assert {each.met for each in answers if each not in cut} == {200}
        assert max(each.ended - each.began for each in answers) < 1
