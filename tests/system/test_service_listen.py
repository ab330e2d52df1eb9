"""What another user of the host can do to the service: where it listens, and whom it answers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from pathlib import Path

import pytest

from tests.processes import Process, python
from tests.system.handoff import echoes, gateway_for, make_room_for, open_socket, running_service
from tests.system.test_nothing_is_tied_up import eventually
from tests.wire.connection import Wire
from tests.wire.messages import handshake, request

STRANGER = 54321


def ending(folder: Path, **settings: object) -> tuple[int, str]:
    """Start the service, which cannot; return its exit code and what it said."""
    config = {"listen": "127.0.0.1:0", **settings}
    (folder / "config.yaml").write_text(json.dumps({"ws_service": config}))
    process = Process(list(map(str, python("-m", "ws_service", "--config", folder / "config.yaml"))), cwd=folder)
    try:
        code = process.wait(20)
    finally:
        process.stop()
    assert "Traceback" not in process.output
    return code, process.output


def test_a_lock_that_is_held_does_not_keep_the_service_from_saying_so(tmp_path: Path) -> None:
    """A17: it hung at its start without a line."""
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "ws.sock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, output = ending(tmp_path, handoff="run/ws.sock", listen="unix:listen.sock")
        assert code == 1
        assert "has held the lock" in output
        assert "find it with fuser" in output


def test_a_link_in_the_place_of_the_lock_makes_no_file(tmp_path: Path) -> None:
    """A17: as root the service made whatever file the link led to."""
    (tmp_path / "run").mkdir()
    victim = tmp_path / "victim"
    (tmp_path / "run" / "ws.sock.lock").symlink_to(victim)
    code, output = ending(tmp_path, handoff="run/ws.sock", listen="unix:listen.sock")
    assert code == 1
    assert not victim.exists()
    assert "is a symbolic link" in output


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a folder to another user")
@pytest.mark.parametrize("setting", ["handoff", "listen"])
def test_a_folder_of_another_user_is_refused(tmp_path: Path, setting: str) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, STRANGER, -1)
    ours = {"handoff": "off", "listen": "unix:listen.sock"}
    theirs = {"handoff": "theirs/ws.sock", "listen": "unix:theirs/listen.sock"}
    code, output = ending(tmp_path, **{**ours, setting: theirs[setting]})
    assert code == 1
    assert f"belongs to user {STRANGER}" in output
    assert f"change ws_service.{setting}" in output
    assert os.listdir(folder) == []


def test_a_full_backlog_of_another_process_does_not_delay_the_start(tmp_path: Path) -> None:
    """A17: the question whether somebody is there waited for a place in the backlog."""
    path = tmp_path / "listen.sock"
    with socket.socket(socket.AF_UNIX) as squatter, contextlib.ExitStack() as stack:
        squatter.bind(str(path))
        squatter.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect_ex(str(path))
        code, output = ending(tmp_path, handoff="off", listen="unix:listen.sock")
        assert code == 1
        assert "is already in use" in output


def test_many_silent_connections_block_no_other_one(tmp_path: Path) -> None:
    """A14's kind: 1,100 connections to the service's own listener, not a byte sent."""
    make_room_for(1400)
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(running_service(tmp_path))
        port = int(service.url.rpartition(":")[2])
        base = len(os.listdir(f"/proc/{service.process.pid}/fd"))
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(1100)]
        eventually(
            lambda: len(os.listdir(f"/proc/{service.process.pid}/fd")) <= base + 300,
            lambda: f"{len(os.listdir(f'/proc/{service.process.pid}/fd'))} descriptors, {base} at first",
        )
        with Wire.to(port) as client:
            client.send(request("GET /healthz"))
            assert client.read_message().status == 200
        tunnelled = stack.enter_context(gateway_for(tmp_path, service, handoff="off"))
        assert echoes(open_socket(tunnelled), "hello")
        assert len(crowd) == 1100
        service.process.wait_for("more than 256 connections send nothing; the oldest are closed")


def test_a_head_that_does_not_come_has_a_deadline_and_a_websocket_has_none(tmp_path: Path) -> None:
    """15 seconds: for the first head, and for the next one that is begun and not ended."""
    with running_service(tmp_path) as service:
        port = int(service.url.rpartition(":")[2])
        with Wire.to(port) as silent, Wire.to(port) as second, Wire.to(port) as websocket:
            websocket.send(handshake("/echo"))
            assert websocket.read_head().startswith(b"HTTP/1.1 101 ")
            second.send(request("GET /healthz"))
            assert second.read_message().status == 200
            second.send(b"GET /healthz HTT")
            silent.deadline = second.deadline = 20
            for late in (silent, second):
                late.sock.settimeout(20)
                assert late.read_to_cut()[0] == b""
            assert echoes(websocket, "still here")
