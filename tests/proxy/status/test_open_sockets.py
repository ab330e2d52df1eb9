"""Which of the open WebSockets are listed, and how."""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import pytest

from proxy.exchange.record import Exchange
from proxy.status.open_sockets import LONGEST, OpenSocket, merged, path_of, tunnelled
from proxy.status.query import Query
from proxy.websocket.tunnel import Tunnel
from tests.proxy.status.stand_ins import record, tunnel, tunnels


async def listed(known: dict[Tunnel, Exchange], query: Query, now: float = 200.0) -> list[OpenSocket]:
    return await tunnelled(known, query, lambda: now)


@pytest.mark.parametrize("count", [5, 2500])  # one piece, and several
async def test_sockets_are_listed_by_age_or_by_what_they_were_sent(count: int) -> None:
    known = tunnels(count)

    async def ids(query: Query) -> list[str]:
        return [one.id for one in await listed(known, query)]

    assert await ids(Query("oldest", 2)) == ["id0", "id1"]
    assert await ids(Query("newest", 2)) == [f"id{count - 1}", f"id{count - 2}"]
    assert await ids(Query("sent", 2)) == [f"id{count - 1}", f"id{count - 2}"]
    assert await ids(Query(find=f"/live/{count - 1}")) == [f"id{count - 1}"]
    assert await ids(Query(limit=0)) == []


async def test_each_has_its_age_and_its_bytes() -> None:
    (one,) = await listed(tunnels(4), Query("newest", 1), 110.04)
    assert (one.kind, one.path, one.age, one.received, one.sent, one.idle) == ("tunnel", "/live/3", 7.0, 3, 30, None)


async def test_text_is_looked_for_in_the_client_and_the_path_alone() -> None:
    known = tunnels(3, "/live?token=secret", "/chat/live")
    known[tunnel()] = record(9, "/x", client="198.51.100.7")

    async def found(find: str) -> list[str]:
        return [one.id for one in await listed(known, Query(find=find))]

    assert await found("/live") == ["id0", "id1", "id2"]
    assert await found("chat") == ["id1"]
    assert await found("100.7") == ["id9"]
    assert await found("secret") == []


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/live", "/live"),
        ("/live?token=x", "/live"),
        ("/live;jsessionid=x", "/live"),
        ("/live%3btoken=x", "/live"),
        ("/live%253Ftoken=x", "/live"),
        ("/<script>alert(1)</script>", "/<script>alert(1)</script>"),
        ("/" + "x" * LONGEST, "/" + "x" * (LONGEST - 1) + "…"),
        ("/%" * 8000, "/%" * (LONGEST // 2) + "…"),
    ],
)
def test_a_path_has_no_parameters_and_is_cut(target: str, path: str) -> None:
    assert path_of(target) == path


async def test_lists_of_several_processes_are_one_in_the_same_order() -> None:
    query = Query("oldest", 3)
    first, second = [await listed(tunnels(3), query, now) for now in (200.0, 200.5)]
    assert [one.age for one in merged([first, second], query)] == [100.5, 100.0, 99.5]
    assert [one.age for one in merged([first, second], Query("newest", 2))] == [98.0, 98.5]
    assert [one.sent for one in merged([first, second], Query("sent", 3))] == [20, 20, 10]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells when bytes were last received")
async def test_the_last_bytes_are_those_of_the_kernel_in_either_direction() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        gateway, _ = listener.accept()
    with client, gateway, socket.socket(socket.AF_UNIX) as unix:
        gateway.send(b"101")
        await asyncio.sleep(0.25)
        for sockets in ({"client": gateway}, {"client": unix, "upstream": gateway}):
            (one,) = await listed({tunnel(**sockets): record(0)}, Query())
            assert one.idle is not None
            assert 0.2 <= one.idle < 5
        began = time.monotonic()
        client.send(b"frame")
        gateway.recv(5)
        (one,) = await listed({tunnel(client=gateway): record(0)}, Query())
        assert one.idle is not None
        assert one.idle < time.monotonic() - began + 0.1, "it has tenths, and the kernel counts its ticks"
