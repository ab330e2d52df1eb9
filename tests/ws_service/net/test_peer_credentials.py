"""The kernel knows which process and user are at the other end."""

from __future__ import annotations

import os
import socket

import pytest

from ws_service.net.peer_credentials import PeerCredentials, peer_credentials

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="Linux has it")


def test_a_peer_is_known_by_its_process_and_its_user() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_credentials(one) == (os.getpid(), os.geteuid())


@pytest.mark.parametrize(("uid", "is_trusted"), [(0, True), (1000, True), (1001, False)])
def test_root_and_the_own_user_are_trusted(uid: int, is_trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert PeerCredentials(7, uid).is_trusted is is_trusted


def test_what_is_no_connected_unix_socket_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            peer_credentials(sock)
