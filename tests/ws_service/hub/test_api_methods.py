"""The API's methods: results and errors as Centrifugo has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

import ws_service.hub.turns
from tests.ws_service.hub.api_hub import ApiHub
from tests.ws_service.hub.stand_ins import Bystander
from ws_service.hub.api_methods import Methods
from ws_service.hub.broker import BrokerError, Control, Keep, Published
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.publication import Position, Publication
from ws_service.hub.topics import Namespaces, TopicOptions

NAMESPACES = Namespaces({"room": TopicOptions(presence=True), "brief": TopicOptions(keep=Keep(0))})


class Asked:
    """The methods over one hub."""

    def __init__(self, hub: ApiHub, most_names: int = 1000) -> None:
        self.hub = hub
        self._methods = Methods(hub, "here", "u1", most_names)

    async def __call__(self, method: str, values: Any = None, **parameters: Any) -> Any:
        return json.loads(await self._methods.answer(method, parameters if values is None else values))


@pytest.fixture
async def ask() -> Asked:
    return Asked(await ApiHub(NAMESPACES).start())


BAD = {"error": {"code": 107, "message": "bad request"}}


async def test_a_publication_gets_its_position_and_reaches_the_topic(ask: Asked) -> None:
    await ask.hub.broker.subscribe("prices")
    first = await ask("publish", channel="prices", data={"AAPL": 1}, tags={"a": "b"})
    assert first["result"]["offset"] == 1 and first["result"]["epoch"]
    assert (await ask("publish", channel="prices", data=[2]))["result"]["offset"] == 2
    told = [event.publication for event in ask.hub.events if isinstance(event, Published)]
    assert told == [Publication(b'{"AAPL":1}', 1, None, {"a": "b"}), Publication(b"[2]", 2)]


async def test_a_topic_without_history_has_no_position(ask: Asked) -> None:
    assert await ask("publish", channel="brief:x", data=1) == {"result": {}}
    assert await ask("publish", channel="prices", data=1, skip_history=True) == {"result": {}}
    assert (await ask("history", channel="prices", limit=-1))["result"]["publications"] == []


async def test_an_idempotency_key_publishes_once(ask: Asked) -> None:
    first = await ask("publish", channel="a", data=1, idempotency_key="k")
    assert await ask("publish", channel="a", data=1, idempotency_key="k") == first
    assert (await ask("publish", channel="a", data=1))["result"]["offset"] == 2


@pytest.mark.parametrize(
    "more",
    [
        {"version": 7},
        {"version_epoch": "e"},
        {"b64data": "eA=="},
        {"channel": ""},
        {"channel": "a\nb"},
        {"channel": "a" * 10_240},
        {"channel": 7},
        {"tags": {"a": 1}},
        {"tags": [1]},
        {"idempotency_key": 7},
        {"idempotency_key": "k" * 300},
        {"skip_history": "yes"},
    ],
)
async def test_what_would_not_be_obeyed_or_makes_no_sense_publishes_nothing(ask: Asked, more: dict[str, Any]) -> None:
    await ask.hub.broker.subscribe("a")
    assert await ask("publish", {"channel": "a", "data": 1, **more}) == BAD
    assert ask.hub.events == []


async def test_a_broadcast_answers_for_each_topic(ask: Asked) -> None:
    answer = await ask("broadcast", channels=["a", "", "brief:x", "a"], data=1)
    responses = answer["result"]["responses"]
    assert [response.get("result", {}).get("offset") for response in responses] == [1, None, None, 2]
    assert responses[1] == BAD and responses[2] == {"result": {}}
    assert await ask("broadcast", channels=[], data=1) == BAD
    assert await ask("broadcast", channels="a", data=1) == BAD
    assert await ask("broadcast", channels=["a"]) == BAD


async def test_a_batch_answers_each_command_in_order(ask: Asked) -> None:
    commands = [
        {"publish": {"channel": "a", "data": 1}},
        {"history": {"channel": "a", "limit": 10}},
        {"publish": {"channel": ""}},
        {"rpc": {}},
        {"batch": {"commands": []}},
        {"publish": {}, "info": {}},
        7,
        {"presence_stats": {"channel": "room:1"}},
    ]
    replies = (await ask("batch", commands=commands))["replies"]
    assert replies[0]["publish"]["offset"] == 1
    assert replies[1]["history"]["publications"] == [{"data": 1, "offset": 1}]
    assert [reply.get("error", {}).get("code") for reply in replies[2:7]] == [107, 104, 104, 107, 107]
    assert replies[7] == {"presence_stats": {"num_clients": 0, "num_users": 0}}
    assert await ask("batch", commands=7) == BAD


async def test_what_takes_long_lets_others_have_their_turns(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_service.hub.turns, "SHARE", 0.0)
    channels = [f"t{number}" for number in range(100)]
    commands = [{"publish": {"channel": channel, "data": 1}} for channel in channels]
    async with Bystander() as batch:
        assert len((await ask("batch", commands=commands))["replies"]) == 100
    async with Bystander() as broadcast:
        assert len((await ask("broadcast", channels=channels, data=1))["result"]["responses"]) == 100
    assert batch.turns >= 99 <= broadcast.turns


async def test_presence_names_the_clients_where_the_namespace_has_it(ask: Asked) -> None:
    await ask.hub.join("room:1", "c1", "ada")
    await ask.hub.join("room:1", "c2", "ada")
    presence = (await ask("presence", channel="room:1"))["result"]["presence"]
    assert presence == {"c1": {"client": "c1", "user": "ada"}, "c2": {"client": "c2", "user": "ada"}}
    assert await ask("presence_stats", channel="room:1") == {"result": {"num_clients": 2, "num_users": 1}}
    assert (await ask("presence", channel="prices"))["error"]["code"] == 108
    assert (await ask("presence_stats", channel="prices"))["error"]["code"] == 108


async def test_presence_of_a_crowd_is_a_number_and_no_list() -> None:
    ask = Asked(await ApiHub(NAMESPACES).start(), most_names=2)
    for number in range(3):
        await ask.hub.join("room:1", f"c{number}")
    assert (await ask("presence", channel="room:1"))["error"]["code"] == 106
    assert (await ask("presence_stats", channel="room:1"))["result"]["num_clients"] == 3


async def test_history_is_read_from_a_position_in_both_directions(ask: Asked) -> None:
    for number in range(5):
        await ask("publish", channel="a", data=number)
    here = (await ask("history", channel="a"))["result"]
    assert (here["publications"], here["offset"]) == ([], 5)

    async def read(**more: Any) -> list[int]:
        return [one["data"] for one in (await ask("history", channel="a", **more))["result"]["publications"]]

    assert await read(limit=-1) == [0, 1, 2, 3, 4]
    assert await read(limit=2) == [0, 1]
    assert await read(limit=2, reverse=True) == [4, 3]
    assert await read(limit=10, since={"offset": 3, "epoch": here["epoch"]}) == [3, 4]
    other = await ask("history", channel="a", limit=10, since={"offset": 3, "epoch": "other"})
    assert other["error"]["code"] == 112
    assert (await ask("history", channel="brief:x", limit=1))["error"]["code"] == 108
    for bad in ({"limit": "1"}, {"since": 7}, {"since": {"offset": -1}}, {"reverse": 1}):
        assert await ask("history", {"channel": "a", **bad}) == BAD


async def test_channels_are_those_with_subscribers_by_a_pattern(ask: Asked) -> None:
    ask.hub.topics = {"prices:A": 2, "prices:B": 1, "news": 4}
    for topic in ask.hub.topics:
        await ask.hub.broker.subscribe(topic)
    channels = (await ask("channels"))["result"]["channels"]
    assert channels == {name: {"num_clients": count} for name, count in ask.hub.topics.items()}
    assert set((await ask("channels", pattern="prices:*"))["result"]["channels"]) == {"prices:A", "prices:B"}
    assert await ask("channels", pattern="{a,b}") == BAD


async def test_an_order_goes_to_every_process(ask: Asked) -> None:
    assert await ask("disconnect", user="ada") == {"result": {}}
    assert await ask("disconnect", user="ada", client="c1", disconnect={"code": 4500, "reason": "bye"}) == {
        "result": {}
    }
    assert await ask("unsubscribe", user="ada", channel="prices") == {"result": {}}
    assert await ask("unsubscribe", user="", client="c1", channel="prices") == {"result": {}}
    assert ask.hub.orders == [
        Control("ada", None, None, 3503, "force disconnect"),
        Control("ada", "c1", None, 4500, "bye"),
        Control("ada", None, "prices", 2000, "server unsubscribe"),
        Control(None, "c1", "prices", 2000, "server unsubscribe"),
    ]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"user": ""},
        {"user": 7},
        {"user": "ada", "whitelist": ["c1"]},
        {"user": "ada", "session": "s"},
        {"user": "ada", "disconnect": {"code": 1000}},
    ],
)
async def test_an_order_that_would_mean_others_is_refused(ask: Asked, values: dict[str, Any]) -> None:
    assert await ask("disconnect", values) == BAD
    assert await ask("unsubscribe", {k: v for k, v in values.items() if k != "channel"}) == BAD
    assert ask.hub.orders == []


async def test_info_is_about_this_process(ask: Asked) -> None:
    ask.hub.topics = {"a": 2, "b": 3}
    (node,) = (await ask("info"))["result"]["nodes"]
    assert node == {
        "uid": "u1",
        "name": "here",
        "version": "",
        "num_clients": 3,
        "num_users": 2,
        "num_subs": 5,
        "num_channels": 2,
        "uptime": 0,
    }


@pytest.mark.parametrize("values", [None, [], 7, "x"])
async def test_parameters_that_are_no_object_are_refused(ask: Asked, values: Any) -> None:
    assert json.loads(await Methods(ask.hub, "", "", 1).answer("publish", values)) == BAD


class _Down(MemoryBroker):
    async def publish(
        self, topic: str, publication: Publication, keep: Keep, idempotency_key: str | None = None
    ) -> Position | None:
        raise BrokerError("the broker is away")


async def test_a_broker_that_cannot_be_asked_is_an_internal_error() -> None:
    ask = Asked(ApiHub(broker=_Down()))
    internal = {"error": {"code": 100, "message": "internal server error"}}
    assert await ask("publish", channel="a", data=1) == internal
    assert (await ask("broadcast", channels=["a"], data=1))["result"]["responses"] == [internal]
    assert (await ask("batch", commands=[{"publish": {"channel": "a", "data": 1}}]))["replies"] == [internal]
