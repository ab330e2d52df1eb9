"""Where a socket cannot be handed over the tunnel carries it: nothing is lost, and the log says why once."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.processes import python, running
from tests.system.gateway import Gateway, Origin, open_tunnel, running_gateway
from tests.system.handoff import echoes, gateway_for, open_socket, running_service
from tests.wire.frames import MASK, TEXT, frame
from tests.wire.messages import handshake, request, switching
from ws_service.handoff import protocol as wire

TUNNELLED = "a WebSocket goes through the tunnel and not to the service itself"


def complaints(gateway: Gateway) -> list[str]:
    return [line for line in gateway.process.output.splitlines() if TUNNELLED in line]


def complaint(gateway: Gateway) -> str:
    """Return the one line that says why; it is written by a thread of its own, so it may be a moment late."""
    gateway.process.wait_for("WebSocket goes through the tunnel")
    (line,) = complaints(gateway)
    return line


def tunnels_with_everything(gateway: Gateway, origin: Origin) -> None:
    """Open a tunnel, and check that what came behind the handshake is not lost."""
    hello = frame(TEXT, b"hello", mask=MASK)
    client, upstream = open_tunnel(gateway, origin, ahead=hello)
    client.send(hello)
    assert upstream.read(2 * len(hello)) == hello + hello


def test_without_a_service_the_tunnel_carries_and_one_line_says_so(tmp_path: Path) -> None:
    with Origin() as origin, running_gateway(tmp_path, dash=origin.url, handoff="run/ws.sock") as gateway:
        for _ in range(3):
            tunnels_with_everything(gateway, origin)
        line = complaint(gateway)
        assert line.endswith(f"there is no socket file {tmp_path}/run/ws.sock; is the ws service running?")


def test_off_says_nothing(tmp_path: Path) -> None:
    with Origin() as origin, running_gateway(tmp_path, dash=origin.url, handoff=False) as gateway:
        tunnels_with_everything(gateway, origin)
        assert not complaints(gateway)


def test_a_stale_socket_file_is_no_service(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as crashed:
        crashed.bind(str(tmp_path / "ws.sock"))
    with Origin() as origin, running_gateway(tmp_path, dash=origin.url, handoff="ws.sock") as gateway:
        for _ in range(3):
            tunnels_with_everything(gateway, origin)
        line = complaint(gateway)
        assert line.endswith(f"no service answers on {tmp_path}/ws.sock: Connection refused")


def test_a_service_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    """And does not trust us: no user gets another one's sockets."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    answering = (
        "import os, socket, sys; os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1]); s.listen()\n"
        "print('here', flush=True)\n"
        "while True: c, _ = s.accept(); print('got', len(c.recv(100)), 'bytes', flush=True)\n"
    )
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(0o777)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_mode & 0o055 == 0o055:  # /tmp, at the latest
            break
        parent.chmod(0o755)
    with running(*python("-c", answering, folder / "ws.sock"), ready="here") as other, Origin() as origin:
        with running_gateway(tmp_path, dash=origin.url, handoff="theirs/ws.sock") as gateway:
            for _ in range(3):
                tunnels_with_everything(gateway, origin)
            line = complaint(gateway)
            assert line.endswith("runs as user 65534, this as user 0")
            other.wait_for("got 0 bytes")
            assert "got 1" not in other.output, "not even a greeting"


def test_a_handshake_that_is_too_large_goes_through_the_tunnel(tmp_path: Path) -> None:
    fields = [f"X-Large-{number}: {'x' * 8000}" for number in range(9)]
    with Origin() as origin, running_service(tmp_path) as service:
        with running_gateway(
            tmp_path, dash=origin.url, handoff=str(service.socket_file), limits={"header": "128KiB"}
        ) as gateway:
            for _ in range(2):
                open_tunnel(gateway, origin, *fields)
            line = complaint(gateway)
            assert line.endswith(f"its head, and what follows it, are larger than {wire.MAX_HEAD} bytes")
            assert echoes(open_socket(gateway), "a small one is handed over")
            gateway.process.wait_for("handed off -> ws")


def test_a_leftover_that_is_too_large_is_not_lost(tmp_path: Path) -> None:
    large = frame(TEXT, b"x" * 200_000, mask=MASK)
    with Origin() as origin, running_service(tmp_path) as service:
        with running_gateway(tmp_path, dash=origin.url, handoff=str(service.socket_file)) as gateway:
            gateway.pause()
            client = gateway.dial()
            sender = client.send_later(handshake() + large)
            sender.join(0.5)  # until the kernel takes no more: then it is one packet for the gateway
            gateway.resume()
            upstream = origin.accept()
            upstream.read_head()
            upstream.send(switching())
            assert client.read_message().status == 101
            assert upstream.read(len(large)) == large
            assert complaint(gateway).endswith("are larger than 65536 bytes")


def test_a_service_that_stands_still_is_waited_for_and_then_nothing_is_said(tmp_path: Path) -> None:
    """The service may own the socket by then: whatever the gateway wrote could be in the middle of its words."""
    with running_service(tmp_path) as service:
        with gateway_for(tmp_path, service, timeouts={"handshake": "300ms"}) as gateway:
            service.process.send(signal.SIGSTOP)
            try:
                client = gateway.dial()
                client.send(handshake("/echo"))
                gateway.process.wait_for(r"upstream timed out \[the ws service \(process \d+\) did not take the socket")
                assert not client.has_something()
            finally:
                service.process.send(signal.SIGCONT)
            assert client.read_message().status == 101, "it was the service's all the time"
            assert echoes(client, "hello")
            client.close()
            gateway.process.wait_for("hand-off closed")


def test_a_service_that_dies_with_the_socket_in_its_hands_ends_it_without_a_word(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, gateway_for(tmp_path, service) as gateway:
        service.process.send(signal.SIGSTOP)
        client = gateway.dial()
        client.send(handshake("/echo"))
        assert gateway.ask(request("GET /", "Host: another")).status == 400  # read later than ours
        service.process.send(signal.SIGKILL)
        assert client.read_to_cut()[0] == b""
        gateway.process.wait_for(r'"GET /echo" .*upstream failed \[The ws service went away while it took')


def test_a_gateway_that_stops_in_the_middle_of_a_hand_over_leaves_the_socket_to_the_service(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        with gateway_for(tmp_path, service, timeouts={"drain": "100ms"}) as gateway:
            service.process.send(signal.SIGSTOP)
            try:
                client = gateway.dial()
                client.send(handshake("/echo"))
                assert gateway.ask(request("GET /", "Host: another")).status == 400  # read later than ours
                gateway.process.send(signal.SIGTERM)
                assert gateway.process.wait() == 0
                gateway._wires.remove(client)
            finally:
                service.process.send(signal.SIGCONT)
            assert client.read_message().status == 101
            assert echoes(client, "hello")
            client.close()
