"""Run blocks of Python, each in a process of its own that has Dash imported already.

Standard input: JSON, a list of [folder, text]. Standard output: JSON, for each what went wrong, or "". The folder is
the working directory and the first place of imports; a text that begins with ``# name.py`` is written there too, for
those that come after it. Each Dash app that a text makes is asked for its page, its layout and its callbacks.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dash
import fastapi
import flask
import uvicorn

import ws_service
import ws_service.dash  # noqa: F401 - imported once, for all

TIMEOUT = 30
"""Seconds for one block."""

ASKED = ("", "_dash-layout", "_dash-dependencies")


class Enough(BaseException):
    """A loop without an end has gone round twice."""


def run(folder: str, text: str) -> str:
    """Run a text in a child, and return what went wrong, or ""."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os._exit(_in_the_child(folder, text))
        _, status = os.waitpid(child, 0)
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
    return "" if status == 0 else f"{said}\n(status {os.waitstatus_to_exitcode(status)})"


def _in_the_child(folder: str, text: str) -> int:
    signal.alarm(TIMEOUT)
    os.chdir(folder)
    sys.path.insert(0, folder)
    _end_endless_loops()
    dash.Dash.run = lambda self, *args, **kwargs: None  # type: ignore[method-assign]
    uvicorn.run = lambda *args, **kwargs: None
    name = re.match(r"# (\w+\.py)\n", text)
    path = Path(name[1]) if name else Path("block.py")
    path.write_text(text)
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path.resolve())}
    sys.modules["__main__"].__dict__.update(names)
    try:
        exec(compile(text, str(path), "exec"), names)
        _ask_apps(names)
    except Enough:
        pass
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _end_endless_loops() -> None:
    rounds = iter((False, False))

    def sleep(_: float) -> None:
        if next(rounds, True):
            raise Enough

    async def sleep_async(_: float, result: object = None) -> object:
        sleep(0)
        return result

    time.sleep = sleep
    asyncio.sleep = sleep_async  # type: ignore[assignment]


def _ask_apps(names: Mapping[str, Any]) -> None:
    for app in {id(value): value for value in names.values() if isinstance(value, dash.Dash) and value.layout}.values():
        prefix = app.config.requests_pathname_prefix
        for path in ASKED:
            status = _get(app.server, prefix + path)
            assert status < 400, f"GET {prefix}{path} is answered with {status}"


def _get(server: Any, path: str) -> int:
    """Ask a server for a path without a network, and return the status."""
    if isinstance(server, flask.Flask):
        return server.test_client().get(path).status_code
    assert isinstance(server, fastapi.FastAPI), type(server)
    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "scheme": "http", "http_version": "1.1", "server": ("localhost", 80), "root_path": ""}
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    asyncio.run(server(scope, receive, send))
    return statuses[0]


if __name__ == "__main__":
    print(json.dumps([run(folder, text) for folder, text in json.load(sys.stdin)]))
