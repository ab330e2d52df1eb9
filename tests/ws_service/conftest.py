"""Fixtures that tests of several packages of the service ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ws_service.publisher.api_server import KEY, Api, running_api
from ws_service.config.file import CONFIG_VARIABLE
from ws_service.hub.keys import KEY_VARIABLE, PREVIOUS_VARIABLE
from ws_service.publisher.hub_address import URL_VARIABLE


@pytest.fixture(params=["websockets", "websockets-sansio"])
def ws(request: pytest.FixtureRequest) -> str:
    """The two WebSocket protocols of uvicorn."""
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without anything in it, and an environment that names no hub."""
    monkeypatch.chdir(tmp_path)
    for name in (URL_VARIABLE, KEY_VARIABLE, PREVIOUS_VARIABLE, CONFIG_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API of a hub, which the environment names."""
    with running_api() as api:
        monkeypatch.setenv(URL_VARIABLE, api.url)
        monkeypatch.setenv(KEY_VARIABLE, KEY)
        yield api
