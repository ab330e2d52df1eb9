"""No handshake without an answer: large ones, refused ones, unanswered ones, and a stop beside them; on both ways, with
the uvicorn of the report and today's, and each of its WebSocket protocols."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import Shared
from tests.system.gateway import Gateway
from tests.system.handoff import WAYS, Service, code_of, echoes, gateway_by, gateway_for, hear, running_service
from tests.wire.connection import Wire
from tests.wire.messages import handshake

pytestmark = pytest.mark.timeout(600)  # the first run installs the environment of the report

APP = """
import logging
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket
from starlette.responses import PlainTextResponse

log = logging.getLogger("app")


@asynccontextmanager
async def lifespan(app):
    yield
    log.warning("lifespan down")


app = FastAPI(lifespan=lifespan)


@app.websocket("/sizes")
async def sizes(websocket: WebSocket):
    await websocket.accept()
    head = websocket.headers
    await websocket.send_text(f"{len(head.get('cookie', ''))} {len(websocket.url.query)} {'x-119' in head}")
    async for message in websocket.iter_text():
        await websocket.send_text(message)


@app.websocket("/refused")
async def refused(websocket: WebSocket):
    await websocket.send_denial_response(PlainTextResponse("not you", 401))


@app.websocket("/leaves")
async def leaves(websocket: WebSocket):
    pass


@app.websocket("/never")
async def never(websocket: WebSocket):
    await websocket.receive()
    log.warning("never: asked")
    await websocket.receive()
    log.warning("never: its client has gone")
