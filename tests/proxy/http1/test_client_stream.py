"""One exchange as the gateway sees it; the connection behind it is in ``test_client_connection``."""

from __future__ import annotations

from typing import Any, cast

import pytest

from proxy.http1.client_stream import ClientStream, RequestBody
from proxy.http1.headers import Fields, Head


class Connection:
    """A connection that has ended, or one that goes on."""

    is_leaving = is_gone = False
    peer = None

    @property
    def manager(self) -> Connection:
        return self

    @property
    def socket(self) -> Connection:
        return self


def stream(version: tuple[int, int], fields: Fields, connection: Connection) -> ClientStream:
    return ClientStream(cast(Any, connection), Head("GET", "/", version, fields), RequestBody(), began=0)


@pytest.mark.parametrize(
    ("version", "values", "kept"),
    [
        ((1, 1), [], True),
        ((1, 0), [], False),
        ((1, 1), [b"close"], False),
        ((1, 1), [b"Keep-Alive, Close"], False),
        ((1, 0), [b"x, keep-alive"], True),
        ((1, 1), [b"x"], True),
        ((1, 1), [b"a," * 3000], False),
    ],
)
def test_keep_alive_is_what_version_and_connection_say(
    version: tuple[int, int], values: list[bytes], kept: bool
) -> None:
    fields = (*((b"Connection", value) for value in values), (b"Proxy-Connection", b"close"))
    connection = Connection()
    assert stream(version, fields, connection).wants_keep_alive == kept
    connection.is_leaving = True
    assert not stream(version, fields, connection).wants_keep_alive


def test_nothing_is_written_to_a_client_that_has_left() -> None:
    connection = Connection()
    connection.is_gone = True
    client = stream((1, 1), (), connection)
    client.write_interim(b"103")
    with pytest.raises(ConnectionResetError):
        client.write(b"200")
    assert not client.has_written


async def test_a_whole_body_is_read_once() -> None:
    body = RequestBody(b"abc")
    await body.wait_whole()
    assert (body.size, body.is_whole) == (3, True)
    assert [await body.read(), await body.read(), body.read_nowait()] == [b"abc", b"", b""]
