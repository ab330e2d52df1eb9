"""Methods that may be sent again."""

from __future__ import annotations

import pytest

from proxy.http1.methods import IDEMPOTENT, SAFE


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "PURGE", "get", ""])
def test_what_may_do_harm_when_it_comes_twice_or_is_not_known_is_never_sent_again(method: str) -> None:
    assert method not in IDEMPOTENT
    assert method not in SAFE


def test_what_may_be_sent_again_later_may_be_sent_again_at_once() -> None:
    assert SAFE < IDEMPOTENT
    assert "PUT" in IDEMPOTENT - SAFE
