"""Keep-alive and what TCP knows of a peer: one rule for all connections. Real ones vanish in ``tests/system``."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from ws_service.net import keepalive
from ws_service.net.keepalive import COUNT, IDLE, INTERVAL, SILENCE, UNANSWERED, has_vanished, keep_alive

linux = pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="Linux's names of the options")


def options(sock: socket.socket) -> tuple[int, ...]:
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    return (
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        *(sock.getsockopt(socket.IPPROTO_TCP, name) for name in names),
    )


@linux
def test_an_idle_peer_is_asked_so_that_it_is_found_within_45_seconds() -> None:
    with socket.socket() as sock:
        keep_alive(sock)
        assert options(sock) == (1, IDLE, INTERVAL, COUNT)
    assert IDLE + INTERVAL * COUNT == SILENCE <= 40


@linux
def test_what_a_listener_accepts_has_it_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        keep_alive(listener)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert options(accepted) == (1, IDLE, INTERVAL, COUNT)


def test_what_has_no_keep_alive_is_left_alone() -> None:
    keep_alive(None)
    one, other = socket.socketpair()
    with one, other:
        keep_alive(one)
        assert has_vanished(transport(one)) is None
    keep_alive(one)  # closed: whoever reads it is told


def transport(sock: Any) -> asyncio.BaseTransport:
    return asyncio.BaseTransport({"socket": sock})


@linux
def test_a_peer_that_has_everything_is_not_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        sock.send(b"x")
        listener.accept()[0].close()
        assert has_vanished(transport(sock)) is None
    assert has_vanished(transport(sock)) is None, "closed"


@linux
@pytest.mark.parametrize("has_everything", [True, False])
def test_tcp_info_is_read_only_where_something_is_not_acknowledged(
    has_everything: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(keepalive, "tcp_info", lambda *_: asked.append(1))
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        sock.setblocking(False)
        try:
            while not has_everything:
                sock.send(bytes(1 << 20))
        except BlockingIOError:
            pass
        assert has_vanished(transport(sock)) is None
    assert bool(asked) is not has_everything


def info(*, again: int = 0, probes: int = 0, on_its_way: int = 0, data: int = 0, answer: int = 0) -> bytes:
    """Return the beginning of TCP_INFO (linux/tcp.h)."""
    return struct.pack("=2xBB20xI24xII", again, probes, on_its_way, data, answer)


LATE, EARLY = SILENCE * 1000, SILENCE * 1000 - 1000


@linux
@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (info(), None),
        (info(data=LATE, answer=LATE), None),  # idle: keep-alive asks
        (info(on_its_way=1), False),
        (info(on_its_way=1, again=UNANSWERED, data=LATE, answer=LATE), True),
        (info(on_its_way=1, again=UNANSWERED, data=LATE, answer=EARLY), False),
        (info(on_its_way=1, again=UNANSWERED, data=EARLY, answer=LATE), False),  # it speaks
        (info(on_its_way=1, again=UNANSWERED - 1, data=LATE, answer=LATE), False),  # only just sent again
        (info(probes=UNANSWERED, data=LATE, answer=LATE), True),  # a zero window, and nobody behind it
        (info(probes=1, data=LATE, answer=LATE), False),  # a zero window whose reader answers each time
        (None, None),  # a system that does not tell
    ],
)
def test_a_peer_has_vanished_when_nothing_is_answered(
    told: bytes | None, verdict: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepalive, "tcp_info", lambda *_: told)
    assert has_vanished(transport(None)) is verdict
