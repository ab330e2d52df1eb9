"""Offering sockets to a service that a test plays, and waiting for what the gateway makes of it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.exchange.record import Exchange
from proxy.net.client_limits import Slot
from proxy.websocket.handoff import Handoff
from tests.proxy.adopter import Adopter, Place, place
from ws_service.handoff import protocol as wire

HEAD = b"GET /live HTTP/1.1\r\n\r\n"

ABOUT = wire.Socket("x1", "203.0.113.7", "/live", "example.com", "websocket", 1000.0)

SERVICES = "proxy.websocket.handoff_services"


def exchange(id: str = "x1") -> Exchange:
    return Exchange(id, 1000.0, 0.0, client="203.0.113.7", target="/live", host="example.com", route="websocket")


async def offer(
    handoff: Handoff,
    client: socket.socket,
    id: str = "x1",
    *,
    head: bytes = HEAD,
    is_secure: bool = False,
    timeout: float = 10,
) -> bool:
    record = exchange(id)
    slot = Slot(handoff.services.websockets, record.client)
    try:
        return await handoff.offer(
            record, slot, client.fileno(), head, b"left", is_secure=is_secure, timeout=timeout, send_timeout=60
        )
    finally:
        slot.release()  # as at the end of every exchange


@asynccontextmanager
async def connected(handoff: Handoff, path: Path, live: int = 0) -> AsyncIterator[tuple[Place, Adopter]]:
    """A service that is there when the gateway starts."""
    async with place(path) as service, asyncio.TaskGroup() as group:
        started = group.create_task(handoff.services.start())
        adopter = await service.accept(live=live)
        for _ in range(live):
            await adopter.send(wire.Live(ABOUT))
        await started
        yield service, adopter


async def settled(is_so: object) -> None:
    """Wait until the gateway has read what was sent to it: the loop turns until it is so."""
    async with asyncio.timeout(10):
        while not is_so():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0)


def warnings(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]
