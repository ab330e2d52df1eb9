"""SIGHUP: the config is read again while everything goes on, and a wrong one changes nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.processes import free_ports, python, running
from tests.system.conftest import MakeGateway
from tests.system.gateway import Gateway, Origin, open_tunnel, running_gateway, serving
from tests.system.handoff import echoes, gateway_for, open_socket, running_service
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import frame
from tests.wire.messages import answer, request

DONE = r"(?:the configuration was read again|SIGHUP is ignored)"


@pytest.fixture
def dash() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def ws() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def gateway(make_gateway: MakeGateway, dash: Origin, ws: Origin) -> Gateway:
    return make_gateway(dash=dash.url, ws=ws.url, timeouts={"drain": "1s"})


def config_of(gateway: Gateway) -> Path:
    return Path(gateway.process.argv[-1])


def change(gateway: Gateway, **values: object) -> None:
    """Write values over those of the gateway's section."""
    path = config_of(gateway)
    settings: dict[str, Any] = json.loads(path.read_text())["gateway"]
    path.write_text(json.dumps({"gateway": settings | values}, indent=1))


def reload(gateway: Gateway) -> str:
    """Send SIGHUP; return what the log says of it."""
    before = len(gateway.process.output)
    gateway.process.send(signal.SIGHUP)
    gateway.process.wait_for(DONE, after=before)
    return gateway.process.output[before:]


def serve_one(client: Wire, upstream: Origin) -> None:
    """Carry one exchange through, on a new connection to ``upstream``."""
    client.send(request("GET /live/x"))
    wire = upstream.accept()
    wire.read_head()
    wire.send(answer("200 OK", "Connection: close"))
    assert client.read_message().status == 200


def test_other_routes_hold_for_the_next_request_on_an_open_connection(
    gateway: Gateway, dash: Origin, ws: Origin
) -> None:
    client = gateway.dial()
    serve_one(client, dash)
    change(gateway, routes=[{"path": "/live", "to": "ws"}])
    reload(gateway)
    gateway.process.wait_for(r"^INFO changed: gateway.routes: added \{path: /live, to: ws\}$")
    serve_one(client, ws)


def test_a_request_under_way_and_a_tunnel_are_not_touched(gateway: Gateway, dash: Origin, ws: Origin) -> None:
    tunnel, behind = open_tunnel(gateway, ws)
    client = gateway.dial()
    client.send(request("POST /slow", "Content-Length: 4", body=b"12"))
    upstream = dash.accept()
    upstream.read_head()
    with Origin() as other:
        change(gateway, upstreams={"dash": other.url, "ws": other.url}, routes=[{"path": "/", "to": "ws"}])
        reload(gateway)
        client.send(b"34")
        assert upstream.read(4) == b"1234"
        upstream.send(answer("200 OK", body=b"the old one"))
        assert client.read_message().body == b"the old one"
        for end, beginning in ((behind, tunnel), (tunnel, behind)):
            beginning.send(frame(1, b"still here"))
            assert end.read_frame().payload == b"still here"
        serve_one(client, other)


