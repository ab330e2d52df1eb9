"""Which upgrades at the listener are the hub's, and which client each is of."""

from __future__ import annotations

from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.ws_service.hub.sockets import TakingHub
from ws_service.hub.tunnelled import Chooser
from ws_service.websocket.resources import Resources


def scope(client: Any = ("127.0.0.1", 5), *fields: tuple[bytes, bytes]) -> dict[str, Any]:
    """Return what uvicorn knows at an upgrade: without a path."""
    return {"type": "http", "client": client, "scheme": "http", "headers": list(fields)}


def config(**options: Any) -> uvicorn.Config:
    return uvicorn.Config(lambda *_: None, log_config=None, **options)


TARGET = b"/app/connection%2Fwebsocket?a=1"
FORWARDED = (b"x-forwarded-for", b"203.0.113.9")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (scope(("127.0.0.1", 5), FORWARDED), "203.0.113.9"),
        (scope(("127.0.0.1", 5)), "127.0.0.1"),
        (scope(("198.51.100.1", 5), FORWARDED), "198.51.100.1"),
        (scope(None), "unix"),
    ],
)
async def test_the_client_is_whom_a_trusted_peer_names(given: dict[str, Any], address: str) -> None:
    hub, state = TakingHub(), ServerState()
    make = Chooser(hub, Resources(1 << 20))(TARGET, given, config(forwarded_allow_ips="127.0.0.1"))
    assert make is not None
    made = make(config=None, server_state=state, app_state={})
    assert made._address == address


async def test_a_listener_that_trusts_no_forwarding_has_its_peers_as_clients() -> None:
    make = Chooser(TakingHub(), Resources(1 << 20))(
        TARGET, scope(("127.0.0.1", 5), FORWARDED), config(proxy_headers=False)
    )
    assert make is not None
    assert make(config=None, server_state=ServerState(), app_state={})._address == "127.0.0.1"


def test_other_paths_are_the_apps() -> None:
    assert Chooser(TakingHub(), Resources(1 << 20))(b"/ws", scope(), config()) is None
