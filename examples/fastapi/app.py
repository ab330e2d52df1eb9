"""An endpoint of your own on Dash's FastAPI backend: each page has its own stream, and changes it while it runs."""

import asyncio
import math

import dash
from dash import Input, dcc, html
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, ValidationError

EVERY = 0.1  # seconds between two samples


class Wanted(BaseModel):
    """What a page may ask for. Anything else ends its WebSocket."""

    frequency: float = Field(1.0, ge=0.1, le=2.0)  # Hz


app = dash.Dash(__name__, backend="fastapi", title="Own endpoint")
server = app.server
app.layout = html.Main(
    [
        html.H1("An endpoint of your own"),
        html.P(["The connection: ", html.Output("connecting", id="state")]),
        html.Label(["Frequency ", dcc.Input(type="range", min=0.1, max=2, step=0.1, value=1, id="frequency")]),
        html.Label(["Sample ", html.Meter(id="level", min="-1", max="1", value="0")]),
        html.P(["The server sends with ", html.Output(id="sent")]),
    ]
)
app.clientside_callback("frequency => stream.ask({frequency})", Input("frequency", "value"))


@server.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    await websocket.accept()
    wanted = Wanted()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send_samples(websocket, wanted))
            async for text in websocket.iter_text():
                wanted.frequency = Wanted.model_validate_json(text).frequency
            raise WebSocketDisconnect  # the page has left: this ends the task too
    except* WebSocketDisconnect:
        pass
    except* (ValidationError, KeyError):  # KeyError: a message that is not text
        await websocket.close(1008)


async def send_samples(websocket: WebSocket, wanted: Wanted) -> None:
    phase = 0.0
    while True:
        phase += math.tau * wanted.frequency * EVERY
        await websocket.send_json({"sample": round(math.sin(phase), 3), "frequency": wanted.frequency})
        await asyncio.sleep(EVERY)
