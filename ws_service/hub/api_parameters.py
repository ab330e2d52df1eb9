"""The parameters of a request to the API: the fields that only the API has."""

from __future__ import annotations

from typing import Any

from ws_service.hub.fields import Fields, Refusal
from ws_service.hub.protocol import write_json
from ws_service.websocket.frame_format import MAX_REASON

MAX_KEY = 255
"""Characters of an idempotency key."""


class Parameters(Fields):
    """The parameters of one method."""

    __slots__ = ()

    def list_of(self, name: str) -> list[Any]:
        """Return a list that must be there and may not be empty."""
        value = self._values.get(name)
        if not isinstance(value, list) or not value:
            raise Refusal
        return value

    def refuse(self, *names: str) -> None:
        """Refuse parameters that would have to be obeyed, because without them something else would happen."""
        if any(map(self.has, names)):
            raise Refusal

    def data(self) -> bytes:
        """Return the data of a publication, as JSON."""
        try:
            return write_json(self.value("data"))
        except (ValueError, RecursionError):  # a number that JSON does not have, such as 1e999
            raise Refusal from None

    def tags(self) -> dict[str, str]:
        """Return the tags of a publication: text by text."""
        value = self._values.get("tags") or {}
        if not isinstance(value, dict) or not all(isinstance(tag, str) for tag in value.values()):
            raise Refusal
        return value

    def idempotency_key(self) -> str | None:
        """Return the key under which a publication is made once; None for none."""
        key = self.text("idempotency_key")
        if len(key) > MAX_KEY or not key.isprintable():
            raise Refusal
        return key or None

    def end(self) -> tuple[int, str] | None:
        """Return the close code and the reason that a connection is to end with; None where the request has none."""
        if not self.has("disconnect"):
            return None
        wanted = Fields(self.value("disconnect"))
        code, reason = wanted.number("code"), wanted.text("reason")
        if not 3000 <= code <= 4999 or len(reason.encode(errors="replace")) > MAX_REASON or not reason.isprintable():
            raise Refusal
        return code, reason