"""

COOKIE = "Cookie: sso=" + "x" * 20_000
FIELDS = tuple(f"X-{number}: y" for number in range(120))

BAD = "Sec-WebSocket-Extensions: ;;"
"""What the gateway passes on, and the library refuses."""


@pytest.fixture(scope="module", params=["websockets", "websockets-sansio"])
def service(
    request: pytest.FixtureRequest, interpreter: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, app=APP, library=request.param, handshake="1s", interpreter=interpreter) as service:
        yield service
        assert "Traceback" not in service.process.output


@pytest.fixture(scope="module", params=WAYS)
def gateway(request: pytest.FixtureRequest, shared: Shared, service: Service) -> Gateway:
    return shared.gateway_by(request.param, service)


@pytest.fixture(scope="module")
def limited(shared: Shared, service: Service) -> dict[str, Gateway]:
    """For each way a gateway that takes two WebSockets from one client."""
    return {way: shared.gateway_by(way, service, limits={"websockets_per_client": 2}) for way in WAYS}


@pytest.mark.parametrize(
    ("target", "fields", "said"),
    [
        ("/sizes", (COOKIE,), "20004 0 False"),
        ("/sizes", FIELDS, "0 0 True"),
        ("/sizes?" + "q" * 16_000, (COOKIE,), "20004 16000 False"),
        ("/sizes", ("Cookie: " + "x" * 64_000,), "64000 0 False"),
    ],
    ids=["a cookie of 20 KB", "124 fields", "a query of 16 KB beside it", "a cookie of 64 KB"],
)
def test_what_the_gateway_lets_through_the_service_takes(
    gateway: Gateway, target: str, fields: tuple[str, ...], said: str
) -> None:
    client = gateway.dial()
    client.send(handshake(target, *fields))
    assert client.read_head().startswith(b"HTTP/1.1 101 ")
    assert hear(client) == said
    assert echoes(client, "hello")


@pytest.mark.parametrize("way", WAYS)
def test_limits_that_are_raised_at_the_gateway_hold_for_the_service_too(
    tmp_path: Path, service: Service, way: str
) -> None:
    raised = {"header": "512KiB", "request_line": "64KiB", "fields": 1500}
    with gateway_by(way, tmp_path, service, limits=raised) as gateway:
        for fields in (("Cookie: " + "x" * 300_000,), tuple(f"X-{number}: y" for number in range(1200))):
            client = gateway.dial()
            client.send(handshake("/sizes?" + "q" * 40_000, *fields))
            assert client.read_head().startswith(b"HTTP/1.1 101 ")


def test_what_is_larger_is_a_431_of_the_gateway_and_of_the_service(service: Service, gateway: Gateway) -> None:
    for wire, size in ((gateway.dial(), 70_000), (Wire.to(service.port), 1 << 20)):
        with wire:
            wire.send_later(handshake("/sizes", "Cookie: " + "x" * size))
            assert wire.read_message().status == 431
    service.process.wait_for("/sizes: answered the handshake with 431: its head is larger than 1024 KiB")


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [("/sizes?token=hidden", (BAD,), 400), ("/nowhere", (), 404), ("/refused", (), 401), ("/leaves", (), 500)],
)
def test_what_is_refused_is_answered_and_its_count_given_back(
    request: pytest.FixtureRequest,
    service: Service,
    limited: dict[str, Gateway],
    target: str,
    fields: tuple[str, ...],
    status: int,
) -> None:
    if target == "/refused" and "websockets-sansio-report" in request.node.name:
        pytest.skip("it writes two lengths, which is a 502 through a tunnel; that version chooses the other one")
    for way, gateway in limited.items():
        for number in range(5):
            client = gateway.dial()
            client.send(handshake(target, *fields))
            assert client.read_message().status == status
            if way == "handed over":
                assert client.read_to_end() == b""
                gateway.process.wait_for_count(f" {status} hand-off closed", number + 1)
        before = len(gateway.process.output)
        for _ in range(2):
            client = gateway.dial()
            client.send(handshake("/sizes"))
            assert client.read_message().status == 101
        gateway.hang_up()
        gateway.process.wait_for(r"(?s)closed.*closed", after=before)
    if fields:
        service.process.wait_for("/sizes: answered the handshake with 400: ")
        assert "hidden" not in service.process.output


def test_an_endpoint_that_never_answers_is_a_504_on_each_way_and_hears_that_its_client_has_gone(
    service: Service, tmp_path: Path
) -> None:
    for way in (*WAYS, "direct"):
        (tmp_path / way).mkdir()
        before = len(service.process.output)
        if way == "direct":
            with Wire.to(service.port) as wire:
                wire.send(handshake("/never"))
                assert wire.read_message().status == 504
        else:
            with gateway_by(way, tmp_path / way, service, timeouts={"handshake": "500ms"}) as gateway:
                client = gateway.dial()
                client.send(handshake("/never"))
                assert client.read_message().status == 504
        service.process.wait_for("never: its client has gone", after=before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_is_not_disturbed_by_what_was_refused_or_waits(interpreter: str, tmp_path: Path, workers: int) -> None:
    with running_service(tmp_path, app=APP, workers=workers, interpreter=interpreter) as service:
        with gateway_for(tmp_path, service) as gateway:
            gateway.process.wait_for_count("takes WebSockets over", workers)
            clients = []
            for wire in (gateway.dial(), gateway.dial(), gateway.dial(), Wire.to(service.port), Wire.to(service.port)):
                wire.send(handshake("/sizes"))
                assert wire.read_head().startswith(b"HTTP/1.1 101 ")
                hear(wire)
                clients.append(wire)
            refused = [gateway.dial(), Wire.to(service.port)]
            for wire in refused:
                wire.send(handshake("/sizes", BAD))
            waiting = [gateway.dial(), Wire.to(service.port)]
            for wire in waiting:
                wire.send(handshake("/never"))
            half = Wire.to(service.port)
            half.send(handshake("/sizes")[:-2])
            service.process.wait_for_count("never: asked", 2)
            service.process.send(signal.SIGTERM)
            for wire in clients:
                assert code_of(wire.read_frame()) == 1012
                wire.close()
            for wire in waiting:
                assert wire.read_message().status == 503
                wire.close()
            assert half.read_to_cut()[0] == b""
            for wire in (half, *refused):
                wire.close()
            assert service.process.wait() == 0
        assert service.process.output.count("lifespan down") == workers
        assert "Traceback" not in service.process.output