def test_another_upstream_gets_new_requests_and_the_old_one_no_idle_connection(gateway: Gateway, dash: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /"))
    before = dash.accept()
    before.read_head()
    before.send(answer("200 OK"))
    client.read_message()
    with Origin() as other:
        change(gateway, upstreams={"dash": other.url, "ws": other.url})
        reload(gateway)
        assert before.read_to_cut()[0] == b"", "the gateway keeps a connection to a server that it no longer knows"
        serve_one(client, other)


def test_an_upstream_with_the_same_url_keeps_its_connections(gateway: Gateway, dash: Origin) -> None:
    client = gateway.dial()
    for number in range(2):
        client.send(request("GET /"))
        if number == 0:
            wire = dash.accept()
        wire.read_head()
        wire.send(answer("200 OK"))
        client.read_message()
        change(gateway, timeouts={"upstream_idle": "60s"})
        reload(gateway)
    assert not dash.has_visitor()


def test_a_wrong_config_is_named_with_every_mistake_and_changes_nothing(gateway: Gateway, dash: Origin) -> None:
    client = gateway.dial()
    path = config_of(gateway)
    path.write_text("gateway:\n  routes: [{path: /live, to: ws}]\n  lisen: x\n  timeouts: {drain: soon}\n")
    reload(gateway)
    gateway.process.wait_for(f"^ERROR {re.escape(str(path))}:3:3: gateway.lisen: is not a setting; did you mean listen")
    gateway.process.wait_for(f"^ERROR {re.escape(str(path))}:4:14: gateway.timeouts.drain: 'soon' is not a duration")
    gateway.process.wait_for("^ERROR the configuration was read again and cannot be used; the one before stays")
    serve_one(client, dash)


def test_a_config_that_is_gone_changes_nothing(gateway: Gateway, dash: Origin) -> None:
    config_of(gateway).unlink()
    assert "there is no such file" in reload(gateway)
    serve_one(gateway.dial(), dash)


def test_what_takes_a_restart_is_named_and_the_rest_is_applied(gateway: Gateway, dash: Origin, ws: Origin) -> None:
    change(gateway, listen="127.0.0.1:1", admin_public=True, routes=[{"path": "/live", "to": "ws"}])
    assert "INFO the configuration was read again; 1 changed, 2 take a restart" in reload(gateway)
    assert "INFO the configuration was read again; 2 take a restart" in reload(gateway), "and that is not nothing"
    gateway.process.wait_for(rf"^WARNING takes a restart: gateway.listen: {gateway.authority} -> 127.0.0.1:1$")
    gateway.process.wait_for(r"^WARNING takes a restart: gateway.admin_public: false -> true$")
    serve_one(gateway.dial(), ws)


def test_a_reload_that_changes_nothing_says_so(gateway: Gateway) -> None:
    assert "INFO the configuration was read again; nothing changed" in reload(gateway)


def test_the_form_of_the_access_log_changes(gateway: Gateway, dash: Origin) -> None:
    client = gateway.dial()
    serve_one(client, dash)
    gateway.process.wait_for(r'"GET /live/x" 200 -> dash')
    change(gateway, access_log="json")
    reload(gateway)
    serve_one(client, dash)
    gateway.process.wait_for(r'^\{"time": ".*"target": "/live/x"')


def test_time_limits_change(gateway: Gateway) -> None:
    change(gateway, timeouts={"head": "100ms"})
    reload(gateway)
    assert gateway.dial().read_to_cut()[0] == b""


def test_a_request_under_way_keeps_its_time_limits_on_the_fast_path_too(gateway: Gateway, dash: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /"))
    upstream = dash.accept()
    for body in (b"first", b"second"):
        upstream.read_head()
        if body == b"second":
            change(gateway, timeouts={"response": "10ms", "send": "10ms", "hold": "10ms", "queue": "10ms"})
            reload(gateway)
            time.sleep(1.5)  # longer than the new limit, and than the pause between two looks for it
        upstream.send(answer("200 OK", body=body))
        assert client.read_message().body == body
        if body == b"first":
            client.send(request("GET /"))


def test_variables_come_from_the_environment_of_the_process(tmp_path: Path) -> None:
    port, admin = free_ports(2)
    path = tmp_path / "config.yaml"
    text = f"gateway:\n  listen: 127.0.0.1:{port}\n  admin: 127.0.0.1:{admin}\n  timeouts: {{drain: '%s'}}\n"
    path.write_text(text % "1s")
    argv = python("-m", "proxy", "--config", "config.yaml")
    with running(*argv, ready="gateway ready", cwd=tmp_path, env={"PATIENCE": "7s"}) as process:
        path.write_text(text % "${PATIENCE}")
        process.send(signal.SIGHUP)
        process.wait_for("^INFO changed: gateway.timeouts.drain: 1s -> 7s")


def test_without_a_config_there_is_nothing_to_read(tmp_path: Path) -> None:
    """On the default ports: where they are taken, there is nothing that this test could show."""
    with running(*python("-m", "proxy"), cwd=tmp_path) as process:
        match = process.wait_for("gateway ready|already in use")
        if match[0] != "gateway ready":
            pytest.skip("a default port is taken")
        process.send(signal.SIGHUP)
        process.wait_for("^WARNING SIGHUP is ignored: there is no config file to read again")


def test_while_it_stops_a_reload_is_ignored(gateway: Gateway, dash: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /"))
    upstream = dash.accept()
    upstream.read_head()
    gateway.process.send(signal.SIGTERM)
    gateway.process.wait_for("draining")
    assert "SIGHUP is ignored: the gateway is draining" in reload(gateway)
    upstream.send(answer("200 OK"))
    client.read_message()
    assert gateway.process.wait() == 0


def test_sockets_that_were_handed_over_are_not_touched(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, gateway_for(tmp_path, service) as gateway:
        client = open_socket(gateway)
        change(gateway, routes=[{"path": "/live", "to": "dash"}])
        reload(gateway)
        assert echoes(client, "still here")
        assert echoes(open_socket(gateway), "a new one")


def test_systemd_is_told_of_each_step(tmp_path: Path, dash: Origin) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(DEADLINE)
        with running_gateway(tmp_path, dash=dash.url, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as gateway:
            assert systemd.recv(100) == f"READY=1\nSTATUS=gateway ready on {gateway.url}".encode()
            reload(gateway)
            assert systemd.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert systemd.recv(100) == b"READY=1"
            gateway.process.send(signal.SIGTERM)
            assert gateway.process.wait() == 0
            assert systemd.recv(100) == b"STOPPING=1\nSTATUS=stopping"


def test_while_it_starts_a_reload_is_ignored_and_does_not_kill_it(tmp_path: Path) -> None:
    """It waits for a service that has its socket file, and does not answer the greeting."""
    port, admin = free_ports(2)
    path = tmp_path / "config.yaml"
    path.write_text(f"gateway:\n  listen: 127.0.0.1:{port}\n  admin: 127.0.0.1:{admin}\n  handoff: ws.sock\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as service:
        service.bind(str(tmp_path / "ws.sock"))
        service.listen()
        service.settimeout(DEADLINE)
        with running(*python("-m", "proxy", "--config", path), cwd=tmp_path) as process:
            channel, _ = service.accept()
            with channel:
                process.send(signal.SIGHUP)
                process.wait_for("^WARNING SIGHUP is ignored: the gateway is starting")
                process.wait_for("gateway ready")


# -- the certificate


def test_while_certificate_and_key_are_exchanged_the_log_always_says_what_is_in_force(tmp_path: Path) -> None:
    """A renewal that a reload meets in the middle: all of the new settings hold, or none (issue 9, A16)."""
    authority = Authority(tmp_path)
    files, pairs = authority.issue(), [authority.issue(file=name) for name in ("one", "two")]
    contents = [{key: Path(pair[key]).read_bytes() for key in pair} for pair in pairs]
    stopped = threading.Event()
    exchanges = 0

    def exchange() -> None:
        nonlocal exchanges
        while not stopped.is_set():
            for content in contents:
                for key in ("certificate", "key"):
                    fresh = tmp_path / "fresh"
                    fresh.write_bytes(content[key])
                    fresh.replace(files[key])
                    stopped.wait(0.001)
                exchanges += 1

    def says(name: bytes) -> Callable[[Wire], None]:
        def play(wire: Wire) -> None:
            while True:
                wire.read_head()
                wire.send(answer("200 OK", body=name))

        return play

    with (
        serving(says(b"one")) as one,
        serving(says(b"two")) as two,
        running_gateway(tmp_path, dash=one, tls=files) as gateway,
    ):
        client = gateway.dial()
        client.sock = authority.client().wrap_socket(client.sock, server_hostname="localhost")
        renewal = threading.Thread(target=exchange, name="renewal")
        renewal.start()
        in_force, kept, changed = b"one", 0, 0
        try:
            for number in range(120):
                wanted = (b"two", b"one")[number % 2]
                change(gateway, upstreams=dict.fromkeys(("dash", "ws"), {b"one": one, b"two": two}[wanted]))
                said = reload(gateway)
                if "cannot be used; the one before stays in force" in said:
                    kept += 1
                else:
                    in_force, changed = wanted, changed + 1
                client.send(request("GET /"))
                assert client.read_message().body == in_force, f"reload {number}: the log says otherwise:\n{said}"
        finally:
            stopped.set()
            renewal.join()
        assert min(kept, changed) > 5, f"{kept} kept, {changed} changed, {exchanges} exchanges: no proof"


def test_a_renewed_certificate_is_in_use_and_the_log_says_which(tmp_path: Path, dash: Origin) -> None:
    authority = Authority(tmp_path)
    files = authority.issue()
    with running_gateway(tmp_path, dash=dash.url, tls=files) as gateway:

        def serial() -> str:
            with authority.client().wrap_socket(gateway.dial().sock, server_hostname="localhost") as client:
                told = client.getpeercert()
                assert told is not None
                return str(told["serialNumber"]).lstrip("0")

        before = serial()
        assert "INFO the configuration was read again; nothing changed" in reload(gateway)
        authority.issue()
        assert "INFO the configuration was read again; 1 changed" in reload(gateway)
        line = rf"^INFO changed: gateway.tls.certificate: the file {files['certificate']} was renewed: "
        told = gateway.process.wait_for(line + r"serial (\w+), valid until .* UTC -> serial (\w+), valid until .* UTC$")
        assert told.groups() == (before, serial())


def test_an_expired_certificate_is_warned_of_once_at_the_start_and_once_at_each_reload(tmp_path: Path) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    files = Authority(tmp_path).issue(not_before=now - 9 * day, not_after=now - day)
    with running_gateway(tmp_path, dash="http://127.0.0.1:9", tls=files) as gateway:
        assert gateway.process.output.count("has expired") == 1
        assert reload(gateway).count("has expired") == 1


# -- again and again


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted in /proc")
def test_two_hundred_reloads_under_load_fail_no_request_and_leave_nothing_behind(tmp_path: Path) -> None:
    """Every other one changes both upstreams to another address, so that half of the connections are given up."""

    def play(wire: Wire) -> None:
        while True:
            wire.read_head()
            wire.send(answer("200 OK", body=b"ok"))

    with serving(play) as one, serving(play) as two, running_gateway(tmp_path, dash=one) as gateway:
        stopped = threading.Event()
        counts = [0, 0, 0]
        counted = threading.Condition()

        def load(number: int) -> None:
            with gateway.dial() as client:
                while not stopped.is_set():
                    client.send(request("GET /"))
                    told = client.read_message()
                    assert (told.status, told.body) == (200, b"ok")
                    with counted:
                        counts[number] += 1
                        counted.notify()

        def reload_to(url: str) -> None:
            """Reload while every client has a request under way: each has had an answer since the last time."""
            before = list(counts)
            with counted:
                is_loaded = counted.wait_for(lambda: all(map(int.__gt__, counts, before)), 20)
            assert is_loaded, f"no load, no proof: {before} answers before, {counts} now"
            change(gateway, upstreams={"dash": url, "ws": url})
            assert "ERROR" not in reload(gateway)

        threads = [threading.Thread(target=load, args=(number,), name="load") for number in range(len(counts))]
        for thread in threads:
            thread.start()
        pid = gateway.process.pid
        try:
            for number in range(20):
                reload_to((two, one)[number % 2])
            files, memory = descriptors(pid), resident(pid)
            for number in range(200):
                reload_to((two, one)[number % 2])
        finally:
            stopped.set()
        for thread in threads:
            thread.join()
        assert descriptors(pid) <= files + 6, "connections of upstreams that are gone are still open"
        assert resident(pid) - memory < 4 << 20
