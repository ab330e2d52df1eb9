"""How messages to clients are written."""

from __future__ import annotations

import json

from ws_service.hub import messages
from ws_service.hub.codes import INTERNAL, PERMISSION_DENIED, UNSUBSCRIBED_BY_SERVER
from ws_service.hub.publication import ClientInfo, Position, Publication

ADA = ClientInfo("c1", "ada", b'{"name":"A"}', b'{"x":1}')
SEEN = {"user": "ada", "client": "c1", "conn_info": {"name": "A"}, "chan_info": {"x": 1}}


def test_replies_have_the_number_of_their_command() -> None:
    assert messages.reply(7, "publish") == b'{"id":7,"publish":{}}'
    assert messages.error_reply(7, PERMISSION_DENIED) == b'{"id":7,"error":{"code":103,"message":"permission denied"}}'
    assert json.loads(messages.error_reply(7, INTERNAL))["error"]["temporary"] is True


def test_data_is_passed_through_as_it_is() -> None:
    pushed = messages.publication_push("a", Publication(b'{"x" : 1.10}', 3, ADA, {"k": "v"}))
    assert b'{"x" : 1.10}' in pushed
    assert json.loads(pushed) == {
        "push": {"channel": "a", "pub": {"data": {"x": 1.1}, "offset": 3, "info": SEEN, "tags": {"k": "v"}}}
    }
    assert messages.publication_push("a", Publication(b"0")) == b'{"push":{"channel":"a","pub":{"data":0}}}'


def test_clients_come_and_go() -> None:
    assert json.loads(messages.join_push("a", ADA)) == {"push": {"channel": "a", "join": {"info": SEEN}}}
    assert json.loads(messages.leave_push("a", ClientInfo("c1"))) == {
        "push": {"channel": "a", "leave": {"info": {"client": "c1"}}}
    }


def test_the_end_of_a_subscription_is_pushed() -> None:
    assert json.loads(messages.unsubscribe_push('a"', UNSUBSCRIBED_BY_SERVER)) == {
        "push": {"channel": 'a"', "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}
    }


def test_a_push_is_told_from_a_reply_and_has_a_content() -> None:
    push = messages.publication_push("a", Publication(b"0"))
    assert messages.is_push(push) and messages.content_of(push) == b'{"channel":"a","pub":{"data":0}}'
    assert not any(map(messages.is_push, (messages.PING, messages.reply(1, "publish"))))


def test_what_connect_is_answered() -> None:
    assert json.loads(messages.connect_result("c1", "v", 25, None, {})) == {
        "client": "c1",
        "version": "v",
        "ping": 25,
        "pong": True,
    }
    assert json.loads(messages.connect_result("c1", "v", 0, 0.4, {"a": b"{}"})) == {
        "client": "c1",
        "version": "v",
        "subs": {"a": {}},
        "expires": True,
        "ttl": 1,
    }


def test_what_refreshes_are_answered() -> None:
    assert json.loads(messages.refresh_result("c1", "v", 60.9)) == {
        "client": "c1",
        "version": "v",
        "expires": True,
        "ttl": 60,
    }
    assert messages.expiry_result(None) == b"{}"


def test_what_subscribe_is_answered() -> None:
    assert messages.subscribe_result(None) == b"{}"
    assert json.loads(
        messages.subscribe_result(
            Position("e", 2), [Publication(b"1", 3)], ttl=9, was_recovering=True, is_recovered=True
        )
    ) == {
        "expires": True,
        "ttl": 9,
        "recoverable": True,
        "positioned": True,
        "epoch": "e",
        "offset": 2,
        "publications": [{"data": 1, "offset": 3}],
        "was_recovering": True,
        "recovered": True,
    }


def test_what_looks_are_answered() -> None:
    assert json.loads(messages.history_result(Position("e", 0), ())) == {"publications": [], "offset": 0, "epoch": "e"}
    clients = {"c1": ADA, "c2": ClientInfo("c2", "ada"), "c3": ClientInfo("c3")}
    assert json.loads(messages.presence_result(clients))["presence"]["c2"] == {"client": "c2", "user": "ada"}
    assert json.loads(messages.presence_stats_result(clients)) == {"num_clients": 3, "num_users": 2}
