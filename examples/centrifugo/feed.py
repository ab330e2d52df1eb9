"""Publishes a line every second."""

import time
from datetime import datetime

from ws_service import publish

while True:
    publish("log", f"{datetime.now():%H:%M:%S} all is well\n")
    time.sleep(1)
