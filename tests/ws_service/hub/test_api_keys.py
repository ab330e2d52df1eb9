"""Which requests are the operator's. What a wrong key is answered with is tested with the API."""

from __future__ import annotations

from typing import Any

import pytest

from ws_service.hub.api_keys import FORWARDED, ApiKeys, is_forwarded

KEY = "k" * 64


def scope(*fields: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"headers": list(fields)}


@pytest.mark.parametrize("name", sorted(FORWARDED))
def test_a_request_that_came_through_a_gateway_is_known_by_any_of_its_fields(name: bytes) -> None:
    assert is_forwarded(scope((b"host", b"a"), (name, b"")))
    assert not is_forwarded(scope((b"host", b"a")))


def test_without_keys_no_request_has_one() -> None:
    assert ApiKeys([KEY]).has(scope((b"x-api-key", KEY.encode())))
    assert not ApiKeys([]).has(scope((b"x-api-key", KEY.encode())))
    assert not ApiKeys([]).has(scope((b"x-api-key", b"")))
