"""A call in a child process returns a value, or says how the process ended."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from ws_service.hosting.child import Answer, call

pytestmark = pytest.mark.system


def test_what_the_function_returns_is_the_answer_and_what_it_prints_is_dropped() -> None:
    assert call("platform:system").value == "Linux"
    assert call("builtins:print", "a word") == Answer(None, None)


def test_a_process_that_ends_without_an_answer_is_told_with_its_last_lines() -> None:
    answer = call("sys:exit", "no licence")
    assert (answer.failure, answer.printed) == ("ended the process with exit code 1", ("no licence",))


def test_a_function_that_fails_is_told_with_its_traceback() -> None:
    answer = call("json:loads", "{")
    assert answer.failure == "ended the process with exit code 1"
    assert answer.printed[-1].startswith("json.decoder.JSONDecodeError")


def test_a_call_has_a_deadline() -> None:
    assert call("signal:pause", deadline=0.5).failure == "has not ended within 0.5 s"


def writes_everywhere() -> None:
    """Stand for a module that forks as it is imported: then two processes answer, one after the other."""
    for descriptor in range(3, 20):
        with suppress(OSError):
            os.write(descriptor, b"x")


def test_an_answer_that_cannot_be_read_is_none() -> None:
    answer = call("tests.ws_service.hosting.test_child:writes_everywhere")
    assert answer.failure == "ended the process with exit code 0"
