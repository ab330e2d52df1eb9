"""A stand-in for an exchange, on this machine: its trades are made up. With EXCHANGE_URL a real one takes its place."""

import asyncio
import json
import os
import random
from datetime import UTC, datetime

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def trades(client: ServerConnection) -> None:
    """Send trades until the client leaves, in the form of Coinbase Exchange's channel "matches"."""
    try:
        wanted = json.loads(await client.recv())
        price = 100.0
        while True:
            price *= 1 + random.gauss(0, 0.0005)
            trade = {"type": "match", "product_id": wanted["product_ids"][0], "price": f"{price:.2f}", "size": "0.1"}
            await client.send(json.dumps({**trade, "time": datetime.now(UTC).isoformat()}))
            await asyncio.sleep(random.expovariate(5))
    except ConnectionClosed:
        pass


async def main(port: int) -> None:
    async with serve(trades, "127.0.0.1", port) as server:
        print(f"a stand-in for an exchange, with trades that are made up, on ws://127.0.0.1:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(os.environ.get("EXCHANGE_PORT", "8766"))))
