"""Addresses that are free, taken, stale or impossible, and what uvicorn is told."""

from __future__ import annotations

import importlib
import logging
import logging.config
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from tests.processes import free_port
from tests.wire.connection import Wire
from tests.wire.messages import handshake
from tests.ws_service.live import serving
from ws_service import server
from ws_service.app import create_app
from ws_service.config.settings import Settings
from ws_service.errors import ListenError
from ws_service.handoff.socket_file import is_possible


def test_an_address_is_bound_and_nothing_accepted_yet(tmp_path: Path) -> None:
    port = free_port()
    bound = server.bind(f"127.0.0.1:{port}", tmp_path)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    finally:
        bound.close()


def test_an_address_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ListenError) as caught:
            server.bind(address, tmp_path)
    assert str(caught.value) == (
        f"{address} is already in use; stop the program that listens there, or change ws_service.listen"
    )


@pytest.mark.parametrize(
    ("listen", "sentence"),
    [
        ("192.0.2.1:8765", "cannot listen on 192.0.2.1:8765: Cannot assign requested address"),
        ("nobody.invalid:8765", "nobody.invalid:8765 cannot be looked up"),
        ("unix:file/ws.sock", "cannot listen on unix:file/ws.sock: "),
    ],
)
def test_an_address_that_cannot_be_is_one_sentence(tmp_path: Path, listen: str, sentence: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ListenError) as caught:
        server.bind(listen, tmp_path)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).endswith("change ws_service.listen")


def test_localhost_is_bound_on_every_address_that_it_has(tmp_path: Path) -> None:
    bound = server.bind(f"localhost:{free_port()}", tmp_path)
    try:
        assert "127.0.0.1" in [sock.getsockname()[0] for sock in bound.sockets]
        assert len({sock.family for sock in bound.sockets}) == len(bound.sockets)
    finally:
        bound.close()


def test_a_unix_socket_is_for_owner_and_group_and_goes_when_it_is_unbound(tmp_path: Path) -> None:
    bound = server.bind("unix:ws.sock", tmp_path)
    assert stat.S_IMODE((tmp_path / "ws.sock").stat().st_mode) == 0o660
    bound.close()
    assert not (tmp_path / "ws.sock").exists()


def test_a_unix_socket_of_a_crashed_process_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(tmp_path / "ws.sock"))
    server.bind("unix:ws.sock", tmp_path).close()


def test_a_unix_socket_with_a_listener_is_taken(tmp_path: Path) -> None:
    with closing(server.bind("unix:ws.sock", tmp_path)) as other:
        other.sockets[0].listen()
        with pytest.raises(ListenError, match=r"unix:ws\.sock is already in use"):
            server.bind("unix:ws.sock", tmp_path)


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ws.sock").write_text("precious")
    with pytest.raises(ListenError, match="is there and is not a socket"):
        server.bind("unix:ws.sock", tmp_path)
    assert (tmp_path / "ws.sock").read_text() == "precious"


@pytest.mark.skipif(not is_possible(), reason="sockets are handed over on Linux alone")
def test_a_socket_file_that_cannot_be_made_is_a_fault_where_it_was_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("a file in the place of the folder")
    with pytest.raises(ListenError, match=r"cannot listen on .*: .*; change ws_service\.handoff, or write off to let"):
        server.claim(Settings(handoff="run/ws.sock"), tmp_path)
    caplog.set_level(logging.WARNING)
    assert server.claim(Settings(), tmp_path) is None
    assert "no socket is handed over: cannot listen on" in caplog.text
    assert server.claim(Settings(handoff="off"), tmp_path) is None


def test_uvicorn_is_told_what_the_settings_say() -> None:
    settings = Settings(drain="1500ms", max_message="1MiB", trusted_proxies=("10.0.0.1",))  # type: ignore[arg-type]
    config = server.server_config(create_app(settings), settings)
    assert (config.ws_max_size, config.timeout_graceful_shutdown) == (1 << 20, 2)
    assert config.forwarded_allow_ips == ["10.0.0.1/32"]
    assert config.ws_per_message_deflate
    assert (config.ws_ping_interval, config.ws_ping_timeout) == (20.0, 20.0)
    off = server.options(Settings(ws_ping_interval="off", ws_ping_timeout="1m"))  # type: ignore[arg-type]
    assert (off["ws_ping_interval"], off["ws_ping_timeout"]) == (None, 60.0)
    assert (config.access_log, config.server_header) == (False, False)


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


IMPLEMENTATIONS = ["websockets_impl.WebSocketProtocol", "websockets_sansio_impl.WebSocketsSansIOProtocol"]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("timeout", "pings", "end"), [("50ms", 1, 1011), ("off", 20, None)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_who_answers_no_ping_is_closed_after_a_time_that_can_be_set(
    implementation: str, timeout: str, pings: int, end: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = implementation.partition(".")
    chosen = getattr(importlib.import_module(f"uvicorn.protocols.websockets.{module}"), name)
    if not (hasattr(chosen, "keepalive_ping") or hasattr(chosen, "start_keepalive")):
        pytest.skip("this version of it sends no pings; uvicorn chooses the other one")
    monkeypatch.setattr("uvicorn.protocols.websockets.auto.AutoWebSocketsProtocol", chosen)
    settings = Settings(ws_ping_interval="20ms", ws_ping_timeout=timeout)  # type: ignore[arg-type]
    app = Starlette(routes=[WebSocketRoute("/echo", _echo)])
    with serving(app, settings) as at, Wire.to(int(at.rpartition(":")[2])) as client:
        client.send(handshake("/echo"))
        assert client.read_head().startswith(b"HTTP/1.1 101 ")
        for _ in range(pings):
            assert client.read_frame().opcode == 9
        if end is not None:
            assert int.from_bytes(client.read_frame().payload[:2], "big") == end


def test_every_peer_of_a_unix_socket_is_trusted() -> None:
    settings = Settings(listen="unix:ws.sock")
    assert server.server_config(create_app(settings), settings).forwarded_allow_ips == "*"
