"""What is written to Redis comes back as it was, and what another program has written is refused."""

from __future__ import annotations

import pytest

from ws_service.hub.broker import Control, Joined, Left, Published
from ws_service.hub.brokers import redis_format
from ws_service.hub.brokers.redis_format import Keys
from ws_service.hub.publication import ClientInfo, Publication

KEYS = Keys("p", 2)
ADA = ClientInfo("1", "ad\u00e9", b'{"a":"\xc3\xa9"}', b"[]")


def slot_tag(key: str) -> str:
    """Return what a cluster hashes of a key: what is between the first ``{`` and the next ``}``, if anything is."""
    start = key.index("{") + 1
    return key[start : key.index("}", start)] or key


@pytest.mark.parametrize("topic", ["prices", "}x", "{a}b", "a:b{c}", "%7D"])
def test_all_keys_of_a_topic_are_in_one_slot_of_a_cluster(topic: str) -> None:
    assert len({slot_tag(KEYS.of(topic, kind)) for kind in ("meta", "stream", "once:{x}")}) == 1


def test_topics_have_keys_of_their_own() -> None:
    topics = ["a", "}", "%7D", "%257D", "a}", "{a"]
    assert len({KEYS.of(topic, "meta") for topic in topics}) == len(topics)


@pytest.mark.parametrize("topic", ["prices", "a:b:c", "\u4e16", redis_format.CONTROL])
def test_a_channel_names_its_topic_and_the_database(topic: str) -> None:
    channel = KEYS.channel(topic)
    assert channel.startswith(b"p:2:")
    assert KEYS.topic(channel) == topic


@pytest.mark.parametrize(
    "sent", [Publication(b"1"), Publication(b'"a\\nb"', info=ADA, tags={"a": "\u00e9"}), Publication(b"1\n2")]
)
def test_a_publication_comes_back(sent: Publication) -> None:
    body = redis_format.encode_body(sent)
    assert redis_format.decode_body(body, 0) == sent
    expected = Publication(sent.data, 7, sent.info, sent.tags)
    assert redis_format.decode_event("t", b"p7 e\n" + body) == Published("t", expected, "e")


def test_clients_that_come_and_go_come_back() -> None:
    bare = ClientInfo("2")
    assert redis_format.decode_event("t", redis_format.encode_joined(ADA)) == Joined("t", ADA)
    assert redis_format.decode_event("t", redis_format.encode_left(bare)) == Left("t", bare)


def test_an_order_comes_back() -> None:
    order = Control("ada", None, "prices", 2000, "server unsubscribe")
    assert redis_format.decode_control(redis_format.encode_control(order)) == order


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"x", b"p", b"p1", b"px e\n\n1", b"j", b"j{}", b'j{"client":"1"}', b"l[1]", b"p1 e\n{\n1", b"p1 \xff\n"),
        *(b"j" + b"[" * 60_000, b"p1 e\n" + b"[" * 60_000 + b"\n1", b'p1 e\n{"tags":5}\n1', b'p1 e\n{"info":5}\n1'),
        *(b'j{"client":5,"user":"a"}', b'j{"client":"1","user":[]}', b'j{"client":"1","user":"a","connection":5}'),
    ],
)
def test_a_message_of_another_program_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError):
        redis_format.decode_event("t", message)


@pytest.mark.parametrize(
    "order",
    [
        *(b"{}", b"[]", b"1", b'{"user":1,"b":2}', b"x", b"[" * 60_000),
        b'{"user":[],"client":null,"topic":null,"code":1,"reason":""}',
        b'{"user":"a","client":null,"topic":null,"code":"1","reason":""}',
    ],
)
def test_an_order_of_another_program_is_refused(order: bytes) -> None:
    with pytest.raises(ValueError):
        redis_format.decode_control(order)
