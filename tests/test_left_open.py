"""What a test leaves open on a uvloop is a failure with its name, and no wait for ever."""

from __future__ import annotations

import asyncio

import pytest
import uvloop


def test_what_is_left_open_on_a_loop_is_named() -> None:
    loop = uvloop.new_event_loop()
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    with pytest.raises(AssertionError, match="left open on the event loop: unclosed resource <TCPServer"):
        loop.close()
    assert loop.is_closed()
    del server


def test_a_loop_with_nothing_open_is_closed_without_a_word() -> None:
    loop = uvloop.new_event_loop()
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.close()
    assert loop.is_closed()
