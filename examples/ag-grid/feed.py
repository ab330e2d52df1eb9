"""Publishes what has changed: a few rows at a time, and all of them now and then."""

import random
import time

from ws_service import publish

MACHINES = [f"press-{number:02}" for number in range(1, 41)]
STATES = ["running"] * 8 + ["waiting", "stopped"]

EVERY = 0.25  # seconds between two messages
ALL_AFTER = 50  # messages. The topic keeps the newest 100, so that all rows are among them when a page is opened


def step(row: dict) -> None:
    """Make up what a machine does next. Yours would be read from a controller or a database."""
    row["state"] = random.choice(STATES)
    row["temperature"] = round(row["temperature"] + random.uniform(-1, 1), 1)
    row["parts"] += row["state"] == "running"


def main() -> None:
    rows = [{"id": name, "state": "running", "temperature": 60.0, "parts": 0} for name in MACHINES]
    since_all = ALL_AFTER
    while True:
        changed = random.sample(rows, 3)
        for row in changed:
            step(row)
        sends_all = since_all >= ALL_AFTER
        done = publish("machines", {"update": rows if sends_all else changed})
        since_all = ALL_AFTER if done is None else 0 if sends_all else since_all + 1  # None: the hub is not there
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
