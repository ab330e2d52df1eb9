"""The two WebSocket protocols of uvicorn, for the tests that ask for them."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["websockets", "websockets-sansio"])
def ws(request: pytest.FixtureRequest) -> str:
    return str(request.param)
