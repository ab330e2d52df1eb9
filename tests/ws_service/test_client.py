"""``publish`` as it is imported: cheap, and ready after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import ws_service
from tests.ws_service.publisher.api_server import KEY, Api, running_api
from ws_service import client
from ws_service.hub.keys import KEY_VARIABLE
from ws_service.hub.publication import Position
from ws_service.publisher.hub_address import URL_VARIABLE

HEAVY = """
import sys
before = set(sys.modules)
from ws_service import publish, PublishError
heavy = {"asyncio", "aiohttp", "fastapi", "http.client", "json", "logging", "plotly", "pydantic", "uvicorn",
         "starlette", "websockets", "yaml", "ws_service.server", "ws_service.hub"}
print(sorted(heavy & (set(sys.modules) - before)))
"""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(client, "_publisher", None)
    with running_api() as api:
        monkeypatch.setenv(URL_VARIABLE, api.url)
        monkeypatch.setenv(KEY_VARIABLE, KEY)
        yield api
        if client._publisher is not None:
            client._publisher.close()


@pytest.mark.system
def test_importing_publish_imports_nothing_that_takes_long() -> None:
    said = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True).stdout
    assert said == "['logging']\n" or said == "[]\n"


@pytest.mark.system
def test_a_process_that_publishes_imports_no_server() -> None:
    ask = """
import os, sys
os.environ.update(DASH_WS_HUB_URL="http://127.0.0.1:1", DASH_WS_HUB_KEY="k" * 32)
from ws_service import publish
publish("a", 1)
print(sorted({"fastapi", "uvicorn", "starlette", "websockets", "aiohttp", "plotly", "pydantic"} & set(sys.modules)))
print("WEBSOCKETS_MAX_LINE_LENGTH" in os.environ)
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKETS_")}
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=env)
    assert said.stdout == "[]\nFalse\n"
    assert said.stderr.startswith("a message for 'a' is not published: there is no hub at http://127.0.0.1:1 ")


def test_publish_and_its_error_are_the_packages() -> None:
    assert ws_service.publish is client.publish
    assert issubclass(ws_service.PublishError, Exception)
    with pytest.raises(AttributeError, match="no attribute 'publsh'"):
        _ = ws_service.publsh  # type: ignore[attr-defined]


def test_a_message_is_published(api: Api) -> None:
    assert ws_service.publish("prices", {"AAPL": 189.2}) == Position("e", 1)
    assert api.requests[0]["channel"] == "prices"


def test_a_child_of_a_fork_publishes_on_a_connection_of_its_own(api: Api) -> None:
    ws_service.publish("a", "parent")
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if all(ws_service.publish("a", "child") for _ in range(20)) else 1)
        children.append(pid)
    assert all([ws_service.publish("a", "parent") for _ in range(20)])
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert len(api.requests) == 61
    assert api.connections == 3
