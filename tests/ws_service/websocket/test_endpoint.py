"""The app of one connection: what it answers, and what it raises when its client has gone."""

from __future__ import annotations

import pytest
from starlette.websockets import WebSocketDisconnect

from tests.ws_service.adopting import both_loops as both_loops
from tests.ws_service.adopting import close_frame
from tests.ws_service.websocket.connections import App, connected
from ws_service.websocket import sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PERIOD", 0.05)


async def test_an_endpoint_that_returns_without_an_answer_is_one_answer(ws: str) -> None:
    app = App(returns=True)
    async with connected(app, ws) as rig:
        answer = await rig.peer.rest()
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert rig.connection.status == 500


@pytest.mark.parametrize("wrapped", [False, True])
async def test_an_endpoint_that_does_not_catch_the_end_of_its_client_is_one_line(
    ws: str, wrapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ws_service")
    app = App()
    error: BaseException = WebSocketDisconnect(1001)
    app.error = ExceptionGroup("of a task group", [error]) if wrapped else error  # type: ignore[list-item]
    app.may_take.set()
    async with connected(app, ws) as rig:
        await rig.peer.head()
        rig.peer.writer.write(close_frame(1001))
        await rig.peer.rest()
    assert "Traceback" not in caplog.text
    assert caplog.text.count("the endpoint went on when its client had gone") == 1


@pytest.mark.parametrize(
    ("error", "is_said"),
    [(RuntimeError("the app's own"), True), (type("WebSocketDisconnect", (Exception,), {})(), False)],
)
async def test_an_endpoints_own_fault_is_told_when_its_client_has_gone(
    error: Exception, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    app = App()
    app.error = error
    app.may_take.set()
    async with connected(app) as rig:
        await rig.peer.head()
    assert ("Exception in ASGI application" in caplog.text) is is_said
    assert ("the endpoint went on when its client had gone" in caplog.text) is not is_said
