"""Fixtures of the tests of the hub: processes, real clients, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.system.hub.hub import Hub, running_hub
from tests.system.hub.real_client import KINDS, RealClient, running_client


class MakeClient(Protocol):
    """Runs a client; arguments are those of ``running_client``."""

    def __call__(self, url: str, *, token: str | None = None, tokens: list[str] | None = None) -> RealClient: ...


class MakeHub(Protocol):
    """Runs a hub; arguments are those of ``running_hub``."""

    def __call__(self, **settings: object) -> Hub: ...


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with the memory broker behind a gateway, for the module."""
    with running_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def make_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeHub]:
    """Runs hubs that live as long as the test, each in a folder of its own."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            running_hub(tmp_path_factory.mktemp("hub"), **settings)  # type: ignore[arg-type]
        )


@pytest.fixture(params=KINDS)
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Runs clients that live as long as the test: of npm's package, and of PyPI's."""
    with ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(running_client(request.param, url, **options))
