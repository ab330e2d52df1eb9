"""Unmodified clients of Centrifugo's protocol as processes: npm ``centrifuge`` and PyPI's ``centrifuge-python``.

Both are told the same and say the same::

    with running_client("js", hub.url) as client:
        client.connect()
        client.subscribe("prices")
        assert client.wait_for("publication")["data"] == {"AAPL": 189.2}
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from tests.processes import ROOT, python
from tests.system.hub.node import node_modules

KINDS = ("js", "python")

DEADLINE = 20.0
"""Seconds for whatever is expected; only a failure waits that long."""

Event = dict[str, Any]


class Refused(Exception):
    """The server has refused what the client asked for. code: of the protocol; None where the client has none."""

    def __init__(self, code: int | None, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class RealClient:
    """One client. What it says is kept until it is asked for."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self._events: list[Event] = []
        self._heard: list[str] = []
        self._changed = threading.Condition()
        self._numbers = count(1)
        self._reader = threading.Thread(target=self._read, name="a client's events", daemon=True)
        self._reader.start()
        self.wait_for("ready")

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            with self._changed:
                self._heard.append(line)
                if line.startswith('{"event"'):
                    self._events.append(json.loads(line))
                self._changed.notify_all()

    def do(self, action: str, **given: object) -> Any:
        """Have the client do something and return its result; Refused if the server does not want it."""
        assert self._child.stdin is not None
        number = next(self._numbers)
        self._child.stdin.write(json.dumps({"id": number, "action": action, **given}) + "\n")
        self._child.stdin.flush()
        result = self.wait_for("result", id=number)
        if "message" in result:
            raise Refused(result["code"], result["message"])
        return result.get("value")

    def connect(self) -> str:
        """Connect; return the id that the server gave the connection."""
        self.do("connect")
        return str(self.wait_for("connected")["client"])

    def subscribe(self, topic: str, **given: object) -> Event:
        """Subscribe to a topic, and wait until it is so; return the event. given: token, tokens, recoverable, since."""
        self.do("subscribe", topic=topic, **given)
        return self.wait_for("subscribed", topic=topic)

    def wait_for(self, event: str, *, timeout: float = DEADLINE, **fields: object) -> Event:
        """Wait for an event with these fields, take it out of those that are kept, and return it."""
        wanted = {"event": event, **fields}
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for number, found in enumerate(self._events):
                    if wanted.items() <= found.items():
                        return self._events.pop(number)
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() > deadline:
                    raise AssertionError(f"no {wanted} within {timeout:g} s; heard:\n{''.join(self._heard)[-5000:]}")

    def wait_for_all(self, event: str, number: int, **fields: object) -> list[Event]:
        """Wait for so many events, and return them in their order."""
        return [self.wait_for(event, **fields) for _ in range(number)]

    def publications(self, topic: str, number: int) -> list[Any]:
        """Wait for so many publications of a topic, and return their data in their order."""
        return [event["data"] for event in self.wait_for_all("publication", number, topic=topic)]

    def kept(self, event: str, **fields: object) -> list[Event]:
        """Return the events like this that have come and were not asked for."""
        wanted = {"event": event, **fields}
        with self._changed:
            return [found for found in self._events if wanted.items() <= found.items()]

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.wait()
        self._reader.join(DEADLINE)
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def running_client(
    kind: str, url: str, *, token: str | None = None, tokens: list[str] | None = None
) -> Iterator[RealClient]:
    """Run a client for the length of a ``with`` block. kind: one of ``KINDS``.

    token: of the connection; None: it has none. tokens: given out one by one when the client asks for one.
    """
    here = Path(__file__).parent
    options = json.dumps({"url": url, "token": token, "tokens": tokens})
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    if kind == "js":
        env["NODE_PATH"] = str(node_modules())
        argv = ["node", str(here / "js_client.cjs"), options]
    else:
        argv = python(here / "py_client.py", options)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    client = RealClient(subprocess.Popen(argv, env=env, text=True, **pipes))  # type: ignore[call-overload]
    try:
        yield client
    finally:
        client.close()
