"""The area ``messages``: sockets that are compared with themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from proxy.doctor.messages import HUB_PROTOCOL, probe
from proxy.doctor.probe import Outcome, Skipped
from tests.proxy.doctor.site import HTML, SOCKET, Site, page, set_up

PATHS = {"/connection/websocket": "hub", "/_dash-ws-callback": "dash", "/echo": "echo"}


@dataclass
class Sockets(Site):
    """Has a hub, Dash's own WebSocket and an echo, of which ``lost`` names what does not get through."""

    lost: str = ""
    paths: set[str] = field(default_factory=lambda: set(PATHS))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/":
            return web.Response(text=page(websocket=SOCKET), content_type=HTML)
        if request.path not in self.paths:
            return web.Response(status=403)
        socket = web.WebSocketResponse(
            compress=self.lost != "compression",
            protocols=() if self.lost == "protocol" else (HUB_PROTOCOL,),
            max_msg_size=4 << 20 if self.lost == "large" else 8 << 20,
        )
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self.reply(socket, PATHS[request.path], message.data)
        return socket

    async def reply(self, socket: web.WebSocketResponse, kind: str, text: str) -> None:
        if kind == "hub":
            await socket.close(code=1000 if self.lost == "code" else 3501)
        else:
            await socket.send_str('{"type": "heartbeat_ack"}' if kind == "dash" else text)


async def outcome_of(folder: Path, direct: Sockets, gateway: Sockets, echo: str | None = "/echo") -> Outcome:
    async with set_up(folder, direct, gateway) as target:
        target.ws, target.echo = target.dash, echo  # one server is both
        return await probe(target)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("", set()),
        ("compression", {"DW061"}),
        ("protocol", {"DW062"}),
        ("large", {"DW063"}),
        ("code", {"DW064"}),
    ],
)
async def test_each_loss_on_the_way_is_a_finding(tmp_path: Path, lost: str, expected: set[str]) -> None:
    outcome = await outcome_of(tmp_path, Sockets(), Sockets(lost=lost))
    assert {finding.id for finding in outcome.findings} == expected
    assert outcome.seen.startswith("/echo and /connection/websocket and /_dash-ws-callback: ")


async def test_what_the_program_itself_does_not_have_is_no_finding(tmp_path: Path) -> None:
    for lost in ("compression", "protocol", "large", "code"):
        assert (await outcome_of(tmp_path, Sockets(lost=lost), Sockets(lost=lost))).findings == []


async def test_without_an_echo_a_large_message_goes_to_dash_alone(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, Sockets(), Sockets(lost="large"), echo=None)
    assert {finding.id for finding in outcome.findings} == {"DW063"}
    hub = {"/connection/websocket"}
    outcome = await outcome_of(tmp_path, Sockets(paths=hub), Sockets(paths=hub), echo=None)
    assert outcome.seen.endswith("no endpoint for a large message, --echo PATH names one")


async def test_sockets_that_do_not_open_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="no WebSocket opens that could be compared"):
        await outcome_of(tmp_path, Sockets(), Sockets(paths=set()))
