"""What has been sent and not acknowledged, as the kernel tells it."""

from __future__ import annotations

import asyncio
import socket

from ws_service.net.unacknowledged import waiting


async def test_what_waits_is_what_the_other_side_has_not_acknowledged() -> None:
    """Also what our own kernel holds: it takes more only now and then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        far.connect(server.getsockname())
        near, _ = server.accept()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    with far:
        assert waiting(transport) is None
        transport.write(b"x" * (16 << 20))
        await asyncio.sleep(0.1)
        left = waiting(transport)
        assert left is not None
        assert left > transport.get_write_buffer_size()
        far.recv(4096)
        far.recv(4096)
        async with asyncio.timeout(10):
            while waiting(transport) == left:  # noqa: ASYNC110 - kernels tell nobody
                await asyncio.sleep(0.01)
        transport.abort()
        await asyncio.sleep(0)
