"""Publishing, and what of its failures reaches the caller and the log."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.processes import free_port
from tests.ws_service.publisher.api_server import KEY, Api
from ws_service.errors import PublishError
from ws_service.hub.keys import KEY_VARIABLE
from ws_service.hub.publication import Position
from ws_service.publisher import publisher as module
from ws_service.publisher.hub_address import URL_VARIABLE
from ws_service.publisher.publisher import Publisher


def publish(
    publisher: Publisher, data: Any = 1, *, topic: str = "prices", key: str | None = None, timeout: float = 5.0
) -> Position | None:
    return publisher.publish(topic, data, raise_errors=False, idempotency_key=key, timeout=timeout)


def insist(publisher: Publisher, data: Any = 1, *, timeout: float = 5.0) -> Position | None:
    return publisher.publish("prices", data, raise_errors=True, idempotency_key=None, timeout=timeout)


def test_a_message_is_published_and_its_position_returned(api: Api, publisher: Publisher) -> None:
    assert publish(publisher, {"AAPL": 189.2}) == Position("e", 1)
    assert api.requests == [{"channel": "prices", "data": {"AAPL": 189.2}}]


def test_messages_of_one_thread_share_a_connection(api: Api, publisher: Publisher) -> None:
    for number in range(1, 6):
        assert publish(publisher, number) == Position("e", number)
    assert api.connections == 1


def test_threads_have_connections_of_their_own_and_nothing_is_mixed(api: Api, publisher: Publisher) -> None:
    def play() -> None:
        for _ in range(50):
            publish(publisher)

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(api.requests) == 200
    assert api.connections <= 4


async def test_it_can_be_called_in_a_running_loop(api: Api, publisher: Publisher) -> None:
    assert publish(publisher) == Position("e", 1)
    assert await asyncio.to_thread(publish, publisher) == Position("e", 2)


@pytest.mark.parametrize("topic", ["", "x" * 256, "a\nb", None, b"a"])
def test_what_is_no_topic_is_the_callers_fault(publisher: Publisher, topic: Any) -> None:
    with pytest.raises(ValueError, match="is not the name of a topic"):
        publish(publisher, topic=topic)


def test_data_that_is_too_large_is_refused_before_it_is_sent(
    publisher: Publisher, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config.yaml").write_text("ws_service: {hub: {max_publication: 1KiB}}")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with pytest.raises(ValueError, match="has 1026 bytes as JSON, and a publication may have 1024"):
        publish(publisher, "x" * 1024)


# -- a hub that is not there


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv(URL_VARIABLE, url)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return url


def test_a_hub_that_is_down_does_not_raise_and_is_logged_once(
    nowhere: str, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    assert [publish(publisher) for _ in range(100)] == [None] * 100
    [line] = caplog.messages
    assert line == (
        f"a message for 'prices' is not published: there is no hub at {nowhere} (Connection refused): "
        "start dash-ws-service. Change DASH_WS_HUB_URL or DASH_WS_HUB_KEY."
    )
    assert caplog.records[0].levelno == logging.WARNING


def test_a_hub_that_is_down_raises_when_that_is_asked_for(
    nowhere: str, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PublishError, match="there is no hub at"):
        insist(publisher)
    assert caplog.messages == []


def test_a_hub_that_hangs_costs_one_timeout_and_not_one_for_each_message(
    api: Api, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    api.answer = lambda number: None
    began = time.monotonic()
    assert [publish(publisher, timeout=0.3) for _ in range(100)] == [None] * 100
    assert time.monotonic() - began < 3
    assert len(api.requests) == 1
    [line] = caplog.messages
    assert "does not answer within 0.3 s; it is not asked again for 5 s" in line
    with pytest.raises(PublishError, match="did not answer lately, and is not asked"):
        insist(publisher)


def test_it_is_asked_again_after_a_pause_and_the_log_says_that_it_answers(
    api: Api, publisher: Publisher, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answer = lambda number: None if number == 1 else (200, {"result": {"offset": number, "epoch": "e"}})
    for _ in range(3):
        assert publish(publisher, timeout=0.3) is None
    skipped = time.monotonic() + 5
    monkeypatch.setattr(module.time, "monotonic", lambda: skipped)
    assert publish(publisher) == Position("e", 2)
    assert caplog.messages[1:] == [f"the hub at {api.url} answers again (2 more since the last line)"]


def test_a_hub_that_is_not_found_is_logged_once(
    folder: Path, publisher: Publisher, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "limited", module.LimitedLog(module.log))
    assert [publish(publisher) for _ in range(5)] == [None] * 5
    [line] = caplog.messages
    assert "set DASH_WS_PROXY_CONFIG" in line


def test_what_the_hub_refuses_is_logged_once_of_each_kind(
    api: Api, publisher: Publisher, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "limited", module.LimitedLog(module.log))
    api.answer = lambda number: (200, {"error": {"code": 102 + number % 2, "message": "no"}})
    assert [publish(publisher) for _ in range(10)] == [None] * 10
    assert len(caplog.messages) == 2
    with pytest.raises(PublishError):
        insist(publisher)


# -- stale connections


def age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what was used last been used long ago."""
    monkeypatch.setattr(module, "FRESH", -1.0)


def test_a_connection_that_was_closed_for_being_idle_is_replaced(api: Api, publisher: Publisher) -> None:
    api.closes_after = 1
    for number in range(1, 4):
        assert publish(publisher) == Position("e", number)
        assert api.closed.wait(5)
        api.closed.clear()
    assert api.connections == 3


def test_a_request_that_meets_the_close_is_sent_once_more_with_the_same_key(
    api: Api, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(publisher)
    age(monkeypatch)
    api.is_closing_before_the_answer = True
    assert publish(publisher) == Position("e", 3)
    first, again = api.requests[1:]
    assert first == again
    assert len(first["idempotency_key"]) == 24


def test_a_request_that_may_have_been_published_is_not_sent_again_without_a_key(api: Api, publisher: Publisher) -> None:
    publish(publisher)
    api.is_closing_before_the_answer = True
    with pytest.raises(PublishError):
        insist(publisher)
    assert len(api.requests) == 2
    assert "idempotency_key" not in api.requests[1]


def test_a_key_of_the_caller_is_sent(api: Api, publisher: Publisher) -> None:
    publish(publisher)
    api.is_closing_before_the_answer = True
    assert publish(publisher, key='task "7"') == Position("e", 3)
    assert [each["idempotency_key"] for each in api.requests[1:]] == ['task "7"'] * 2


# -- forks


def test_after_a_fork_the_child_has_connections_of_its_own(api: Api, publisher: Publisher) -> None:
    publish(publisher)
    publisher.forked()
    assert publish(publisher) == Position("e", 2)
    assert api.connections == 2


def test_the_parents_connection_outlives_the_childs_close(api: Api, publisher: Publisher) -> None:
    publish(publisher)
    pid = os.fork()
    if pid == 0:
        publisher.forked()
        os._exit(0)
    os.waitpid(pid, 0)
    assert publish(publisher) == Position("e", 2)
    assert api.connections == 1
