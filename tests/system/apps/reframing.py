"""A proxy that makes WebSocket frames of its own, as some in Python do: ``python reframing.py PORT UPSTREAM``.

Messages have aiohttp's limit of 4 MiB; subprotocols, compression and close codes do not get through.
"""

import asyncio
import sys

from aiohttp import ClientSession, DummyCookieJar, WSMsgType, WSServerHandshakeError, web

PORT, UPSTREAM = int(sys.argv[1]), sys.argv[2]
OF_CONNECTION = {"connection", "upgrade", "transfer-encoding", "content-length", "content-encoding", "keep-alive"}


async def pump(source, sink):
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)


async def back_to(here, there):
    await pump(there, here)
    await here.close()


async def websocket(request, session):
    fields = {name: request.headers[name] for name in ("Host", "Origin", "Cookie") if name in request.headers}
    async with session.ws_connect(UPSTREAM + request.path_qs, headers=fields) as there:
        here = web.WebSocketResponse(compress=False)
        await here.prepare(request)
        back = asyncio.get_running_loop().create_task(back_to(here, there), name="back to the client")
        await pump(here, there)
    await back
    return here


async def handle(request):
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        if request.headers.get("Upgrade") == "websocket":
            try:
                return await websocket(request, session)
            except WSServerHandshakeError as error:
                return web.Response(status=error.status)
        fields = {name: value for name, value in request.headers.items() if name.lower() not in OF_CONNECTION}
        async with session.request(
            request.method, UPSTREAM + request.path_qs, headers=fields, allow_redirects=False
        ) as response:
            kept = [(name, value) for name, value in response.headers.items() if name.lower() not in OF_CONNECTION]
            answer = web.StreamResponse(status=response.status, headers=dict(kept))
            await answer.prepare(request)
            async for part in response.content.iter_any():
                await answer.write(part)
            return answer


async def started(_):
    print("reframing proxy ready", flush=True)


app = web.Application()
app.router.add_route("*", "/{path:.*}", handle)
app.on_startup.append(started)
web.run_app(app, host="127.0.0.1", port=PORT, print=None, shutdown_timeout=0.1)
