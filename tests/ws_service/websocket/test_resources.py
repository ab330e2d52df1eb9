"""What the connections of a process share."""

from __future__ import annotations

import logging

import pytest

from ws_service.websocket.resources import READ_SIZE, Resources


def test_all_connections_read_into_one_buffer() -> None:
    assert len(Resources(1 << 20).buffer) == READ_SIZE


def test_the_limit_of_memory_is_that_of_each_client() -> None:
    assert Resources(12345).memory.account("203.0.113.7").limit == 12345


def test_what_clients_cause_is_logged_once_for_all_connections(caplog: pytest.LogCaptureFixture) -> None:
    resources = Resources(1 << 20)
    for _ in range(2):
        resources.log.say("kind", logging.WARNING, "a client did this")
    assert caplog.text.count("a client did this") == 1
