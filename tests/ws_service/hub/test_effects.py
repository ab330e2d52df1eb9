"""The effects of a session."""

from __future__ import annotations

from ws_service.hub.codes import INTERNAL, PERMISSION_DENIED, TOKEN_EXPIRED, TOO_MANY_REQUESTS
from ws_service.hub.effects import Send, answer, refuse


def test_an_answer_is_not_counted_and_an_avoidable_error_is() -> None:
    assert answer(1, "publish") == Send(b'{"id":1,"publish":{}}')
    assert refuse(1, PERMISSION_DENIED).is_counted
    assert not any(refuse(1, error).is_counted for error in (INTERNAL, TOKEN_EXPIRED, TOO_MANY_REQUESTS))
