"""An API to publish to, and a publisher of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ws_service.publisher.api_server import KEY, Api, running_api
from ws_service.hub.keys import KEY_VARIABLE
from ws_service.publisher.hub_address import URL_VARIABLE
from ws_service.publisher.publisher import Publisher


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API that the environment names."""
    with running_api() as api:
        monkeypatch.setenv(URL_VARIABLE, api.url)
        monkeypatch.setenv(KEY_VARIABLE, KEY)
        yield api


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without anything in it, and an environment that names no hub."""
    monkeypatch.chdir(tmp_path)
    for name in (URL_VARIABLE, KEY_VARIABLE, "DASH_WS_PROXY_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
