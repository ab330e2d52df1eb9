"""Addresses become bound sockets; a socket file is made, replaced and removed only where it is this process's own."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.processes import free_port
from ws_service.net import listening
from ws_service.net.listening import bind_socket_file, bind_tcp, find, is_answered, listen_problem, with_port


def test_nothing_is_accepted_before_the_sockets_listen() -> None:
    port = free_port()
    bound = bind_tcp(find("127.0.0.1", port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    (sock,) = bound.sockets
    assert sock.gettimeout() == 0
    sock.listen()
    socket.create_connection(("127.0.0.1", port)).close()
    bound.close()


def test_a_star_is_every_address() -> None:
    assert {name[4][0] for name in find("*", 8000)} <= {"0.0.0.0", "::"}


def test_an_address_of_a_family_that_this_host_does_not_have_is_left_out() -> None:
    port = free_port()
    here, elsewhere = find("127.0.0.1", port), find("192.0.2.1", port)
    bound = bind_tcp([*elsewhere, *here, *here])
    assert [sock.getsockname()[0] for sock in bound.sockets] == ["127.0.0.1"]
    bound.close()
    with pytest.raises(OSError) as caught:
        bind_tcp(elsewhere)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_one_address_that_is_taken_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError) as caught:
            bind_tcp([*find("127.0.0.1", port), *find("127.0.0.2", port)])
        assert caught.value.errno == errno.EADDRINUSE
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("mode", [0o660, 0o600])
def test_a_socket_file_has_its_mode_and_goes_when_it_is_closed(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "run" / "x.sock"
    bound = bind_socket_file(path, mode)
    assert bound.path == path
    assert stat.S_IMODE(path.stat().st_mode) == mode
    bound.close()
    bound.close()
    assert not path.exists()


def test_the_socket_file_of_another_process_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    bound = bind_socket_file(path)
    path.unlink()
    successor = bind_socket_file(path)
    bound.close()
    assert path.exists()
    successor.close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_file_that_is_answered_is_taken_and_one_that_is_not_is_replaced(
    tmp_path: Path, kind: socket.SocketKind
) -> None:
    path = tmp_path / "x.sock"
    assert not is_answered(path, kind)
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        other.listen()
        assert is_answered(path, socket.SOCK_STREAM)
        with pytest.raises(OSError) as caught:
            bind_socket_file(path)
        assert caught.value.errno == errno.EADDRINUSE
    bind_socket_file(path, kind=kind).close()


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.sock"
    if what == "file":
        path.write_text("precious")
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("elsewhere")
    words = "a symbolic link" if what == "link" else "there and is not a socket"
    with pytest.raises(FileExistsError, match=f"{path} is {words}; remove it"):
        bind_socket_file(path)
    assert os.path.lexists(path)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EADDRINUSE, "x"), "a:80 is already in use; stop the program that listens there, or change k"),
        (PermissionError(errno.EACCES, "x"), "cannot listen on a:80: this user may not; ports below 1024 need a "),
        (socket.gaierror(socket.EAI_NONAME, "Name not known"), "a:80 cannot be looked up: Name not known; change k"),
        (OSError(errno.EIO, "broken"), "cannot listen on a:80: broken; change k"),
        (OSError("AF_UNIX path too long"), "cannot listen on a:80: AF_UNIX path too long; change k"),
        (FileExistsError(errno.EEXIST, "it is there; remove it"), "a:80: it is there; remove it, or change k"),
    ],
)
def test_a_problem_says_what_to_do(error: OSError, words: str) -> None:
    sentence = listen_problem("a:80", error, "k")
    assert words in sentence
    assert sentence.endswith("change k")


def test_a_path_that_may_not_be_made_is_no_matter_of_ports() -> None:
    assert "ports" not in listen_problem("unix:/run/x.sock", PermissionError(errno.EACCES, "Permission denied"), "k")


def test_a_free_port_is_free_at_every_address_or_another_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first port that the system offers is taken at the second address."""
    bound: list[int] = []
    bind_one = listening._bind_one

    def taken_once(family: int, name: tuple[str, int], reuse_port: bool) -> socket.socket:
        bound.append(name[1])
        if len(bound) == 2:
            raise OSError(errno.EADDRINUSE, "taken")
        return bind_one(family, name, reuse_port)

    monkeypatch.setattr(listening, "_bind_one", taken_once)
    made = bind_tcp([*find("127.0.0.1", 0), *find("127.0.0.2", 0)])
    assert len({sock.getsockname()[1] for sock in made.sockets}) == 1
    assert [port == 0 for port in bound] == [True, False, True, False]
    made.close()


def test_a_port_that_was_written_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        tries: list[object] = []
        bind_all = listening._bind_all
        monkeypatch.setattr(listening, "_bind_all", lambda *given: (tries.append(given), bind_all(*given))[1])
        with pytest.raises(OSError):
            bind_tcp(find("127.0.0.1", taken.getsockname()[1]))
        assert len(tries) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "*"])
def test_an_address_keeps_how_it_was_written_but_for_port_0(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert with_port(f"{host}:0", [sock]) == f"{host}:{port}"
        assert with_port(f"{host}:8765", [sock]) == f"{host}:8765"
        assert with_port("unix:run/a:0", [sock]) == "unix:run/a:0"
    assert with_port(f"{host}:0", []) == f"{host}:0"
