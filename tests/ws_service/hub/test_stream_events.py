"""Messages as events; the streams that are made of them are in ``test_event_stream.py``."""

from __future__ import annotations

import json

from ws_service.hub.codes import INSUFFICIENT_STATE, UNSUBSCRIBED_BY_SERVER
from ws_service.hub.encoded import Encoded
from ws_service.hub.messages import join_push, publication_push, unsubscribe_push
from ws_service.hub.publication import ClientInfo, Publication
from ws_service.hub.stream_events import KEEP_ALIVE, StreamEvents
from ws_service.hub.stream_query import Wanted
from ws_service.hub.topics import SlowPolicy


def events(*, is_raw: bool = False) -> StreamEvents:
    return StreamEvents(Wanted(is_raw))


def message(data: bytes = b'{"x":1}', offset: int = 0) -> Encoded:
    return Encoded("a", publication_push("a", Publication(data, offset)), data, offset, SlowPolicy.LATEST)


def test_a_publication_is_a_push_without_the_object_around_it() -> None:
    assert events().publication(message()) == b'data: {"channel":"a","pub":{"data":{"x":1}}}\n\n'


def test_a_publication_in_the_raw_form_is_its_data() -> None:
    assert events(is_raw=True).publication(message()) == b'data: {"x":1}\n\n'


def test_ids_follow_the_offsets_and_never_go_back() -> None:
    made = events(is_raw=True)
    made.subscribed("a", {"positioned": True, "epoch": "e", "offset": 3})
    assert made.publication(message(offset=4)).startswith(b"id: a=4.e\n")
    made.publication(message(offset=2))
    assert made.publication(message(offset=5)).startswith(b"id: a=5.e\n")


def test_data_that_says_unsubscribe_ends_nothing() -> None:
    made = events()
    made.subscribed("a", {})
    join = join_push("a", ClientInfo("c", connection=b'{"unsubscribe":{"code":2500}}'))
    assert made.push(join) == [b"data: %b\n\n" % json.dumps(json.loads(join)["push"], separators=(",", ":")).encode()]
    assert not made.is_over and made.topics == {"a"}


def test_a_stream_is_over_when_it_has_lost_something_or_everything() -> None:
    made = events()
    made.subscribed("a", {})
    made.subscribed("b", {})
    made.push(unsubscribe_push("a", UNSUBSCRIBED_BY_SERVER))
    assert not made.is_over
    made.push(unsubscribe_push("b", UNSUBSCRIBED_BY_SERVER))
    assert made.is_over
    lost = events()
    lost.subscribed("a", {})
    lost.subscribed("b", {})
    lost.push(unsubscribe_push("a", INSUFFICIENT_STATE))
    assert lost.is_over


def test_a_keep_alive_is_a_comment() -> None:
    assert KEEP_ALIVE.startswith(b":") and KEEP_ALIVE.endswith(b"\n\n")


def test_ids_are_short_or_there_are_none_from_the_beginning() -> None:
    names = [chr(0x1F600 + number) * 200 for number in range(3)]
    made = StreamEvents(Wanted(True, "", dict.fromkeys(names, "")))
    result = {"positioned": True, "epoch": "e", "offset": 3}
    made.connected({})
    for name in names:
        assert made.subscribed(name, result) == []
    by_server = StreamEvents(Wanted(True, "", {"a": ""}))
    by_server.connected({"subs": {f"b{number}": result for number in range(16)}})
    assert by_server.subscribed("a", result) == []
