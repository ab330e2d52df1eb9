"""Fixtures of the system tests: upstreams, gateways and services, for one test or for a module, and their clean-up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.processes import python
from tests.system.browser import chromium, tab
from tests.system.gateway import Gateway, Origin, running_gateway
from tests.system.handoff import Service, gateway_by, running_service
from tests.system.seed import seed_python

__all__ = ["chromium", "seed_python", "tab"]


class MakeGateway(Protocol):
    """Runs a gateway in front of ``dash``; further arguments are those of ``running_gateway``."""

    def __call__(self, *, dash: str, **settings: object) -> Gateway: ...


@pytest.fixture
def origin() -> Iterator[Origin]:
    """An upstream of the test's own."""
    with Origin() as origin:
        yield origin


@pytest.fixture
def make_gateway(tmp_path: Path) -> Iterator[MakeGateway]:
    """Runs gateways that live as long as the test, with its folder."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running_gateway(tmp_path, **settings))  # type: ignore[arg-type]


class Shared:
    """Gateways and upstreams that live as long as a module's tests; no test finds a connection of another one."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        self._stack, self._folders = stack, folders
        self._made: list[Gateway | Origin] = []

    def origin(self) -> Origin:
        """Run an upstream."""
        self._made.append(origin := self._stack.enter_context(Origin()))
        return origin

    def gateway(self, *, dash: str, **settings: object) -> Gateway:
        """Run a gateway in front of ``dash``; further arguments are those of ``running_gateway``."""
        folder = self._folders.mktemp("gateway")
        return self._keep(running_gateway(folder, dash=dash, **settings))  # type: ignore[arg-type]

    def gateway_by(self, way: str, service: Service, **settings: object) -> Gateway:
        """Run a gateway whose WebSockets reach ``service`` by one of ``handoff.WAYS``."""
        return self._keep(gateway_by(way, self._folders.mktemp("gateway"), service, **settings))

    def _keep(self, running: AbstractContextManager[Gateway]) -> Gateway:
        self._made.append(gateway := self._stack.enter_context(running))
        return gateway

    def hang_up(self) -> None:
        """Close every connection, those of clients first."""
        for made in reversed(self._made):
            made.hang_up()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Makes what the module's tests share."""
    with ExitStack() as stack:
        yield Shared(stack, tmp_path_factory)


@pytest.fixture(autouse=True)
def _connections_are_closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test, close every connection to what the module shares."""
    shared = request.getfixturevalue("shared") if "shared" in request.fixturenames else None
    yield
    if shared is not None:
        shared.hang_up()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the endpoints of ``tests.system.handoff``, for the module."""
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module", params=["today", "report"])
def interpreter(request: pytest.FixtureRequest) -> str:
    """The interpreter of today's versions of FastAPI, Starlette and uvicorn, and that of the report's."""
    return str(request.getfixturevalue("seed_python")) if request.param == "report" else python()[0]
