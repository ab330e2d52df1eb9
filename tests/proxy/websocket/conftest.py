"""A gateway's side of the hand-off, and a client's socket to hand over."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.exchange.record import Exchange
from proxy.net.client_limits import ClientCounter
from proxy.websocket.handoff import Handoff


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ws.sock"


@pytest.fixture
def ends() -> list[Exchange]:
    return []


@pytest.fixture
async def handoff(path: Path, ends: list[Exchange]) -> AsyncIterator[Handoff]:
    made = Handoff(path, ends.append, ClientCounter())
    yield made
    made.services.close()


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """The gateway's end of a client's connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours
