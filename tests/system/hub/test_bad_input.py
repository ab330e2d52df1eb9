"""What no client should send, over real sockets: the protocol's own code, and nothing happens to any other client."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.handoff import WAYS
from tests.system.hub.hub import API_KEY, Hub, running_hub
from tests.system.hub.talk import PATH, Talk
from tests.system.hub.tokens import connection_token, subscription_token
from tests.wire.frames import BINARY, TEXT
from tests.wire.messages import handshake, request

OTHER_KEY = "the key of another hub, which has signed this token"


@pytest.fixture(scope="module", params=WAYS)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    routes = [{"path": "/api/", "to": "ws"}, {"path": "/board/api/", "to": "ws"}]
    with running_hub(tmp_path_factory.mktemp("hub"), way=request.param, gateway={"routes": routes}) as hub:
        yield hub


@pytest.fixture(scope="module")
def bystander(hub: Hub) -> Talk:
    """A client that has nothing to do with it."""
    talk = Talk.connected(hub.gateway)
    assert "subscribe" in talk.ask({"id": 2, "subscribe": {"channel": "open:bystander"}})
    return talk


@pytest.fixture(autouse=True)
def _no_other_client_is_disturbed(hub: Hub, bystander: Talk, request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    hub.publish("open:bystander", request.node.name)
    assert bystander.hear()["push"]["pub"]["data"] == request.node.name
    assert "Traceback" not in hub.service.output


@pytest.mark.parametrize(
    "message",
    [
        '{"id":2,"subscribe":',
        "not JSON",
        "[]",
        '"text"',
        "null",
        "{},{}",
        '{"subscribe":{"channel":"open:x"}}',
        '{"id":-1,"subscribe":{"channel":"open:x"}}',
        '{"id":1e400,"subscribe":{"channel":"open:x"}}',
        '{"id":"2","subscribe":{"channel":"open:x"}}',
        '{"id":2,"publish":{"channel":"open:x","data":NaN}}',
        '{"id":2,"connect":{}}',
        "[" * 60_000,
        '{"id":2,"publish":{"channel":"open:x","data":' + '{"a":' * 9_000 + "1" + "}" * 9_000 + "}}",
        '{"id":' + "9" * 50_000 + "}",
    ],
    ids=lambda message: message[:30],
)
def test_a_message_that_cannot_be_read_ends_the_connection_for_good(hub: Hub, message: str) -> None:
    talk = Talk.connected(hub.gateway)
    talk.say(message)
    assert talk.end() == 3501


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"rpc": {"method": "x"}}, 104),
        ({"nonsense": {}}, 104),
        ({}, 104),
        ({"subscribe": []}, 107),
        ({"subscribe": {}}, 107),
        ({"subscribe": {"channel": 5}}, 107),
        ({"subscribe": {"channel": ""}}, 107),
        ({"subscribe": {"channel": "open:" + "x" * 10_000}}, 107),
        ({"subscribe": {"channel": "open:\n\x00"}}, 107),
        ({"subscribe": {"channel": "open:\ud800"}}, 107),
        ({"subscribe": {"channel": "open:x", "tf": {"op": "eq"}}}, 107),
        ({"subscribe": {"channel": "open:x", "type": 1}}, 107),
        ({"subscribe": {"channel": "open:x", "recover": True, "offset": -1}}, 107),
        ({"subscribe": {"channel": "open:x", "recover": True, "offset": 1 << 80}}, 107),
        ({"subscribe": {"channel": "open:x", "recover": "yes"}}, 107),
        ({"subscribe": {"channel": "closed:x"}}, 103),
        ({"subscribe": {"channel": "no-token"}}, 103),
        ({"subscribe": {"channel": "x", "token": "nonsense"}}, 103),
        ({"subscribe": {"channel": "x", "token": subscription_token("y")}}, 103),
        ({"subscribe": {"channel": "x", "token": subscription_token("x", key=OTHER_KEY)}}, 103),
        ({"subscribe": {"channel": "x", "token": subscription_token("x", lasts=-60)}}, 109),
        ({"subscribe": {"channel": "read:inbox#ada"}}, 103),
        ({"publish": {"channel": "read:x", "data": 1}}, 103),
        ({"publish": {"channel": "open:x"}}, 107),
        ({"history": {"channel": "open:not-subscribed", "limit": 10}}, 103),
        ({"history": {"channel": "open:x", "limit": "all"}}, 107),
        ({"presence": {"channel": "open:not-subscribed"}}, 103),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_a_command_that_makes_no_sense_has_its_error(hub: Hub, command: dict[str, object], code: int) -> None:
    talk = Talk.connected(hub.gateway)
    assert talk.ask({"id": 7, **command})["error"]["code"] == code
    assert "subscribe" in talk.ask({"id": 8, "subscribe": {"channel": "open:good"}}), "the connection is whole"


def test_a_command_before_connect_ends_the_connection(hub: Hub) -> None:
    talk = Talk(hub.gateway)
    talk.say({"id": 1, "subscribe": {"channel": "open:x"}})
    assert talk.end() == 3501


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "a.b.c",
        connection_token("ada", key=OTHER_KEY),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",  # alg: none, sub: ada
        subscription_token("open:x"),
        "x" * 60_000,
    ],
    ids=lambda token: token[:12],
)
def test_a_wrong_token_ends_the_connection_for_good(hub: Hub, token: str) -> None:
    talk = Talk(hub.gateway)
    talk.say({"id": 1, "connect": {"token": token}})
    assert talk.end() == 3500


def test_a_token_that_has_expired_is_asked_for_again(hub: Hub) -> None:
    talk = Talk(hub.gateway)
    answer = talk.ask({"id": 1, "connect": {"token": connection_token("ada", lasts=-60)}})
    assert answer["error"]["code"] == 109
    assert "connect" in talk.ask({"id": 2, "connect": {"token": connection_token("ada")}})


@pytest.mark.parametrize(
    ("opcode", "payload", "rsv", "code"),
    [
        (TEXT, b'{"id":2,"publish":{"channel":"open:x","data":"' + b"x" * (64 << 10) + b'"}}', 0, 1009),
        (TEXT, b'{"id":2,"rpc":{"a":"\xff\xfe"}}', 0, 1007),
        (TEXT, b"\x4a\x4c\x04\x00", 4, 1002),  # deflated, which was not negotiated
        (BINARY, b"\x02\x08\x01", 0, 1003),
        (3, b"", 0, 1002),
    ],
    ids=["larger than 64 KiB", "no UTF-8", "deflated", "binary", "unknown kind of frame"],
)
def test_a_frame_that_is_not_allowed_closes_with_the_code_of_websockets(
    hub: Hub, opcode: int, payload: bytes, rsv: int, code: int
) -> None:
    talk = Talk.connected(hub.gateway)
    talk.send(opcode, payload, rsv=rsv)
    assert talk.end() == code


def test_deflate_is_not_negotiated(hub: Hub) -> None:
    client = hub.gateway.dial()
    client.send(handshake(PATH, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
    assert b"permessage-deflate" not in client.read_head()


def test_a_flood_of_commands_ends_the_connection(hub: Hub) -> None:
    talk = Talk.connected(hub.gateway)
    command = json.dumps({"id": 2, "presence_stats": {"channel": "open:x"}})
    for _ in range(20):
        talk.say(*[command] * 500)
    assert talk.end() in (3013, 3509)  # too many commands, or too many of them wrong


def test_a_flood_of_publications_is_refused_beyond_the_rate(hub: Hub) -> None:
    talk = Talk.connected(hub.gateway, connection_token("flo"))
    talk.ask({"id": 2, "subscribe": {"channel": "slowly:x", "token": subscription_token("slowly:x")}})
    for number in range(3, 600):
        talk.say({"id": number, "publish": {"channel": "open:flood", "data": number}})
    talk.say({"id": 600, "unsubscribe": {"channel": "slowly:x"}})
    errors = set()
    while "unsubscribe" not in (heard := talk.hear()):
        errors.add(heard.get("error", {}).get("code"))
    assert errors <= {None, 111, 103}


def test_more_topics_than_one_connection_may_have_are_refused(hub: Hub) -> None:
    talk = Talk.connected(hub.gateway)
    talk.say(*({"id": number, "subscribe": {"channel": f"open:{number}"}} for number in range(1, 130)))
    answers = [talk.hear() for _ in range(129)]
    assert sum("subscribe" in answer for answer in answers) == 128
    assert [answer["error"]["code"] for answer in answers if "error" in answer] == [106]


@pytest.mark.parametrize("target", [PATH, "/board/connection/websocket", PATH + "?channels=open:x&raw=1"])
def test_a_page_of_another_site_is_refused(hub: Hub, target: str) -> None:
    client = hub.gateway.dial()
    client.send(handshake(target, "Origin: https://evil.example", host=hub.gateway.authority))
    assert client.read_message().status == 403


def test_the_api_is_not_behind_the_gateway_however_it_is_asked(hub: Hub) -> None:
    body = json.dumps({"channel": "open:bystander", "data": "of a stranger"}).encode()
    fields = (f"X-API-Key: {API_KEY}", f"Content-Length: {len(body)}")
    for target in ("/api/publish", "/board/api/publish"):  # which are routed to the service here
        for more in ((), ("Connection: X-Forwarded-For, X-Request-Id",), ("Forwarded: ", "X-Forwarded-For: ")):
            assert hub.gateway.ask(request(f"POST {target}", *fields, *more, body=body)).status == 404, target
    # what `_no_other_client_is_disturbed` gets next is its own
