"""The fields of clients' commands and of requests to the API, in JSON: read by name, and checked. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ws_service.hub.codes import BAD_REQUEST, ErrorCode
from ws_service.hub.publication import Position
from ws_service.hub.topics import is_valid

MAX_NUMBER = (1 << 63) - 1
"""Of offsets and limits, either way from zero: what 64 bits have."""


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, error: ErrorCode = BAD_REQUEST) -> None:
        super().__init__(error.message)
        self.error = error


class Fields:
    """The fields of one request. Each method raises Refusal where one is of the wrong kind.

    values: what the request is; it has to be an object. null means the same as no field, and fields that are not asked
    for are ignored, as Centrifugo does.
    """

    __slots__ = ("_values",)

    def __init__(self, values: object) -> None:
        if not isinstance(values, dict):
            raise Refusal
        self._values: dict[str, Any] = values

    def has(self, name: str) -> bool:
        """Tell whether a field is there and is not zero, false, empty or null: the same as its absence in protobuf."""
        return bool(self._values.get(name))

    def text(self, name: str) -> str:
        """Return a text; empty where there is none."""
        value = self._values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Refusal
        return value

    def number(self, name: str) -> int:
        """Return a whole number; 0 where there is none."""
        value = self._values.get(name)
        if value is None:
            return 0
        if type(value) is not int or abs(value) > MAX_NUMBER:
            raise Refusal
        return value

    def flag(self, name: str) -> bool:
        """Return a flag; False where there is none."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise Refusal
        return bool(value)

    def value(self, name: str) -> Any:
        """Return a field of any kind that must be there."""
        if name not in self._values:
            raise Refusal
        return self._values[name]

    def object(self, name: str) -> Fields | None:
        """Return a field that is an object; None where there is none."""
        value = self._values.get(name)
        return None if value is None else Fields(value)

    def objects(self) -> Iterator[tuple[str, Fields]]:
        """Give all fields, each of which has to be an object."""
        for name, value in self._values.items():
            yield name, Fields(value)

    def topic(self) -> str:
        """Return the topic."""
        return topic(self._values.get("channel"))

    def position(self) -> Position:
        """Return the position that ``epoch`` and ``offset`` are."""
        offset = self.number("offset")
        if offset < 0:
            raise Refusal
        return Position(self.text("epoch"), offset)

    def since(self) -> Position | None:
        """Return the position after which to read; None for none."""
        place = self.object("since")
        return None if place is None else place.position()


def topic(value: object) -> str:
    """Return the name of a topic. Raises Refusal for any other value."""
    if not isinstance(value, str) or not is_valid(value):
        raise Refusal
    return value
