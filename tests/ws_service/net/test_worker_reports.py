"""What a supervisor tells systemd about its workers, and which of them it ends."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Iterator
from multiprocessing import reduction
from pathlib import Path

import pytest

from ws_service.net.service_manager import ServiceManager
from ws_service.net.worker_reports import WorkerReports, WorkerWatch


class Worker(WorkerReports):
    """A worker with a process id of its own."""

    def __init__(self, reports: WorkerReports, pid: int) -> None:
        super().__init__(reports._sock, reports.watchdog)
        self._pid = pid

    def _send(self, message: str) -> None:
        self._sock.send(f"{self._pid} {message.partition(chr(10))[0]}".encode())


class Supervised:
    """A watch over the workers 1 and 2, and what it says."""

    def __init__(self, folder: Path, watchdog: str) -> None:
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(folder / "notify"))
        self.systemd.settimeout(5)
        env = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": watchdog}
        self.pids, self.ended, self.has_ended = [1, 2], list[int](), threading.Event()
        self.watch = WorkerWatch(ServiceManager(env), "both are ready", lambda: self.pids, self._end)
        self.workers = [Worker(self.watch.reports, pid) for pid in (1, 2)]

    def _end(self, pid: int) -> None:
        self.ended.append(pid)
        self.has_ended.set()

    def told(self) -> str:
        while (said := self.systemd.recv(1000).decode()) == "WATCHDOG=1":
            pass
        return said


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    made = Supervised(tmp_path, "400000")
    made.watch.start()
    with made.systemd:
        yield made
        made.watch.close()


def test_it_is_ready_once_all_workers_are(supervised: Supervised) -> None:
    one, other = supervised.workers
    one.ready("")
    assert supervised.systemd.recv(1000) == b"WATCHDOG=1"
    other.ready("")
    assert supervised.told() == "READY=1\nSTATUS=both are ready"
    supervised.watch.stop()
    assert supervised.told() == "STOPPING=1\nSTATUS=stopping"


def test_a_worker_that_is_no_longer_alive_is_ended_once_and_no_other(supervised: Supervised) -> None:
    one, other = supervised.workers
    one.ready("")
    other.ready("")
    while not supervised.has_ended.wait(0.1):
        other.alive()
    assert supervised.ended == [1]
    supervised.pids = [3, 2]
    third = Worker(supervised.watch.reports, 3)
    for _ in range(8):
        third.alive()  # it does not serve yet, so it is not waited for
        other.alive()
        supervised.has_ended.clear()
        assert not supervised.has_ended.wait(0.1)


def test_a_supervisor_that_did_not_run_itself_gives_its_workers_their_time_anew(tmp_path: Path) -> None:
    made = Supervised(tmp_path, "8000000")
    made.watch._alive = {1: 100.0, 2: 100.0}
    with made.systemd:
        for moment in (100.0, 104.0, 200.0, 204.0, 208.0):
            made.watch.look(moment)
        assert made.ended == []
        made.watch.look(208.5)
        assert made.ended == [1, 2]
        made.watch.close()


def test_a_worker_that_stops_is_not_waited_for(supervised: Supervised) -> None:
    one, other = supervised.workers
    one.ready("")
    other.ready("")
    one.stopping()
    for _ in range(8):
        other.alive()
        assert not supervised.has_ended.wait(0.1)


def test_without_a_watchdog_workers_are_not_ended_and_feed_nothing(tmp_path: Path) -> None:
    made = Supervised(tmp_path, "0")
    made.watch.start()
    with made.systemd:
        assert made.watch.reports.watchdog is None
        for worker in made.workers:
            worker.ready("")
        assert made.told() == "READY=1\nSTATUS=both are ready"
        made.watch.close()


def test_a_worker_whose_supervisor_has_ended_goes_on(tmp_path: Path) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one:
        other.close()
        WorkerReports(one, None).ready("")


def test_it_is_sent_to_a_worker_by_pickle(tmp_path: Path) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        arrived = pickle.loads(reduction.ForkingPickler.dumps(WorkerReports(one, 3.0)))
        with arrived._sock:
            assert arrived.watchdog == 3.0
            arrived.ready("a line")
            assert other.recv(100) == f"{os.getpid()} READY=1".encode()


def test_what_is_no_report_does_not_end_the_watch(supervised: Supervised) -> None:
    """The user's code runs in the workers, and has the socket. Without the watch, systemd would end the service."""
    sender = supervised.watch.reports._sock
    for garbage in (b"\xff\xfe", b"x READY=1", b" READY=1", b"-1 READY=1", b"1", b"9" * 64):
        sender.send(garbage)
    for worker in supervised.workers:
        worker.ready("")
    assert supervised.told().startswith("READY=1")
