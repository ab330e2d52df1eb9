"""A loop over ``send_text`` in FastAPI on uvicorn, with their defaults."""

import sys

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect

app = FastAPI()
sockets: set[WebSocket] = set()


@app.websocket("/ws")
async def subscribe(websocket: WebSocket) -> None:
    """Have a subscriber until it leaves."""
    await websocket.accept()
    sockets.add(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        sockets.discard(websocket)


@app.post("/publish")
async def publish(request: Request) -> dict[str, str]:
    """Send the body to all; those that have just left are skipped."""
    text = (await request.body()).decode()
    for websocket in list(sockets):
        try:
            await websocket.send_text(text)
        except (RuntimeError, WebSocketDisconnect):
            sockets.discard(websocket)
    return {}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", backlog=4096)
