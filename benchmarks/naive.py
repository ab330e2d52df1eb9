"""The baseline: a proxy as most people would write it with aiohttp. It decodes every message and encodes it again.

``python -m benchmarks.naive PORT UPSTREAM``. It has no part in the product.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import WSMsgType, web

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse

HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}
SESSION = web.AppKey("session", aiohttp.ClientSession)
UPSTREAM = web.AppKey("upstream", str)


async def proxy(request: web.Request) -> web.StreamResponse:
    """Pass one request on."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await relay(request)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
    body = request.content if request.body_exists else None
    url = request.app[UPSTREAM] + request.raw_path
    async with request.app[SESSION].request(request.method, url, headers=headers, data=body) as answer:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        response.headers.update({name: value for name, value in answer.headers.items() if name.lower() not in HOP})
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def relay(request: web.Request) -> web.WebSocketResponse:
    """Two WebSockets, and every message of one sent on the other."""
    client = web.WebSocketResponse(max_msg_size=0)
    await client.prepare(request)
    async with request.app[SESSION].ws_connect(request.app[UPSTREAM] + request.raw_path, max_msg_size=0) as upstream:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump(client, upstream), name="from the client")
            tasks.create_task(pump(upstream, client), name="from the upstream")
    return client


async def pump(source: Socket, sink: Socket) -> None:
    """Copy messages in one direction until it ends."""
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)
    await sink.close(code=source.close_code or 1000)


async def session(app: web.Application) -> AsyncIterator[None]:
    """Keep one client session for the life of the app."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as made:
        app[SESSION] = made
        yield


def main(port: int, upstream: str) -> None:
    """Serve on a port of 127.0.0.1."""
    logging.basicConfig(level=logging.INFO)  # aiohttp writes its access log
    app = web.Application()
    app[UPSTREAM] = upstream
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", proxy)
    web.run_app(app, host="127.0.0.1", port=port, backlog=4096, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
