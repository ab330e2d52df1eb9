"""SIGTERM and SIGINT: in which order a gateway ends, what its clients see of it, and what its log says."""

from __future__ import annotations

import re
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.system.conftest import MakeGateway
from tests.system.gateway import Gateway, Origin, open_tunnel, running_gateway
from tests.system.handoff import echoes, gateway_for, open_sockets, running_service
from tests.wire.connection import Wire
from tests.wire.frames import frame
from tests.wire.messages import answer, handshake, request


@pytest.fixture
def gateway(make_gateway: MakeGateway, origin: Origin) -> Gateway:
    return make_gateway(dash=origin.url, timeouts={"drain": "5s"})


def is_ready(gateway: Gateway) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/readyz", timeout=10) as answered:
            return int(answered.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_stops_behind_the_grace_of_its_connections(number: int, gateway: Gateway) -> None:
    idle = gateway.dial()
    began = time.monotonic()
    gateway.process.send(number)
    assert gateway.process.wait() == 0
    assert 1 <= time.monotonic() - began < 4
    assert idle.read_to_cut()[0] == b""
    assert "stopped" in gateway.process.output


def test_a_request_under_way_is_finished(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /slow"))
    upstream = origin.accept()
    upstream.read_head()
    gateway.process.send(signal.SIGTERM)
    gateway.process.wait_for("stopping")
    assert is_ready(gateway) == 503
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gateway.port))
    upstream.send(answer("200 OK", body=b"done"))
    assert client.read_message().body == b"done"
    assert client.read_to_end() == b""
    assert gateway.process.wait() == 0


def test_a_tunnel_is_closed_with_1012_between_two_frames(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    whole = frame(2, b"x" * 1000)
    upstream.send(whole[:500])
    assert client.read(500) == whole[:500]
    gateway.process.send(signal.SIGTERM)
    assert upstream.read_frame().payload == (1012).to_bytes(2, "big")
    upstream.send(whole[500:])
    assert client.read(len(whole) - 500) == whole[500:]
    close_frame = client.read_frame()
    assert (close_frame.opcode, close_frame.payload) == (8, (1012).to_bytes(2, "big"))
    client.send(frame(8, close_frame.payload, mask=b"abcd"))
    assert client.read_to_end() == b""
    assert gateway.process.wait() == 0
    assert "drained by=gateway code=1012" in gateway.process.output


def test_two_hundred_tunnels_hear_1012(gateway: Gateway, origin: Origin) -> None:
    tunnels = [open_tunnel(gateway, origin) for _ in range(200)]
    gateway.process.send(signal.SIGTERM)
    for client, _ in tunnels:
        assert client.read_frame().payload == (1012).to_bytes(2, "big")
        client.close()
    assert gateway.process.wait() == 0


def test_what_does_not_end_is_cut_at_the_deadline(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "300ms"}) as gateway:
        client = gateway.dial()
        client.send(request("GET /forever"))
        origin.accept().read_head()
        began = time.monotonic()
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait() == 0
        assert time.monotonic() - began < 3
        assert client.read_to_cut()[0] == b""
        assert "cutting 0 tunnels and 1 request" in gateway.process.output


def test_the_notice_comes_first_and_everything_is_served_meanwhile(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain_notice": "2s"}) as gateway:
        client, upstream = open_tunnel(gateway, origin)
        began = time.monotonic()
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait_for("not ready any more; 2 s until the listener closes")
        newcomer = gateway.dial()
        newcomer.send(request("GET /"))
        served = origin.accept()
        served.read_head()
        served.send(answer("200 OK"))
        assert newcomer.read_message().get("connection") is None, "nobody is asked to leave yet"
        upstream.send(frame(1, b"still here"))
        assert client.read_frame().payload == b"still here"
        assert is_ready(gateway) == 503
        assert "draining" not in gateway.process.output, "the machine was too slow for this test to mean anything"
        assert code_of(client) == 1012
        assert time.monotonic() - began >= 2
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port))
        client.close()
        assert gateway.process.wait() == 0


def test_an_upload_that_is_under_way_is_finished(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("POST /upload", "Content-Length: 10", body=b"12345"))
    upstream = origin.accept()
    upstream.read_head()
    assert upstream.read(5) == b"12345"
    gateway.process.send(signal.SIGTERM)
    gateway.process.wait_for("draining: 0 tunnels and 1 request left, 5 s to the deadline")
    client.send(b"67890")
    assert upstream.read(5) == b"67890"
    upstream.send(answer("200 OK", body=b"got it"))
    told = client.read_message()
    assert (told.body, told.get("connection")) == (b"got it", "close")
    assert client.read_to_end() == b""
    assert gateway.process.wait() == 0


def test_a_conversation_is_ended_by_an_answer_and_not_by_a_fin(gateway: Gateway, origin: Origin) -> None:
    """A FIN would meet the next POST half-way, and no client may send that one again."""
    with gateway.dial() as client:
        client.send(request("GET /"))
        upstream = origin.accept()
        upstream.read_head()
        upstream.send(answer("200 OK"))
        assert client.read_message().get("connection") is None
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait_for("stopping")
        client.send(request("POST /", "Content-Length: 2", body=b"hi"))
        upstream.read_message()
        upstream.send(answer("200 OK"))
        assert client.read_message().get("connection") == "close"
        assert client.read_to_end() == b""
    assert gateway.process.wait() == 0


