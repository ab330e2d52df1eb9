"""A publisher of one's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ws_service.publisher.publisher import Publisher


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.close()
