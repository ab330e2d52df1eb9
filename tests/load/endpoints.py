"""Endpoints for whoever wants the service to hold something: an echo, and four that do one thing each, or nothing."""

import asyncio

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()

PIECE = bytes(65536)


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


@app.websocket("/drop")
async def drop(websocket: WebSocket) -> None:
    """Receive, and say nothing."""
    await websocket.accept()
    while (await websocket.receive())["type"] == "websocket.receive":
        pass


@app.websocket("/deaf")
async def deaf(websocket: WebSocket) -> None:
    """Accept, and never receive."""
    await websocket.accept()
    await asyncio.Event().wait()


@app.websocket("/flood")
async def flood(websocket: WebSocket) -> None:
    """Send without end."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_bytes(PIECE)
    except WebSocketDisconnect:
        pass


@app.websocket("/never")
async def never(websocket: WebSocket) -> None:
    """Neither accept nor refuse."""
    await asyncio.Event().wait()
