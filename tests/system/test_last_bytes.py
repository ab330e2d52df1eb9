"""What either end says last reaches the other, though it closes while bytes for it are still on their way."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.system.gateway import running_gateway, serving
from tests.system.handoff import WAYS, code_of, gateway_by, open_socket, running_service
from tests.wire.connection import Wire
from tests.wire.frames import close_frame, frame
from tests.wire.messages import answer, handshake, request, switching

CLIENTS = 20
MIB = 1 << 20
MASK = b"\x01\x02\x03\x04"


def code_after(client: Wire, size: int) -> int:
    """Send a message of so many bytes as fast as it goes; return the code of the close frame that comes."""
    client.deadline = 60
    sender = client.send_later(frame(1, b"x" * size, mask=MASK))
    code = code_of(client.read_frame())
    client.close()
    sender.join()
    return code


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1.1, 3, 20])
def test_every_client_hears_that_its_message_is_too_large(tmp_path: Path, way: str, size: float) -> None:
    """1012, or nothing, would make it come back and send the same again."""
    with running_service(tmp_path, max_message="1MiB") as service, gateway_by(way, tmp_path, service) as gateway:
        clients = [open_socket(gateway) for _ in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            codes = Counter(pool.map(code_after, clients, [int(size * MIB)] * CLIENTS))
    assert codes == {1009: CLIENTS}


def test_a_close_frame_of_the_client_reaches_the_upstream_before_its_reset(tmp_path: Path) -> None:
    heard: list[int] = []

    def play(wire: Wire) -> None:
        wire.read_head()
        wire.send(switching())
        sender = wire.send_later(frame(2, bytes(3 * MIB)))
        heard.append(code_of(wire.read_frame()))
        sender.join()

    with serving(play) as url, running_gateway(tmp_path, dash=url) as gateway:
        for _ in range(CLIENTS):
            client = gateway.dial(receive_buffer=4096)
            client.send(handshake())
            client.read_head()
            client.send(close_frame(1001, mask=MASK))
            client.reset()
        gateway.process.wait_for_count("tunnel closed", CLIENTS)
    assert heard == [1001] * CLIENTS


@pytest.mark.parametrize("size", [0, 40_000])
def test_an_upload_that_is_refused_half_way_gets_the_refusal(tmp_path: Path, size: int) -> None:
    """As Dash's own limit does it: 413, and a close with the rest unread, which resets the connection."""

    def play(wire: Wire) -> None:
        wire.read_head()
        wire.send(answer("413 Content Too Large", "Connection: close", body=bytes(size)))
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(play) as url, running_gateway(tmp_path, dash=url, limits={"uploads_per_client": None}) as gateway:
        for _ in range(CLIENTS):
            client = gateway.dial()
            client.send(request("POST /", f"Content-Length: {20 * MIB}"))
            sender = client.send_later(bytes(20 * MIB))
            told = client.read_message()
            assert (told.status, len(told.body)) == (413, size)
            client.close()
            sender.join()
