"""The socket file: for its owner alone, replaced when stale, never taken from somebody who answers."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from ws_service.errors import ListenError
from ws_service.socketfile import Claim, is_answered, is_possible, place

pytestmark = pytest.mark.skipif(not is_possible(), reason="sockets are handed over on Linux alone")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ws.sock"


def test_the_file_and_its_folder_are_for_their_owner_alone(path: Path) -> None:
    claim = Claim(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert is_answered(path)
    claim.release()
    claim.release()
    assert not path.exists()
    assert not is_answered(path)


def test_a_file_that_a_crashed_service_left_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as crashed:
        crashed.bind(str(path))
    claim = Claim(path)
    assert is_answered(path)
    claim.release()


def test_a_path_that_somebody_answers_is_not_taken(path: Path) -> None:
    claim = Claim(path)
    with pytest.raises(ListenError, match="is answered by another ws service already; stop that one, or change"):
        Claim(path)
    assert is_answered(path)
    claim.release()


def test_a_full_backlog_has_an_owner(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(8)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(str(path))
        assert is_answered(path)
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    path.parent.mkdir()
    if kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    with pytest.raises(ListenError, match="it is there and is not a socket; remove it, or change ws_service"):
        Claim(path)
    assert path.exists()


def test_a_path_that_cannot_be_is_the_systems_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        Claim(tmp_path / "file" / "ws.sock")
    with pytest.raises(OSError, match="too long"):
        Claim(tmp_path / ("x" * 200))


def test_workers_that_start_at_once_get_a_place_each(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as crashed:
        crashed.bind(str(path))
    claims: list[Claim] = []
    together = threading.Barrier(8)

    def work() -> None:
        together.wait(10)
        claims.append(Claim(path, slots=8))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(claim.path for claim in claims) == sorted(place(path, number) for number in range(8))
    assert all(is_answered(claim.path) for claim in claims)
    with pytest.raises(ListenError):
        Claim(path, slots=8)
    for claim in claims:
        claim.release()
    assert os.listdir(path.parent) == ["ws.sock.lock"]
