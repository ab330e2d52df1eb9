"""A call in a child process returns a value, or says how the process ended."""

from __future__ import annotations

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