def test_a_handshake_on_an_open_connection_is_told_to_come_back(gateway: Gateway, origin: Origin) -> None:
    busy = gateway.dial()
    busy.send(request("GET /slow"))
    upstream = origin.accept()
    upstream.read_head()
    client = gateway.dial()
    client.send(b"GET")
    gateway.process.send(signal.SIGTERM)
    gateway.process.wait_for("draining")
    client.send(handshake("/live").removeprefix(b"GET"))
    told = client.read_message()
    assert (told.status, told.get("retry-after"), told.get("connection")) == (503, "1", "close")
    upstream.send(answer("200 OK"))
    busy.read_message()
    assert gateway.process.wait() == 0


def test_the_close_frames_are_spread_over_the_window(tmp_path: Path, origin: Origin) -> None:
    count, window = 50, 1.0
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "10s", "drain_window": f"{window}s"}) as gateway:
        clients = [open_tunnel(gateway, origin)[0] for _ in range(count)]
        gateway.process.send(signal.SIGTERM)
        moments = []
        for client in clients:  # in the order in which they came, which is that of the goodbyes
            assert code_of(client) == 1012
            moments.append(time.monotonic())
            client.close()
        assert gateway.process.wait() == 0
        spread = moments[-1] - moments[0]
        assert 0.9 * window <= spread < 3 * window
        shares = [sum(n / 5 <= (m - moments[0]) / window < (n + 1) / 5 for m in moments) for n in range(5)]
        assert max(shares) <= 2 * count / 5, f"a herd comes back: {shares}"
        assert gateway.process.output.count("drained by=gateway code=1012") == count


def test_the_log_tells_how_far_it_is_once_a_second(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "20s", "drain_window": "2s"}) as gateway:
        clients = [open_tunnel(gateway, origin)[0] for _ in range(20)]
        slow = gateway.dial()
        slow.send(request("GET /slow"))
        upstream = origin.accept()
        upstream.read_head()
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait_for("draining: 20 tunnels and 1 request left, 20 s to the deadline")
        for client in clients:
            assert code_of(client) == 1012
            client.close()
        gateway.process.wait_for("draining: 0 tunnels and 1 request left, 1[0-9] s to the deadline")
        upstream.send(answer("200 OK"))
        slow.read_message()
        assert gateway.process.wait() == 0
        lines = re.findall("^INFO draining: .*$", gateway.process.output, re.MULTILINE)
        assert 3 <= len(lines) <= 6, lines


def test_sockets_that_were_handed_over_live_on_and_the_log_says_how_many(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        with gateway_for(tmp_path, service, timeouts={"drain": "5s"}) as gateway:
            clients = open_sockets(gateway, 3)
            gateway._wires.clear()  # they are to outlive it
            gateway.process.send(signal.SIGTERM)
            assert gateway.process.wait() == 0
            assert "sockets that were handed over live on: 3" in gateway.process.output
            assert all(echoes(client, "still here") for client in clients)
        for client in clients:
            client.close()


# -- a second signal


def stops_at_once(gateway: Gateway, number: int = signal.SIGTERM) -> None:
    began = time.monotonic()
    gateway.process.send(number)
    assert gateway.process.wait(timeout=10) == 0
    assert time.monotonic() - began < 5
    assert "a second signal: stopping at once" in gateway.process.output


def test_a_second_signal_ends_the_notice(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain_notice": "60s"}) as gateway:
        client, _ = open_tunnel(gateway, origin)
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait_for("not ready any more")
        stops_at_once(gateway)
        assert client.read_to_cut()[0] == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_requests(number: int, tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "60s"}) as gateway:
        client = gateway.dial()
        client.send(request("GET /forever"))
        origin.accept().read_head()
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait_for("draining")
        stops_at_once(gateway, number)
        assert '"GET /forever" 499' in gateway.process.output
        assert " stopping id=" in gateway.process.output


def test_a_second_signal_ends_the_close_window(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "100s", "drain_window": "50s"}) as gateway:
        clients = [open_tunnel(gateway, origin)[0] for _ in range(5)]
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait_for("draining: 5 tunnels")
        stops_at_once(gateway)
        assert "cutting 5 tunnels and 0 requests" in gateway.process.output
        assert gateway.process.output.count("tunnel closed") == 5
        for client in clients:
            client.read_to_cut()


def test_a_second_signal_ends_the_grace_of_idle_connections(gateway: Gateway) -> None:
    gateway.dial()
    gateway.process.send(signal.SIGTERM)
    gateway.process.wait_for("stopping")
    stops_at_once(gateway)


def code_of(client: Wire) -> int:
    close_frame = client.read_frame()
    assert close_frame.opcode == 8, close_frame
    return int.from_bytes(close_frame.payload, "big")
