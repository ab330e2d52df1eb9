"""Publishes prices. A random walk stands in for your source: a market's API, a database, a sensor."""

import random
import time
from datetime import datetime

from ws_service import publish

prices = {"AAPL": 189.2, "GOOG": 188.7}

while True:
    prices = {symbol: round(price * random.uniform(0.999, 1.001), 2) for symbol, price in prices.items()}
    now = datetime.now().isoformat()
    publish("prices", prices)
    publish("points", {"x": [[now]] * len(prices), "y": [[price] for price in prices.values()]})
    time.sleep(0.5)
