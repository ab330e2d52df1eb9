"""A client's session as plays: bytes in, effects out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ws_service.hub.session_play import Deliver, Play, Release, encoded, found
from ws_service.hub.codes import INSUFFICIENT_STATE, INTERNAL, UNSUBSCRIBED_BY_SERVER
from ws_service.hub.effects import End, Enter, PauseReading, ReadPresence, ResumeReading, Send
from ws_service.hub.limits import Limits
from ws_service.hub.session_states import SESSION, SessionState

CONNECT = {"id": 1, "connect": {}}


def subscribe(number: int, topic: str, **fields: Any) -> dict[str, Any]:
    return {"id": number, "subscribe": {"channel": topic, **fields}}


# -- connecting


def test_a_client_connects() -> None:
    play = Play().say({"id": 1, "connect": {"name": "js"}})
    assert play.heard() == [
        {"id": 1, "connect": {"client": "c1", "version": "dash-ws-service", "ping": 25, "pong": True}}
    ]
    assert play.session.state is SessionState.OPEN


def test_a_token_says_whose_it_is_and_how_long() -> None:
    play = Play(user="header").say({"id": 1, "connect": {"token": "ada,60"}})
    (answer,) = play.heard()
    assert answer["connect"]["expires"] is True and answer["connect"]["ttl"] == 60
    assert play.session.topics.me.user == "ada" and play.session.topics.me.connection == b'{"name":"A"}'


def test_without_a_token_it_is_the_gateways_user() -> None:
    play = Play(user="ada").connected()
    assert play.session.topics.me.user == "ada"


def test_an_expired_token_may_be_replaced_and_a_wrong_one_may_not() -> None:
    play = Play().say({"id": 1, "connect": {"token": "ada,0"}})
    assert play.heard() == [{"id": 1, "error": {"code": 109, "message": "token expired"}}]
    assert play.session.state is SessionState.NEW
    assert play.say({"id": 2, "connect": {"token": "bad"}}).ends() == [3500]
    assert play.session.is_ended


@pytest.mark.parametrize("command", [{"id": 1, "subscribe": {"channel": "a"}}, {"id": 1, "refresh": {"token": "ada"}}])
def test_nothing_comes_before_connect(command: dict[str, Any]) -> None:
    assert Play().say(command).ends() == [3501]


def test_connect_comes_once() -> None:
    assert Play().connected().say(CONNECT).ends() == [3501]


def test_what_cannot_be_read_ends_it() -> None:
    assert Play().connected().send(b"{nonsense").ends() == [3501]
    assert Play().connected().send(b"{}\n" * 3000).ends() == [3013]


def test_rpc_and_send_are_not_here() -> None:
    play = Play().connected().say({"id": 2, "rpc": {"data": 1}}, {"id": 3, "send": {"data": 1}})
    assert [(each["id"], each["error"]["code"]) for each in play.heard()] == [(2, 104), (3, 104)]


def test_an_ended_session_does_nothing() -> None:
    play = Play().connected()
    assert play.session.end(UNSUBSCRIBED_BY_SERVER) == [End(UNSUBSCRIBED_BY_SERVER)]
    assert not play.session.end(None) and not play.session.end_subscription("a", UNSUBSCRIBED_BY_SERVER)
    assert not play.say(CONNECT).done(None).tick(now=1e9).take()


# -- subscriptions of the server


def test_the_servers_subscriptions_are_in_the_answer() -> None:
    play = Play().say({"id": 1, "connect": {"token": "ada+a+bare:b", "subs": {"a": {"recover": True, "epoch": "e"}}}})
    first = play.operation()
    assert isinstance(first, Enter) and first.subscription.topic == "a" and first.subscription.is_by_server
    second = play.done(found("e", 3, 3)).operation()
    assert isinstance(second, Enter) and second.look is None
    first.subscription.receive(encoded(4))
    effects = play.done(None).take()
    (sent,) = [json.loads(each.message) for each in effects if isinstance(each, Send)]
    assert sent["connect"]["subs"]["bare:b"] == {}
    assert sent["connect"]["subs"]["a"]["publications"] == [{"data": 3, "offset": 3}]
    assert sent["connect"]["subs"]["a"]["recovered"] is True
    delivered = [each.offset for effect in effects if isinstance(effect, Deliver) for each in effect.publications]
    assert delivered == [4]
    assert list(play.session.topics) == ["a", "bare:b"]


def test_one_that_fails_has_the_client_come_back() -> None:
    play = Play().say({"id": 1, "connect": {"token": "ada+a"}})
    assert play.done(INTERNAL).ends() == [3004]


def test_one_that_overflows_meanwhile_has_the_client_come_back() -> None:
    play = Play(Limits(buffered=1)).say({"id": 1, "connect": {"token": "ada+a+b"}})
    operation = play.operation()
    assert isinstance(operation, Enter)
    play.done(found())
    for offset in (1, 2):
        operation.subscription.receive(encoded(offset))
    assert play.done(found()).ends() == [3004]


def test_one_that_is_taken_back_meanwhile_is_not_in_the_answer() -> None:
    play = Play().say({"id": 1, "connect": {"token": "ada+a+b"}})
    play.done(found())
    play.effects += play.session.end_subscription("a", UNSUBSCRIBED_BY_SERVER)
    play.effects += play.session.end_subscription("b", UNSUBSCRIBED_BY_SERVER)
    effects = play.done(found()).take()
    assert sum(isinstance(each, Release) for each in effects) == 2
    assert [json.loads(each.message)["connect"].get("subs") for each in effects if isinstance(each, Send)] == [None]


def test_one_whose_position_is_lost_has_the_client_come_back() -> None:
    play = Play().say({"id": 1, "connect": {"token": "ada+a"}}).done(found())
    play.take()
    play.effects += play.session.end_subscription("a", INSUFFICIENT_STATE)
    assert play.ends() == [3010]


# -- order, and what waits


def test_commands_are_executed_in_order_one_at_a_time() -> None:
    play = Play().say(CONNECT, subscribe(2, "a"), subscribe(3, "b"), {"id": 4, "unsubscribe": {"channel": "a"}})
    assert [each["id"] for each in play.heard()] == [1]
    play.done(found())
    assert [each["id"] for each in play.heard()] == [2]
    play.done(found())
    assert [each["id"] for each in play.heard()] == [3, 4]


def test_a_pong_does_not_wait() -> None:
    play = Play().connected().tick(now=20).say(subscribe(2, "a")).say({}).tick(now=29)
    assert play.ends() == []


def test_reading_is_paused_while_many_wait() -> None:
    play = Play().connected().say(subscribe(2, "a"))
    commands = [{"id": number, "unsubscribe": {"channel": "b"}} for number in range(3, 103)]
    effects = play.say(*commands).say(*commands).take()
    assert effects.count(PauseReading()) == 1
    effects = play.done(found()).take()
    assert effects[-1] == ResumeReading() and sum(isinstance(each, Send) for each in effects) == 201


def test_what_waits_is_given_up_at_the_end() -> None:
    play = Play().connected().say(subscribe(2, "a"), subscribe(3, "b"))
    play.take()
    play.effects += play.session.end(None)
    assert [each.subscription.topic for each in play.take() if isinstance(each, Release)] == ["a"]
    assert not play.done(found()).take()


# -- limits


def test_a_flood_of_commands_ends_it() -> None:
    play = Play().connected()
    for _ in range(9):
        assert play.send(b"{}\n" * 100).ends() == []
    assert play.send(b"{}\n" * 100).ends() == [3013]


def test_the_average_may_go_on_for_ever() -> None:
    play = Play().connected()
    for second in range(1, 60):
        play.now = float(second)
        assert play.send(b"{}\n" * 100).ends() == []


def test_empty_messages_are_counted_too() -> None:
    play = Play().connected()
    for _ in range(999):
        play.send(b"\n")
    assert play.ends() == [] and play.send(b"\n").ends() == [3013]


def test_large_messages_count_as_several() -> None:
    play = Play().connected()
    for _ in range(31):
        assert play.send(b"\n" * 2 + b" " * 65_536).ends() == []
    assert play.send(b"\n" * 2 + b" " * 65_536).ends() == [3013]


def test_errors_are_counted() -> None:
    play = Play(Limits(errors=10)).connected()
    play.say(*[subscribe(number, "secret") for number in range(2, 12)])
    assert len(play.heard()) == 10
    assert play.say(subscribe(12, "secret")).ends() == [3509]


def test_temporary_errors_are_not_counted() -> None:
    play = Play(Limits(errors=1)).connected()
    for number in range(5):
        play.say(subscribe(number + 2, "a")).done(INTERNAL)
    assert play.ends() == []


# -- time


def test_without_connect_it_is_stale() -> None:
    assert Play().tick(now=9.9).ends() == []
    assert Play().tick(now=10).ends() == [3502]


def test_pings_and_their_deadline() -> None:
    play = Play().connected().tick(now=12)
    assert play.heard() == []
    assert play.tick(now=12.5).heard() == [{}]
    assert play.say({}).tick(now=20.5).ends() == []
    assert play.tick(now=37.5).heard() == [{}]
    assert play.tick(now=45.5).ends() == [3012]


def test_a_pong_that_is_not_read_is_not_missed() -> None:
    play = Play().connected().tick(now=12.5).say(subscribe(2, "a"))
    play.say(*[{"id": number, "unsubscribe": {"channel": "b"}} for number in range(3, 103)])
    assert PauseReading() in play.take() and play.tick(now=30).ends() == []
    assert play.done(found()).say({}).tick(now=36).ends() == []


def test_what_only_receives_is_told_of_no_pings() -> None:
    play = Play(answers_pings=False).say(CONNECT)
    assert "ping" not in play.heard()[0]["connect"]
    assert play.tick(now=1000).heard() == []


def test_a_connection_expires_unless_it_is_refreshed() -> None:
    play = Play().connected("ada,60")
    assert play.tick(now=1, wall=84).ends() == [] and play.tick(wall=85).ends() == [3005]
    play = Play().connected("ada,60").say({"id": 2, "refresh": {"token": "ada,100"}})
    assert play.heard()[0]["refresh"] == {
        "client": "c1",
        "version": "dash-ws-service",
        "expires": True,
        "ttl": 100,
    }
    assert play.tick(now=1, wall=124).ends() == [] and play.tick(wall=125).ends() == [3005]


@pytest.mark.parametrize(("token", "code"), [("bad", 3500), ("bob", 3500), ("ada,0", 3005)])
def test_a_refresh_with_a_wrong_token_ends_it(token: str, code: int) -> None:
    assert Play().connected("ada,60").say({"id": 2, "refresh": {"token": token}}).ends() == [code]


def test_a_subscription_expires_unless_it_is_refreshed() -> None:
    play = Play().connected()
    play.subscribed("secret", token="ok,60")
    assert play.take() and play.tick(now=1, wall=84).take() == []
    effects = play.tick(wall=85).take()
    assert any(isinstance(each, Release) for each in effects)
    assert json.loads(effects[-1].message)["push"] == {  # type: ignore[union-attr]
        "channel": "secret",
        "unsubscribe": {"code": 2501, "reason": "subscription expired"},
    }


# -- whatever comes


_COMMANDS = st.one_of(
    st.builds(
        lambda number, name, topic, more: {"id": number, name: {"channel": topic, **more}},
        st.integers(1, 9),
        st.sampled_from(
            ["connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "sub_refresh"]
        ),
        st.sampled_from(["a", "stream:a", "bare:a", "seen:a", "secret"]),
        st.fixed_dictionaries(
            {},
            optional={
                "token": st.sampled_from(["ok", "ok,5", "ok,0", "no"]),
                "recover": st.just(True),
                "flag": st.integers(0, 3),
                "data": st.just(1),
                "limit": st.integers(-2, 500),
                "since": st.just({"epoch": "e", "offset": 1}),
            },
        ),
    ),
    st.just({}),
    st.just({"id": 1, "connect": {}}),
    st.just({"id": 2, "refresh": {"token": "ada"}}),
    st.just({"id": 3, "rpc": {}}),
)
_STEPS = st.one_of(
    st.tuples(st.just("say"), st.lists(_COMMANDS, min_size=1, max_size=4)),
    st.tuples(st.just("done"), st.booleans()),
    st.tuples(st.just("tick"), st.floats(0, 20)),
    st.tuples(st.just("lost"), st.sampled_from(["a", "stream:a", "seen:a"])),
    st.tuples(st.just("receive"), st.integers(0, 5)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_STEPS, max_size=25), st.booleans())
def test_whatever_happens_everything_claimed_is_given_back(steps: list[Any], is_connected: bool) -> None:
    play = Play(Limits(errors=8, buffered=3))
    if is_connected:
        play.connected()
    claimed: dict[int, Any] = {}
    operation: Any = None
    for kind, value in steps:
        if kind == "say":
            play.say(*value)
        elif kind == "tick":
            play.tick(now=play.now + value, wall=play.now + value)
        elif kind == "lost":
            play.effects += play.session.end_subscription(value, INSUFFICIENT_STATE)
        elif kind == "receive":
            for subscription in claimed.values():
                subscription.receive(encoded(value))
        elif operation is not None:
            play.done(INTERNAL if not value else _outcome(operation))
        operation = _account(play, claimed, operation if kind not in ("done",) else None)
    play.effects += play.session.end(None)
    _account(play, claimed, None)
    assert not claimed and play.session.is_ended and not list(play.session.topics)


def _outcome(operation: Any) -> Any:
    if isinstance(operation, ReadPresence):
        return {}
    if isinstance(operation, Enter) and operation.look is None:
        return None
    return found("e", 3, 3) if hasattr(operation, "look") else None


def _account(play: Play, claimed: dict[int, Any], operation: Any) -> Any:
    """Note what is claimed and given back; there is one operation at a time, and nothing after the end."""
    is_over = False
    for effect in play.take():
        assert not is_over
        if isinstance(effect, Enter):
            claimed[id(effect.subscription)] = effect.subscription
        if isinstance(effect, Release):
            assert claimed.pop(id(effect.subscription)).is_ended
        is_over = isinstance(effect, End)
        if type(effect).__name__ in ("Enter", "PublishTo", "ReadPresence", "ReadTopic"):
            assert operation is None
            operation = effect
    return None if play.session.is_ended else operation


def test_the_states_are_those_of_the_table() -> None:
    assert set(SESSION) == set(SessionState)
