"""The area ``idle``: a socket that stays open, and one that is cut."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from proxy.doctor.idle import probe
from proxy.doctor.probe import Outcome, Skipped
from tests.proxy.doctor.site import HTML, Site, page, set_up


class Hub(Site):
    """Pings a client that has connected, and closes with 3012 where no answer comes; or cuts the connection."""

    is_cut = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/connection/websocket":
            return await super().answer(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert "connect" in await socket.receive_str()
        await socket.send_str("{}")
        assert await socket.receive_str() == "{}"
        if self.is_cut:
            assert request.transport is not None
            request.transport.abort()
        await socket.receive()
        return socket


async def outcome_of(folder: Path, site: Site, seconds: float, *, is_public: bool = True) -> Outcome:
    async with set_up(folder, site, is_public=is_public) as target:
        target.idle = seconds
        return await asyncio.wait_for(probe(target), 10)


async def test_a_socket_that_stays_open_and_one_that_is_cut(tmp_path: Path) -> None:
    hub = Hub({"/": (200, HTML, page())})
    assert (await outcome_of(tmp_path, hub, 0.2)).seen == "/connection/websocket stayed open for 0.2 s"
    hub.is_cut = True
    (finding,) = (await outcome_of(tmp_path, hub, 5)).findings
    assert finding.id == "DW065"
    assert finding.seen.endswith(", with 1006")


async def test_it_is_asked_at_the_public_url_alone_and_not_where_it_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="--url"):
        await outcome_of(tmp_path, Hub(), 1, is_public=False)
    with pytest.raises(Skipped, match="--idle 0"):
        await outcome_of(tmp_path, Hub(), 0)
    with pytest.raises(Skipped, match="answers 403: see callbacks and sockets above, or it needs a login"):
        await outcome_of(tmp_path, Site({"/": (200, HTML, page())}), 1)
