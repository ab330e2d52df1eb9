"""Processes that publish; nothing of Dash is in them. ``python -m dash_app.publishers feed`` runs beside Dash, as the
feed of an exchange would; ``job`` and ``answer`` are started by callbacks.
"""

import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from typing import Any

from dash_app.programs import status
from ws_service import PublishError, publish

NAMES = ("Alder", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Ivy", "Juniper", "Larch", "Maple")
ANSWER = """A callback answers the page that called it. The hub sends one message to every page that listens, from any \
process: this text comes from one that Dash knows nothing about.

Each word is a message. A page that is opened now begins with all of the text, and one that was cut off gets the words \
that it has missed."""

running: dict[str, subprocess.Popen[bytes]] = {}


def start(name: str) -> None:
    """Start ``job`` or ``answer`` in a process of its own; one of each at a time."""
    if name not in running or running[name].poll() is not None:
        running[name] = subprocess.Popen([sys.executable, "-m", "dash_app.publishers", name])


def job() -> None:
    """Tell how far the work is."""
    for percent in range(101):
        publish("job", {"percent": str(percent), "text": f"{percent} %, says process {os.getpid()}"})
        time.sleep(0.08)


def answer() -> None:
    """Publish a text word by word, as a language model would."""
    publish("stream:answer", {"reset": True, "text": ""})
    for word in ANSWER.split(" "):
        publish("stream:answer", word + " ")
        time.sleep(0.06)


def rows() -> list[dict[str, Any]]:
    """Return the table as it begins."""
    return [{"id": name, "price": 100.0, "change": 0.0} for name in NAMES]


def trade(table: list[dict[str, Any]]) -> None:
    """Change three prices, and publish the rows that have changed."""
    changed = random.sample(table, 3)
    for row in changed:
        row["price"] = round(row["price"] * random.uniform(0.99, 1.01), 2)
        row["change"] = round(row["price"] - 100, 2)
    publish("table", {"update": changed})


def tick(number: int) -> int:
    """Publish the next number; return the newest one that is published. While there is no hub, none is left out."""
    with suppress(PublishError):
        publish("ticks:clock", {"n": number + 1}, raise_errors=True)
        number += 1
    return number


def feed() -> None:
    """Publish until the process is stopped."""
    table, number = rows(), int(time.time() * 10)
    for turn in count():
        time.sleep(0.1)
        before, number = number, tick(number)
        if number > before and turn % 3 == 0:
            trade(table)
        if number > before and turn % 10 == 0:
            with suppress(OSError):  # the gateway restarts
                publish("figures", status() | {"sent": time.time() * 1000})


if __name__ == "__main__":
    {"feed": feed, "job": job, "answer": answer}[sys.argv[1]]()
