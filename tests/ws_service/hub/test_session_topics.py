"""Commands about topics: what is answered, what the broker is asked, what is given back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ws_service.hub.session_play import Deliver, Play, Release, encoded, found
from ws_service.hub.codes import INSUFFICIENT_STATE, INTERNAL, UNSUBSCRIBED_BY_SERVER
from ws_service.hub.counts import Counts
from ws_service.hub.effects import End, Enter, PublishTo, ReadPresence, ReadTopic, Send
from ws_service.hub.limits import Limits
from ws_service.hub.publication import ClientInfo, Position
from ws_service.hub.recovery import Look


def connected(limits: Limits = Limits(), **options: Any) -> Play:  # noqa: B008 - frozen
    return Play(limits, **options).connected("ada")


def error_of(play: Play) -> int:
    """Return the code of the one message that is an error."""
    (message,) = play.heard()
    return int(message["error"]["code"])


def ask(play: Play, name: str, **fields: Any) -> Play:
    play.take()
    return play.say({"id": 5, name: {"channel": "a", **fields}})


# -- subscribe


def test_a_subscription_is_registered_before_it_is_answered() -> None:
    play = connected().say({"id": 2, "subscribe": {"channel": "a"}})
    operation = play.operation()
    assert isinstance(operation, Enter) and operation.look == Look(None, 1, is_reversed=True)
    assert not operation.subscription.is_live and operation.info == ClientInfo("c1", "ada", b'{"name":"A"}')
    assert play.done(found("e", 0)).heard() == [
        {"id": 2, "subscribe": {"recoverable": True, "positioned": True, "epoch": "e"}}
    ]
    assert operation.subscription.is_live


def test_what_came_meanwhile_comes_after_the_answer() -> None:
    play = connected().say({"id": 2, "subscribe": {"channel": "a"}})
    operation = play.operation()
    assert isinstance(operation, Enter)
    for offset in (6, 7, 8):
        operation.subscription.receive(encoded(offset))
    answer, deliver = play.done(found("e", 7, 7)).take()
    assert isinstance(answer, Send) and isinstance(deliver, Deliver)
    assert json.loads(answer.message)["subscribe"]["publications"] == [{"data": 7, "offset": 7}]
    assert [each.offset for each in deliver.publications] == [8]


def test_a_topic_without_history_says_no_position() -> None:
    play = connected().say({"id": 2, "subscribe": {"channel": "bare:a", "recover": True, "flag": 2}})
    operation = play.operation()
    assert isinstance(operation, Enter) and operation.look is None
    assert play.done(None).heard() == [{"id": 2, "subscribe": {}}]


def test_a_stream_is_recovered() -> None:
    request = {"channel": "stream:a", "recover": True, "epoch": "e", "offset": 5}
    counts = Counts()
    play = connected(counts=counts).say({"id": 2, "subscribe": request})
    operation = play.operation()
    assert isinstance(operation, Enter) and operation.look == Look(Position("e", 5), 301)
    (answer,) = play.done(found("e", 7, 6, 7)).heard()
    assert counts.recoveries == {True: 1}
    assert answer["subscribe"] == {
        "recoverable": True,
        "positioned": True,
        "epoch": "e",
        "offset": 5,
        "was_recovering": True,
        "recovered": True,
        "publications": [{"data": 6, "offset": 6}, {"data": 7, "offset": 7}],
    }


@pytest.mark.parametrize("topic", ["stream:a", "a"])
def test_a_failed_recovery_is_told_or_is_an_error_as_the_client_asks(topic: str) -> None:
    request = {"channel": topic, "recover": True, "epoch": "before", "offset": 5}
    counts = Counts()
    play = connected(counts=counts).say({"id": 2, "subscribe": request}).done(found("e", 7))
    (answer,) = play.heard()
    assert counts.recoveries == {False: 1}
    assert answer["subscribe"]["was_recovering"] is True and "recovered" not in answer["subscribe"]
    assert answer["subscribe"]["offset"] == 7
    play = connected().say({"id": 2, "subscribe": {**request, "flag": 2}}).done(found("e", 7))
    effects = play.take()
    assert any(isinstance(each, Release) for each in effects)
    play.effects = effects
    assert error_of(play) == 112 and not list(play.session.topics)


def test_refusals() -> None:
    play = connected(Limits(subscriptions=1))
    assert error_of(play.say({"id": 2, "subscribe": {"channel": "secret"}})) == 103
    assert error_of(play.say({"id": 2, "subscribe": {"channel": "secret", "token": "wrong"}})) == 103
    assert error_of(play.say({"id": 2, "subscribe": {"channel": "secret", "token": "ok,0"}})) == 109
    play.subscribed("a")
    play.take()
    assert error_of(play.say({"id": 2, "subscribe": {"channel": "a"}})) == 105
    assert error_of(play.say({"id": 2, "subscribe": {"channel": "b"}})) == 106


def test_an_unreachable_broker_is_a_temporary_error_and_all_is_given_back() -> None:
    play = connected().say({"id": 2, "subscribe": {"channel": "a"}}).done(INTERNAL)
    effects = play.take()
    assert sum(isinstance(each, Release) for each in effects) == 1
    assert json.loads(effects[-1].message)["error"]["temporary"] is True  # type: ignore[union-attr]
    play.subscribed("a")


def test_one_that_overflows_or_is_lost_meanwhile_is_to_be_made_again() -> None:
    for event in ("overflow", "lost"):
        play = connected(Limits(buffered=1)).say({"id": 2, "subscribe": {"channel": "a"}})
        operation = play.operation()
        assert isinstance(operation, Enter)
        if event == "overflow":
            operation.subscription.receive(encoded(1))
            operation.subscription.receive(encoded(2))
        else:
            assert play.session.end_subscription("a", INSUFFICIENT_STATE) == []
        effects = play.done(found("e", 2, 2)).take()
        assert [type(each) for each in effects] == [Release, Send]
        assert b'"code":100' in effects[1].message  # type: ignore[union-attr]


def test_a_token_that_expires_is_told() -> None:
    play = connected()
    play.subscribed("secret", token="ok,60")
    assert play.heard()[0]["subscribe"]["ttl"] == 60


# -- the end of subscriptions


def test_unsubscribe_gives_back_and_may_come_twice() -> None:
    play = connected()
    subscription = play.subscribed("a")
    effects = ask(play, "unsubscribe").take()
    assert [type(each) for each in effects] == [Release, Send] and subscription.is_ended
    assert ask(play, "unsubscribe").heard() == [{"id": 5, "unsubscribe": {}}]


def test_the_server_ends_one_and_says_so() -> None:
    play = connected()
    play.subscribed("a")
    play.take()
    play.effects += play.session.end_subscription("a", UNSUBSCRIBED_BY_SERVER)
    release, told = play.take()
    assert isinstance(release, Release) and isinstance(told, Send)
    assert json.loads(told.message)["push"]["unsubscribe"]["code"] == 2000
    assert play.session.end_subscription("a", UNSUBSCRIBED_BY_SERVER) == []


def test_a_new_token_for_a_subscription() -> None:
    play = connected()
    play.subscribed("a", token="ok,60")
    assert ask(play, "sub_refresh", token="ok,100").heard() == [{"id": 5, "sub_refresh": {"expires": True, "ttl": 100}}]
    assert play.tick(now=1, wall=90).take() == []
    assert error_of(ask(play, "sub_refresh", token="wrong")) == 103
    assert [each.end.code for each in ask(play, "sub_refresh", token="ok,0").take() if isinstance(each, End)] == [3006]


def test_there_is_nothing_to_refresh_without_a_subscription() -> None:
    assert error_of(ask(connected(), "sub_refresh", token="ok")) == 103


# -- publish


def test_a_client_publishes_with_its_name() -> None:
    play = connected()
    play.subscribed("a")
    operation = ask(play, "publish", data={"x": 1}).operation()
    assert isinstance(operation, PublishTo) and operation.topic == "a" and operation.keep.size == 100
    assert operation.publication.data == b'{"x":1}' and operation.publication.info == play.session.topics.me
    assert play.done(Position("e", 1)).heard() == [{"id": 5, "publish": {}}]
    assert error_of(ask(play, "publish", data=1).done(INTERNAL)) == 100


def test_a_number_that_json_does_not_have_is_not_published() -> None:
    play = connected()
    play.subscribed("a")
    play.take()
    assert error_of(play.send(b'{"id":5,"publish":{"channel":"a","data":1e999}}')) == 107


def test_a_client_may_not_publish_everywhere() -> None:
    assert error_of(ask(connected(), "publish", data=1)) == 103


def test_ten_publications_a_second_over_ten_seconds() -> None:
    play = connected()
    play.subscribed("a")
    for _ in range(100):
        ask(play, "publish", data=1).operation()
        play.done(None)
    assert error_of(ask(play, "publish", data=1)) == 111
    play.now += 0.1
    ask(play, "publish", data=1).operation()


# -- looks


def test_presence() -> None:
    play = connected()
    play.subscribed("seen:a")
    assert isinstance(ask(play, "presence", channel="seen:a").operation(), ReadPresence)
    clients = {"c1": ClientInfo("c1", "ada")}
    assert play.done(clients).heard() == [{"id": 5, "presence": {"presence": {"c1": {"user": "ada", "client": "c1"}}}}]
    ask(play, "presence_stats", channel="seen:a").operation()
    assert play.done(clients).heard() == [{"id": 5, "presence_stats": {"num_clients": 1, "num_users": 1}}]


def test_a_list_of_thousands_is_too_long_and_their_number_is_not() -> None:
    play = connected()
    play.subscribed("seen:a")
    clients = {str(number): ClientInfo(str(number)) for number in range(1001)}
    assert error_of(ask(play, "presence", channel="seen:a").done(clients)) == 106
    assert ask(play, "presence_stats", channel="seen:a").done(clients).heard()[0]["presence_stats"] == {
        "num_clients": 1001,
        "num_users": 1,
    }


def test_history() -> None:
    play = connected()
    play.subscribed("a")
    operation = ask(play, "history", limit=2, since={"epoch": "e", "offset": 1}, reverse=True).operation()
    assert isinstance(operation, ReadTopic) and operation.look == Look(Position("e", 1), 2, is_reversed=True)
    assert play.done(found("e", 3, 2)).heard() == [
        {"id": 5, "history": {"publications": [{"data": 2, "offset": 2}], "offset": 3, "epoch": "e"}}
    ]
    for limit in (-1, 1000):
        operation = ask(play, "history", limit=limit).operation()
        assert isinstance(operation, ReadTopic) and operation.look == Look(None, 300)
        play.done(found())


def test_an_answer_has_no_more_bytes_than_may_wait() -> None:
    play = connected(Limits(queue=2))
    play.subscribed("a")
    (answer,) = ask(play, "history", limit=3).done(found("e", 3, 1, 2, 3)).heard()
    assert [each["offset"] for each in answer["history"]["publications"]] == [1, 2]


def test_history_of_before_is_not_there() -> None:
    play = connected()
    play.subscribed("a")
    assert error_of(ask(play, "history", since={"epoch": "before", "offset": 1}).done(found("e", 3))) == 112


def test_looks_are_for_subscribers_of_topics_that_keep_it() -> None:
    for name in ("presence", "presence_stats", "history"):
        play = connected()
        assert error_of(ask(play, name)) == 103
        play.subscribed("bare:a")
        assert error_of(ask(play, name, channel="bare:a")) == 108
