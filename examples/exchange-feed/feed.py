"""One connection to the exchange for all pages: what it sends is published."""

import asyncio
import json
import os
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ws_service import publish

PRODUCT = os.environ.get("PRODUCT", "DEMO-USD")
SUBSCRIBE = {"type": "subscribe", "product_ids": [PRODUCT], "channels": ["matches"]}


def shown(trade: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a trade. SUBSCRIBE and this are what another exchange needs changed."""
    price = float(trade["price"])
    return {"text": f"{price:,.2f}", "point": {"x": trade["time"], "y": price}}


async def main(url: str) -> None:
    async for exchange in connect(url):  # connects again after each end, with growing pauses
        try:
            await exchange.send(json.dumps(SUBSCRIBE))
            async for text in exchange:
                message = json.loads(text)
                if message["type"] == "match":  # there are others, of which an exchange may add more
                    await asyncio.to_thread(publish, "trades", shown(message))
        except ConnectionClosed:
            print("the exchange has closed the connection; it is opened again", flush=True)


if __name__ == "__main__":
    asyncio.run(main(os.environ["EXCHANGE_URL"]))
