"""The socket file: for its owner alone, replaced when stale, never taken from somebody who answers."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from ws_service.errors import ListenError
from ws_service.handoff import socket_file as module
from ws_service.handoff.protocol import socket_path
from ws_service.handoff.socket_file import HANDOFF, Claim, is_possible
from ws_service.net.listening import is_answered

pytestmark = pytest.mark.skipif(not is_possible(), reason="sockets are handed over on Linux alone")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ws.sock"


def test_the_file_is_for_its_owner_alone_in_a_folder_that_the_group_may_enter(path: Path) -> None:
    """The gateway's own socket may be in there too, and nginx comes to it by the group."""
    claim = Claim(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_name("ws.sock.lock").stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert is_answered(path, HANDOFF)
    claim.release()
    claim.release()
    assert not path.exists()
    assert not is_answered(path, HANDOFF)


def test_a_file_that_a_crashed_service_left_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as crashed:
        crashed.bind(str(path))
    claim = Claim(path)
    assert is_answered(path, HANDOFF)
    claim.release()


def test_a_path_on_which_a_process_listens_is_not_taken(path: Path) -> None:
    claim = Claim(path)
    with pytest.raises(ListenError, match="is answered by another ws service already; stop that one, or change"):
        Claim(path)
    assert is_answered(path, HANDOFF)
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
        assert is_answered(path, HANDOFF)
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    path.parent.mkdir()
    if kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    with pytest.raises(ListenError, match="is there and is not a socket; remove it, or change ws_service"):
        Claim(path)
    assert path.exists()


def test_a_path_that_cannot_be_is_the_systems_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file is a file, and no folder"):
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
    assert sorted(claim.path for claim in claims) == sorted(socket_path(path, number) for number in range(8))
    assert all(is_answered(claim.path, HANDOFF) for claim in claims)
    with pytest.raises(ListenError):
        Claim(path, slots=8)
    for claim in claims:
        claim.release()
    assert os.listdir(path.parent) == ["ws.sock.lock"]


# -- what another local user can do (issue 9: A17)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a file to another user")

STRANGER = 54321


@needs_root
def test_a_folder_of_another_user_is_refused(path: Path) -> None:
    path.parent.mkdir()
    os.chown(path.parent, STRANGER, -1)
    with pytest.raises(PermissionError, match=f"belongs to user {STRANGER}, and not to this one or root; use another"):
        Claim(path)
    assert os.listdir(path.parent) == []


def test_a_world_writable_folder_is_refused_unless_it_is_sticky(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(PermissionError, match="others may write into the folder"):
        Claim(path)
    path.parent.chmod(0o1777)
    Claim(path).release()


def test_a_link_in_the_place_of_the_lock_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    victim = tmp_path / "victim"
    path.with_name("ws.sock.lock").symlink_to(victim)
    with pytest.raises(PermissionError, match=r"ws\.sock\.lock is a symbolic link.* remove it"):
        Claim(path)
    assert not victim.exists()


def test_a_pipe_in_the_place_of_the_lock_is_refused(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path.with_name("ws.sock.lock"))
    with pytest.raises(PermissionError, match="is no file"):
        Claim(path)


@needs_root
def test_a_lock_of_another_user_is_refused(path: Path) -> None:
    path.parent.mkdir()
    lock = path.with_name("ws.sock.lock")
    lock.touch()
    os.chown(lock, STRANGER, -1)
    with pytest.raises(PermissionError, match=f"belongs to user {STRANGER}"):
        Claim(path)


def test_a_lock_that_is_held_is_waited_for_and_then_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT", 0.1)
    path.parent.mkdir()
    with path.with_name("ws.sock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(BlockingIOError, match=r"has held the lock .*ws\.sock\.lock for 0\.1 s; find it with fuser"):
            Claim(path)
        assert len(os.listdir("/proc/self/fd")) == before
    Claim(path).release()


def test_a_link_in_the_place_of_the_socket_is_left_alone(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ListenError, match="is a symbolic link; remove it, or change ws_service"):
        Claim(path)
