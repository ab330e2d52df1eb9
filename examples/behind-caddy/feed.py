"""Publishes the time."""

import time
from datetime import datetime

from ws_service import publish

while True:
    publish("clock", f"{datetime.now():%H:%M:%S}")
    time.sleep(1)
