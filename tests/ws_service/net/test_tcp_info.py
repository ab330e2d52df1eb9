"""What the kernel tells of a TCP connection, and that nothing else is asked for it."""

from __future__ import annotations

import socket
import sys

import pytest

from ws_service.net.tcp_info import IDLE, IN_FLIGHT, RECEIVED, SENT, seconds_idle, tcp_info

linux = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")


@linux
def test_the_bytes_received_and_sent_are_where_they_should_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as here:
        there, _ = listener.accept()
        with there:
            there.sendall(b"x" * 1000)
            here.sendall(b"y" * 300)
            assert here.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
            info = tcp_info(here, SENT + 16)
            assert info is not None
            assert int.from_bytes(info[RECEIVED : RECEIVED + 8], sys.byteorder) == 1000
            assert int.from_bytes(info[SENT : SENT + 8], sys.byteorder) == 300
            assert here.fileno() >= 0, "it is still the caller's"


@linux
def test_what_is_no_connection_of_tcp_or_has_ended_tells_nothing() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert tcp_info(one, IN_FLIGHT) is None
    assert tcp_info(one, IN_FLIGHT) is None
    assert tcp_info(None, IN_FLIGHT) is None
    tcp = socket.socket()
    tcp.close()
    assert tcp_info(tcp, IN_FLIGHT) is None
    with socket.socket() as tcp:
        assert tcp_info(tcp, 1 << 16) is None, "no kernel tells so much"


def test_a_connection_is_idle_since_its_last_bytes_in_either_direction() -> None:
    info = bytearray(IDLE)
    info[44:48], info[52:56] = (9000).to_bytes(4, sys.byteorder), (2500).to_bytes(4, sys.byteorder)
    assert seconds_idle(bytes(info)) == 2.5
