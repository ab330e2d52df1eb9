"""Connections to the API: kept, checked before use, with an end to every wait."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.ws_service.publisher.api_server import Api, running_api
from ws_service.publisher import connections
from ws_service.publisher.connections import Connection, Pool
from ws_service.publisher.hub_address import HubAddress, Place


def address_of(api: Api) -> HubAddress:
    place = (
        Place("", 0, path=api.url[5:])
        if api.url.startswith("unix:")
        else Place("127.0.0.1", int(api.url.rpartition(":")[2]))
    )
    return HubAddress(place, api.url, "", "the-key", "", "")


def soon() -> float:
    return time.monotonic() + 5


BODY = b'{"channel":"a","data":1}'


def test_a_connection_is_used_again(api: Api) -> None:
    address, pool = address_of(api), Pool()
    connection = Connection(address.place, soon())
    for _ in range(3):
        status, answer = connection.ask(address, BODY, soon())
        assert (status, answer[:9]) == (200, b'{"result"')
        pool.give(connection)
        assert pool.take(address.place) is connection
    connection.close()
    assert api.connections == 1
    assert b"\nx-api-key: the-key\n" in api.heads[0].lower()
    assert api.heads[0].startswith(b"POST /api/publish HTTP/1.1\n")


def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    with running_api(tmp_path / "s") as api:
        address = address_of(api)
        connection = Connection(address.place, soon())
        assert connection.ask(address, BODY, soon())[0] == 200
        connection.close()


def test_a_connection_that_the_other_side_has_closed_is_not_used(api: Api) -> None:
    api.closes_after = 1
    address, pool = address_of(api), Pool()
    connection = Connection(address.place, soon())
    connection.ask(address, BODY, soon())
    api.closed.wait(5)
    pool.give(connection)
    assert pool.take(address.place) is None


def test_a_connection_to_another_place_is_not_used(api: Api) -> None:
    address, pool = address_of(api), Pool()
    pool.give(Connection(address.place, soon()))
    assert pool.take(Place("127.0.0.1", 1)) is None


def test_no_more_idle_connections_are_kept_than_a_number(api: Api) -> None:
    address, pool = address_of(api), Pool()
    for _ in range(20):
        pool.give(Connection(address.place, soon()))
    kept = []
    while (connection := pool.take(address.place)) is not None:
        kept.append(connection)
    assert len(kept) == 16
    for connection in kept:
        connection.close()


def test_a_connection_over_tls_is_verified_and_used_again(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    files = authority.issue()
    api.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    api.tls.load_cert_chain(files["certificate"], files["key"])
    address, pool = address_of(api), Pool()
    place = address.place._replace(is_tls=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        Connection(place, soon())
    monkeypatch.setattr(connections, "_tls", authority.client)
    pool.give(Connection(place, soon()))
    for _ in range(3):
        connection = pool.take(place)
        assert connection is not None
        assert connection.ask(address, BODY, soon())[0] == 200
        pool.give(connection)
    assert api.connections == 2
    pool.close()


def test_a_server_that_does_not_answer_is_a_timeout(api: Api) -> None:
    api.answer = lambda number: None
    address = address_of(api)
    connection = Connection(address.place, soon())
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connection.ask(address, BODY, began + 0.1)
    assert not connection.is_usable()


@pytest.mark.parametrize("byte", [b"H", b"\n"])
def test_a_server_that_answers_a_byte_at_a_time_is_a_timeout(byte: bytes) -> None:
    """A socket's timeout begins anew with each byte."""
    is_over = threading.Event()

    def drip() -> None:
        sock, _ = listener.accept()
        with suppress(OSError), sock:
            sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not is_over.wait(0.02):
                sock.sendall(byte)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = threading.Thread(target=drip, name="drips")
        dripping.start()
        place = Place("localhost", listener.getsockname()[1])
        connection = Connection(place, soon())
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            connection.ask(HubAddress(place, "", "", "the-key", "", ""), BODY, began + 0.2)
        assert time.monotonic() - began < 2
        is_over.set()
        dripping.join(5)


def test_an_answer_that_is_no_http_is_an_error_of_http(api: Api) -> None:
    connection = Connection(address_of(api).place, soon())
    ours, theirs = socket.socketpair()
    connection._sock.close()
    connection._sock = ours
    theirs.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx")
    with theirs, pytest.raises(HTTPException, match="no HTTP"):
        connection.ask(address_of(api), BODY, soon())
    assert not connection.is_usable()


def test_an_answer_that_is_too_large_ends_the_connection(api: Api) -> None:
    api.answer = lambda number: (200, b"x" * 100_000)
    address = address_of(api)
    connection = Connection(address.place, soon())
    assert len(connection.ask(address, BODY, soon())[1]) == 64 << 10
    assert not connection.is_usable()


def test_a_name_that_no_host_can_have_is_an_error_of_the_connection() -> None:
    with pytest.raises(OSError, match="no name that a host can have"):
        Connection(Place("a" * 64, 1), soon())


def test_a_deadline_that_has_passed_opens_no_connection(api: Api) -> None:
    with pytest.raises(TimeoutError):
        Connection(address_of(api).place, time.monotonic())
    assert api.connections == 0
