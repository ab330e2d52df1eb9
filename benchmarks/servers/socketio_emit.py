"""``emit`` of python-socketio, as an ASGI app on uvicorn, with their defaults."""

import sys

import socketio
import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()
sio = socketio.AsyncServer(async_mode="asgi")


@app.post("/publish")
async def publish(request: Request) -> dict[str, str]:
    """Send the body to all."""
    await sio.emit("message", await request.json())
    return {}


if __name__ == "__main__":
    served = socketio.ASGIApp(sio, other_asgi_app=app)
    uvicorn.run(served, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", backlog=4096)
