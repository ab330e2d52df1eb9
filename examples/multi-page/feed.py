"""Publishes the values of a plant that is made up."""

import random
import time
from datetime import datetime

from ws_service import publish

power, alarms = 400.0, 0

while True:
    power = max(0.0, power + random.uniform(-5, 5))
    publish("power", {"kw": f"{power:.1f}", "point": {"x": datetime.now().isoformat(), "y": power}})
    if random.random() < 0.1:
        alarms += 1
        publish("alarms", {"count": alarms})
    time.sleep(0.5)
