"""Which requests to the service's own listener are the operator's: with the API's key, and through no gateway."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from starlette.types import Scope

FORWARDED = frozenset(
    (
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-request-id",
    )
)
"""Fields of requests that came through a gateway. Ours adds X-Forwarded-For and X-Request-Id to each, after it has
taken off what the client wrote and what ``Connection`` names."""

NO_KEY = "The key is missing or wrong: send the hub's API key in X-API-Key."

_SCHEME = b"apikey "


class ApiKeys:
    """The keys of the API. keys: each of them is accepted."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def has(self, scope: Scope) -> bool:
        """Tell whether a request has one, in a time that does not depend on how much of a wrong key is right."""
        given = _key(scope)
        if given is None:
            return False
        return any([hmac.compare_digest(given, key) for key in self._keys])


def is_forwarded(scope: Scope) -> bool:
    """Tell whether a request came through a gateway."""
    return any(name in FORWARDED for name, _ in scope["headers"])


def _key(scope: Scope) -> bytes | None:
    """Return the key in a request; None where there is none, or more than one."""
    given = [value for name, value in scope["headers"] if name == b"x-api-key"]
    given += [
        value[len(_SCHEME) :]
        for name, value in scope["headers"]
        if name == b"authorization" and value[: len(_SCHEME)].lower() == _SCHEME
    ]
    return given[0] if len(given) == 1 else None
