"""Sockets that systemd passes: found by the three variables, taken by name, refused where they do not listen."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.errors import ListenError
from proxy.listener import passed_sockets as module
from proxy.listener.passed_sockets import PassedSockets, passed_sockets


class Systemd:
    """Descriptors in a row, as systemd passes them; the first number is not 3, which pytest may have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._first = 900
        self._descriptors: list[int] = []
        monkeypatch.setattr(module, "FIRST", self._first)

    def passes(self, *sources: socket.socket | int) -> None:
        for number, source in enumerate(sources):
            descriptor = source if isinstance(source, int) else source.fileno()
            os.dup2(descriptor, self._first + number, inheritable=True)
            self._descriptors.append(self._first + number)

    def close(self) -> None:
        for descriptor in self._descriptors:
            try:
                os.close(descriptor)
            except OSError:
                pass


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    systemd = Systemd(monkeypatch)
    yield systemd
    systemd.close()


def env(count: int, names: str | None = None, pid: int | None = None) -> dict[str, str]:
    variables = {"LISTEN_FDS": str(count), "LISTEN_PID": str(os.getpid() if pid is None else pid), "HOME": "/"}
    return variables if names is None else {**variables, "LISTEN_FDNAMES": names}


def refusal(passed: PassedSockets, name: str = "gateway") -> str:
    with pytest.raises(ListenError) as caught:
        passed.take(name, "gateway.listen", others_but="admin")
    return str(caught.value)


def test_the_variables_are_for_this_process_alone_and_are_removed() -> None:
    variables = env(2, "gateway:admin")
    assert passed_sockets(variables).names == ["gateway", "admin"]
    assert variables == {"HOME": "/"}


@pytest.mark.parametrize(
    ("names", "known"),
    [(None, ["unknown", "unknown"]), ("a", ["a", "unknown"]), ("a:b:c", ["a", "b"]), ("", ["unknown", "unknown"])],
)
def test_sockets_without_a_name_are_called_as_systemd_calls_them(names: str | None, known: list[str]) -> None:
    assert passed_sockets(env(2, names)).names == known


@pytest.mark.parametrize("variables", [{}, {"LISTEN_FDS": "0"}, {"LISTEN_FDS": "many"}, {"LISTEN_FDS": ""}])
def test_where_nothing_is_passed_the_message_says_what_starts_it(variables: dict[str, str]) -> None:
    assert refusal(passed_sockets(variables)) == (
        "gateway.listen is systemd, and systemd has passed no socket; start the socket unit, and name it in the "
        "service's unit (Sockets=)"
    )


def test_sockets_for_another_process_are_left_alone_and_the_message_says_whose_they_are() -> None:
    assert refusal(passed_sockets(env(1, pid=1))) == (
        f"gateway.listen is systemd, and systemd has passed its sockets to process 1, and this is process {os.getpid()}"
        ": another program has started it as a child; have that one exec it, or leave that one out"
    )


def test_a_socket_is_taken_by_its_name_and_no_child_inherits_it(systemd: Systemd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as listener:
        systemd.passes(other, listener)
        passed = passed_sockets(env(2, "other:gateway"))
        (taken,) = passed.take("gateway", "gateway.listen")
        with taken:
            assert taken.getsockname() == listener.getsockname()
            assert not taken.getblocking()
            assert not taken.get_inheritable()
        assert passed.names == ["other"]


def test_without_a_socket_of_the_name_all_are_taken_but_the_one_that_is_reserved(systemd: Systemd) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as admin,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        systemd.passes(first, admin, second)
        passed = passed_sockets(env(3, "a.socket:admin:a.socket"))
        taken = passed.take("gateway", "gateway.listen", others_but="admin")
        assert [one.getsockname() for one in taken] == [first.getsockname(), second.getsockname()]
        assert passed.names == ["admin"]
        for one in taken:
            one.close()


def test_a_name_that_no_socket_has_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ListenError) as caught:
        passed_sockets(env(2, "web:admin")).take("gateway", "gateway.listen")
    assert str(caught.value) == (
        "gateway.listen wants a socket named gateway of systemd, and what it has passed is named web, admin; write "
        "FileDescriptorName=gateway in the socket unit"
    )


def test_a_unix_socket_is_taken_too(systemd: Systemd, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "gateway.sock"))
        listener.listen()
        systemd.passes(listener)
        (taken,) = passed_sockets(env(1)).take("gateway", "gateway.listen", others_but="admin")
        with taken:
            assert taken.family == socket.AF_UNIX


def test_what_does_not_listen_is_refused(systemd: Systemd, tmp_path: Path) -> None:
    one, another = socket.socketpair()
    with one, another, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        systemd.passes(one, datagrams, bound)
        for number, name in enumerate(("accepted", "datagrams", "bound")):
            passed = passed_sockets(env(3, "accepted:datagrams:bound"))
            assert refusal(passed, name) == (
                f"gateway.listen: descriptor {900 + number}, which systemd has passed as {name}, does not listen for "
                "connections; write ListenStream= and Accept=no"
            )


def test_what_is_no_socket_is_refused(systemd: Systemd, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        systemd.passes(file.fileno())
        assert refusal(passed_sockets(env(1))).startswith(
            "gateway.listen: descriptor 900, which systemd has passed as unknown, is no socket: "
        )
