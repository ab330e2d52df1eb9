"""Logs whose file is full, whose reader is gone or does not read: the traffic goes on, and the end is a clean one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.processes import ROOT, free_ports, python
from tests.system.gateway import serving
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import Message, answer, request

LONG = "/" + "x" * 8000
"""A target whose line in the access log is about as long: a pipe of 64 KiB is full after eight of them."""

full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")


def play(wire: Wire) -> None:
    while True:
        wire.read_head()
        wire.send(answer("200 OK", body=b"served"))


class Quiet:
    """A gateway process about whose output nobody has made arrangements."""

    def __init__(self, child: subprocess.Popen[bytes], port: int) -> None:
        self.child = child
        self.port = port

    def ask(self, target: str = "/") -> Message:
        with Wire.to(self.port) as wire:
            wire.send(request(f"GET {target}"))
            return wire.read_message()

    def serves(self, count: int, target: str = "/") -> None:
        for _ in range(count):
            assert self.ask(target).body == b"served"

    def stop(self) -> None:
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(DEADLINE) == 0
        assert time.monotonic() - began < 6

    def lines(self) -> Iterator[str]:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            yield line.decode()

    def wait_for(self, pattern: str) -> re.Match[str]:
        for line in self.lines():
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"the log ended without {pattern!r}")


@contextmanager
def quiet_gateway(
    folder: Path,
    dash: str,
    *,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    preexec_fn: Callable[[], None] | None = None,
) -> Iterator[Quiet]:
    """Run a gateway with these outputs; it listens when this begins, and is killed at the end if it still runs."""
    port, admin = free_ports(2)
    path = folder / "config.yaml"
    config = {
        "listen": f"127.0.0.1:{port}",
        "admin": f"127.0.0.1:{admin}",
        "upstreams": {"dash": dash, "ws": dash},
        "handoff": "off",
        "timeouts": {"drain": "2s"},
    }
    path.write_text(json.dumps({"gateway": config}))
    child = subprocess.Popen(
        python("-m", "proxy", "--config", path),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=preexec_fn,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                Wire.to(port).close()
                break
            except ConnectionRefusedError:
                assert child.poll() is None and time.monotonic() < deadline, "the gateway does not listen"
                time.sleep(0.05)  # it tells nobody that it listens: its log is what is broken
        yield Quiet(child, port)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def dash() -> Iterator[str]:
    with serving(play) as url:
        yield url


@full_device
def test_an_access_log_on_a_full_disk_is_reported_once_and_the_traffic_goes_on(tmp_path: Path, dash: str) -> None:
    with open("/dev/full", "wb") as full, quiet_gateway(tmp_path, dash, stdout=full) as gateway:
        gateway.serves(3)
        gateway.wait_for(r"^ERROR the access log cannot be written \(\[Errno 28\] No space left on device\); its lines")
        gateway.serves(3)
        gateway.stop()
        rest = "".join(gateway.lines())
        assert "Traceback" not in rest and "ERROR" not in rest
        assert rest.endswith("INFO stopped\n")


@full_device
def test_both_logs_on_a_full_disk_stop_nothing_and_the_exit_code_is_0(tmp_path: Path, dash: str) -> None:
    with open("/dev/full", "wb") as full, quiet_gateway(tmp_path, dash, stdout=full, stderr=full) as gateway:
        gateway.serves(5)
        gateway.stop()


def test_closed_outputs_stop_nothing_and_no_client_gets_their_numbers(tmp_path: Path, dash: str) -> None:
    def close_outputs() -> None:
        os.close(1)
        os.close(2)

    with quiet_gateway(
        tmp_path, dash, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=close_outputs
    ) as gateway:
        gateway.serves(5)
        if os.path.exists("/proc/self/fd"):
            names = [os.readlink(f"/proc/{gateway.child.pid}/fd/{number}") for number in range(3)]
            assert names == [os.devnull] * 3
        gateway.stop()


def test_a_reader_that_has_gone_stops_nothing(tmp_path: Path, dash: str) -> None:
    with quiet_gateway(tmp_path, dash) as gateway:
        assert gateway.child.stdout is not None
        gateway.child.stdout.close()
        gateway.serves(3)
        gateway.wait_for(r"^ERROR the access log cannot be written \(\[Errno 32\] Broken pipe\)")
        gateway.serves(3)
        gateway.stop()


def test_a_reader_of_both_logs_that_has_gone_stops_nothing(tmp_path: Path, dash: str) -> None:
    """``dash-ws-proxy 2>&1 | head``"""
    with quiet_gateway(tmp_path, dash, stderr=subprocess.STDOUT) as gateway:
        assert gateway.child.stdout is not None
        gateway.child.stdout.close()
        gateway.serves(5)
        gateway.stop()


def test_a_reader_that_does_not_read_makes_no_client_wait(tmp_path: Path, dash: str) -> None:
    """``dash-ws-proxy | less``, and nobody turns the page. The pipe is full after thirty requests, our memory of lines
    after 500."""
    with quiet_gateway(tmp_path, dash) as gateway:
        gateway.serves(650, LONG)
        gateway.wait_for("^ERROR the access log is not read as fast as it grows; its lines are dropped")
        gateway.serves(5)
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.extend(gateway.child.stdout or ()), name="reader that wakes up")
        reader.start()
        lost = int(gateway.wait_for(r"^WARNING the access log is written again; (\d+) lines were dropped")[1])
        gateway.serves(1, "/again")
        gateway.stop()
        reader.join()
        assert b'"GET /again" 200' in lines[-1]
        assert lost > 20
        assert len(lines) + lost == 656, "every line is written or counted"


def test_a_reader_that_does_not_read_does_not_keep_the_process_alive(tmp_path: Path, dash: str) -> None:
    with quiet_gateway(tmp_path, dash, stderr=subprocess.STDOUT) as gateway:
        gateway.serves(50, LONG)
        gateway.stop()
