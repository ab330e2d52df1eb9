"""What a subscriber says to each kind of server."""

import json

import pytest

from benchmarks.dialects import TOPIC, Centrifugo, Plain, SocketIO, numbers


def test_every_publication_of_a_message_is_counted() -> None:
    assert numbers(b'{"push":{"pub":{"data":{"n":12,"pad":"x"}}}}\n{"push":{"pub":{"data":{"n":13,"pad":"x"}}}}') == [
        12,
        13,
    ]


def test_a_plain_server_is_told_nothing() -> None:
    plain = Plain()
    assert plain.hello() is None
    assert plain.is_subscribed
    assert plain.take(b'{"n":1}') == ([1], None)


def test_socketio_is_joined_and_its_pings_are_answered() -> None:
    dialect = SocketIO()
    assert dialect.hello() is None
    assert dialect.take(b'0{"sid":"x"}') == ((), b"40")
    assert not dialect.is_subscribed
    assert dialect.take(b'40{"sid":"y"}') == ((), None)
    assert dialect.is_subscribed
    assert dialect.take(b"2") == ((), b"3")
    assert dialect.take(b'42["message",{"n":5}]') == ([5], None)


@pytest.mark.parametrize("newest", [b'{"push":{"channel":"c","pub":{"data":{"n":7},"offset":9}}}', b""])
def test_a_subscriber_of_the_hub_comes_back_to_where_it_was(newest: bytes) -> None:
    dialect = Centrifugo()
    first = [json.loads(line) for line in dialect.hello().split(b"\n")]
    assert first == [{"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": TOPIC}}]
    dialect.take(b'{"id":2,"subscribe":{"recoverable":true,"epoch":"abc","offset":4}}')
    assert dialect.is_subscribed
    dialect.take(newest)
    _, again = dialect.hello().split(b"\n")
    position = {"recover": True, "epoch": "abc", "offset": 9 if newest else 4}
    assert json.loads(again)["subscribe"] == {"channel": TOPIC, **position}
    assert not dialect.is_subscribed


def test_a_ping_of_the_hub_is_answered() -> None:
    assert Centrifugo().take(b"{}") == ((), b"{}")
