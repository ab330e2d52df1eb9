"""What comes before HTTP is read to its last byte and no further, or left where it is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from proxy.listener.first_bytes import read_proxy_header, wait_for_client_hello
from proxy.listener.proxy_protocol import HeaderError

HEADER = b"PROXY TCP4 198.51.100.7 192.0.2.1 56324 443\r\n"
HELLO = b"\x16\x03\x01\x00\x08\x01\x00\x00\x04rest"

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with accepted, client:
            yield accepted, client


async def after_turns(action: object, *arguments: object) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    action(*arguments)  # type: ignore[operator]


@pytest.mark.parametrize("cut", range(0, len(HEADER), 5))
async def test_a_proxy_header_in_pieces_is_taken_and_what_follows_is_left(pair: Pair, cut: int) -> None:
    accepted, client = pair
    client.sendall(HEADER[:cut])
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(read_proxy_header(accepted))
        await after_turns(client.sendall, HEADER[cut:] + b"GET /")
    assert (reading.result().size, reading.result().address) == (len(HEADER), "198.51.100.7")
    assert accepted.recv(100) == b"GET /"


async def test_what_is_no_proxy_header_is_an_error(pair: Pair) -> None:
    accepted, client = pair
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(HeaderError):
        await read_proxy_header(accepted)


@pytest.mark.parametrize("read", [read_proxy_header, wait_for_client_hello])
async def test_a_client_that_ends_before_it_has_sent_anything_is_an_error(pair: Pair, read: object) -> None:
    accepted, client = pair
    client.close()
    with pytest.raises(ConnectionError):
        await read(accepted)  # type: ignore[operator]


@pytest.mark.parametrize("cut", range(0, len(HELLO), 3))
async def test_a_client_hello_in_pieces_is_waited_for_and_left(pair: Pair, cut: int) -> None:
    accepted, client = pair
    client.sendall(HELLO[:cut])
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(wait_for_client_hello(accepted))
        await after_turns(client.sendall, HELLO[cut:])
        await waiting
    assert accepted.recv(100) == HELLO


async def test_a_client_that_ends_in_its_hello_is_an_error(pair: Pair) -> None:
    accepted, client = pair
    client.sendall(HELLO[:-1])
    client.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError, match="too early"):
        await wait_for_client_hello(accepted)


async def test_a_client_that_speaks_http_is_told_to_use_https(pair: Pair) -> None:
    accepted, client = pair
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with pytest.raises(ConnectionError):
        await wait_for_client_hello(accepted)
    assert client.recv(4096).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_cancelling_leaves_the_socket_unwatched(pair: Pair) -> None:
    accepted, _ = pair
    for read in (read_proxy_header, wait_for_client_hello):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await read(accepted)
        assert not asyncio.get_running_loop().remove_reader(accepted)
