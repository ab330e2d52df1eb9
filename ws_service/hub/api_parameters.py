"""The parameters of a request to the API, read and checked."""

from __future__ import annotations

from typing import Any

from ws_service.hub.codes import BAD_REQUEST, ErrorCode
from ws_service.hub.protocol import MAX_OFFSET, write_json
from ws_service.hub.publication import Position
from ws_service.hub.topics import is_valid
from ws_service.websocket.frame_format import MAX_REASON

MAX_KEY = 255
"""Characters of an idempotency key."""


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, error: ErrorCode) -> None:
        super().__init__(error.message)
        self.error = error


class Parameters:
    """Reads the parameters of one method, by their names. Each method raises Refusal for a value that makes no sense.

    values: what the request has; parameters that are not known are ignored, as Centrifugo does.
    """

    def __init__(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise Refusal(BAD_REQUEST)
        self._values = values

    def topic(self) -> str:
        """Return the topic."""
        return topic(self._values.get("channel"))

    def list_of(self, name: str) -> list[Any]:
        """Return a list that must be there and may not be empty."""
        value = self._values.get(name)
        if not isinstance(value, list) or not value:
            raise Refusal(BAD_REQUEST)
        return value

    def text(self, name: str) -> str:
        """Return a text; empty where there is none."""
        value = self._values.get(name) or ""
        if not isinstance(value, str):
            raise Refusal(BAD_REQUEST)
        return value

    def flag(self, name: str) -> bool:
        """Return a flag; False where there is none."""
        value = self._values.get(name) or False
        if not isinstance(value, bool):
            raise Refusal(BAD_REQUEST)
        return value

    def number(self, name: str) -> int:
        """Return a whole number; 0 where there is none."""
        value = self._values.get(name) or 0
        if type(value) is not int or not -MAX_OFFSET <= value <= MAX_OFFSET:
            raise Refusal(BAD_REQUEST)
        return value

    def refuse(self, *names: str) -> None:
        """Refuse parameters that would have to be obeyed, because without them something else would happen."""
        if any(self._values.get(name) for name in names):
            raise Refusal(BAD_REQUEST)

    def data(self) -> bytes:
        """Return the data of a publication, as JSON."""
        if "data" not in self._values:
            raise Refusal(BAD_REQUEST)
        return _json(self._values["data"])

    def tags(self) -> dict[str, str]:
        """Return the tags of a publication: text by text."""
        value = self._values.get("tags") or {}
        if not isinstance(value, dict) or not all(isinstance(tag, str) for tag in value.values()):
            raise Refusal(BAD_REQUEST)
        return value

    def idempotency_key(self) -> str | None:
        """Return the key under which a publication is made once; None for none."""
        key = self.text("idempotency_key")
        if len(key) > MAX_KEY or not key.isprintable():
            raise Refusal(BAD_REQUEST)
        return key or None

    def since(self) -> Position | None:
        """Return the position after which to read; None for none."""
        value = self._values.get("since")
        if value is None:
            return None
        place = Parameters(value)
        offset = place.number("offset")
        if offset < 0:
            raise Refusal(BAD_REQUEST)
        return Position(place.text("epoch"), offset)

    def end(self) -> tuple[int, str] | None:
        """Return the close code and the reason that a connection is to end with; None where the request has none."""
        value = self._values.get("disconnect")
        if not value:
            return None
        wanted = Parameters(value)
        code, reason = wanted.number("code"), wanted.text("reason")
        if not 3000 <= code <= 4999 or len(reason.encode(errors="replace")) > MAX_REASON or not reason.isprintable():
            raise Refusal(BAD_REQUEST)
        return code, reason


def topic(value: object) -> str:
    """Return the name of a topic. Raises Refusal for any other value."""
    if not isinstance(value, str) or not is_valid(value):
        raise Refusal(BAD_REQUEST)
    return value


def _json(value: object) -> bytes:
    try:
        return write_json(value)
    except (ValueError, RecursionError):  # a number that JSON does not have, such as 1e999
        raise Refusal(BAD_REQUEST) from None
