"""Errors of the Redis client become those of a broker."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from ws_service.hub.broker import BrokerError
from ws_service.hub.brokers.redis_errors import as_broker_error


@pytest.mark.parametrize("error", [ResponseError("OOM"), ConnectionRefusedError(), TimeoutError(), ValueError("x")])
def test_errors_of_redis_sockets_and_foreign_data_are_errors_of_the_broker(error: Exception) -> None:
    with pytest.raises(BrokerError, match="Redis: "), as_broker_error():
        raise error


def test_faults_stay_what_they_are() -> None:
    with pytest.raises(KeyError), as_broker_error():
        raise KeyError("x")
