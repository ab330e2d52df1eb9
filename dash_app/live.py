"""A WebSocket endpoint of one's own, in FastAPI. The service imports this module and nothing of Dash."""

import asyncio
import json
import time

import psutil
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

PERIOD = 0.1  # seconds between two samples: about what an eye can follow in a chart

router = APIRouter()


class Telemetry:
    """The load of this machine, sampled by one task for any number of WebSockets; a slow one skips samples."""

    def __init__(self) -> None:
        self.newest, self.fresh = "", asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def sample(self) -> None:
        """Measure, and wake all who wait."""
        cores = psutil.cpu_percent(percpu=True)
        while True:
            await asyncio.sleep(PERIOD)
            # The kernel counts in ticks of 10 ms, too coarse for a tenth of a second: about the last half is shown.
            now = psutil.cpu_percent(percpu=True)
            cores = [round(old + 0.3 * (new - old), 1) for old, new in zip(cores, now, strict=False)]
            load = {"cpu": round(sum(cores) / len(cores), 1), "memory": psutil.virtual_memory().percent}
            self.newest = json.dumps({"t": round(time.time() * 1000), **load, "cores": cores})
            woken, self.fresh = self.fresh, asyncio.Event()
            woken.set()


telemetry = Telemetry()


async def send_samples(websocket: WebSocket) -> None:
    """Send each sample to one browser or, when the last took long to go out, the newest one."""
    while True:
        await telemetry.fresh.wait()
        await websocket.send_text(telemetry.newest)


@router.websocket("/live")
async def live(websocket: WebSocket) -> None:
    """Send samples until the browser leaves, and send back what it says: it measures the round trip."""
    await websocket.accept()
    if telemetry.task is None:
        telemetry.task = asyncio.get_running_loop().create_task(telemetry.sample(), name="telemetry")
    try:
        async with asyncio.TaskGroup() as tasks:
            samples = tasks.create_task(send_samples(websocket), name="live: samples")
            while (message := await websocket.receive())["type"] == "websocket.receive":
                await websocket.send_text(message.get("text") or "")
            samples.cancel()
    except* WebSocketDisconnect:
        pass  # it left while something was sent
