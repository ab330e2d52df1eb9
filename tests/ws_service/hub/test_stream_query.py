"""Queries of clients that cannot send commands."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from ws_service.hub.publication import Position
from ws_service.hub.stream_query import BadQuery, read_event_id, read_query, write_event_id


def token(**claims: Any) -> str:
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


def connect(**command: Any) -> str:
    return f"cf_connect={quote(json.dumps(command))}"


def test_topics_are_separated_by_commas() -> None:
    wanted = read_query("channels=prices:AAPL,b&raw=1")
    assert (wanted.is_raw, wanted.token, dict(wanted.topics)) == (True, "", {"prices:AAPL": "", "b": ""})


@pytest.mark.parametrize(("query", "is_raw"), [("raw=1", True), ("raw=true", True), ("raw=0", False), ("", False)])
def test_only_the_data_is_sent_where_that_is_asked_for(query: str, is_raw: bool) -> None:
    assert read_query(f"channels=a&{query}").is_raw is is_raw


def test_a_topic_with_a_comma_is_named_alone() -> None:
    assert list(read_query(urlencode({"channel": "chat:#ada,bob"})).topics) == ["chat:#ada,bob"]


def test_each_token_is_for_the_topic_that_it_names_and_the_rest_for_the_connection() -> None:
    of_a, mine = token(channel="a"), token(sub="ada")
    wanted = read_query(f"channels=a,b&token={of_a}&token={mine}")
    assert (wanted.token, dict(wanted.topics)) == (mine, {"a": of_a, "b": ""})


@pytest.mark.parametrize("text", ["x", "a.b.c", "a.e30.c", "a.W10.c", token(channel=7)])
def test_a_token_that_says_nothing_is_the_connections(text: str) -> None:
    assert read_query(f"channels=a&token={text}").token == text


def test_a_token_of_the_connection_may_name_its_topics_itself() -> None:
    assert dict(read_query("token=x.y.z&raw=1").topics) == {}


def test_the_connect_command_of_centrifugo_is_read() -> None:
    subs = {"a": {"recover": True, "epoch": "e", "offset": 7}, "b": {"token": "t"}}
    wanted = read_query(connect(token="mine", subs=subs, name="js"))
    assert (wanted.is_raw, wanted.token, dict(wanted.topics)) == (False, "mine", {"a": "", "b": "t"})
    assert wanted.positions == {"a": Position("e", 7)}
    assert json.loads(wanted.connect()) == {
        "id": 1,
        "connect": {"token": "mine", "subs": {"a": {"recover": True, "epoch": "e", "offset": 7}}},
    }
    asked, commands = wanted.subscribe({"c"})
    assert asked == {2: "a", 3: "b"}
    assert [json.loads(line) for line in commands.split(b"\n")] == [
        {"id": 2, "subscribe": {"channel": "a", "token": "", "recover": True, "epoch": "e", "offset": 7}},
        {"id": 3, "subscribe": {"channel": "b", "token": "t"}},
    ]
    assert wanted.subscribe({"a"})[0] == {2: "b"} and wanted.subscribe({"a", "b"}) == ({}, b"")


def test_the_connect_command_may_be_empty() -> None:
    assert dict(read_query("cf_connect={}").topics) == {}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "raw=1",
        "channels=",
        "channels=a,,b",
        "channels=%00",
        f"channels={'x' * 256}",
        "channels=%ff",
        "cf_connect=",
        "cf_connect=[]",
        "cf_connect=1",
        f"cf_connect={'[' * 100_000}",
        connect(token=7),
        connect(subs=[1]),
        connect(subs={"a": 1}),
        connect(subs={"a": {"token": 1}}),
        connect(subs={"a": {"recover": True, "offset": -1}}),
        connect(subs={"a": {"recover": True, "offset": "7"}}),
        connect(subs={"": {}}),
        "&".join(["channel=a"] * 1025),
        f"channels=a&x={'x' * 65536}",
    ],
)
def test_what_asks_for_nothing_is_refused(query: str) -> None:
    with pytest.raises(BadQuery):
        read_query(query)


def test_an_event_id_tells_where_a_client_is() -> None:
    positions = {"prices": Position("e1", 7), "chat:#ada,b&=ü": Position("x.y=&", 0)}
    text = write_event_id(positions.items())
    assert text.isascii()
    assert b"\n" not in text
    assert read_event_id(text.decode()) == positions
    assert read_query("channels=prices", text.decode()).positions == positions


@pytest.mark.parametrize(
    "text", [None, "", "7", "a=7", "a=x.e", "a=-1.e", f"a={'9' * 30}.e", "=", "a=².", "x" * 70_000 + "=1.e"]
)
def test_another_event_id_tells_nothing(text: str | None) -> None:
    assert read_event_id(text) == {}


def test_an_event_id_of_many_topics_is_read_in_part() -> None:
    assert len(read_event_id("&".join(f"t{n}=1.e" for n in range(5_000)))) == 16


def test_a_query_names_so_many_topics_and_no_more() -> None:
    names = [f"{number:x}" for number in range(1025)]
    assert len(read_query("channels=" + ",".join(names[1:])).topics) == 1024
    with pytest.raises(BadQuery, match="1024 topics"):
        read_query("channels=" + ",".join(names))
