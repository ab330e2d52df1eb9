"""What of a configuration that is read again can be applied while the gateway runs, and what takes a restart."""

from __future__ import annotations

from pydantic import ValidationError

from proxy.config import Settings
from ws_service.config.changes import difference

NEEDS_RESTART = ("listen", "reuse_port", "admin", "admin_public", "proxy_protocol")
"""Settings that a running gateway keeps, beside whether there is ``tls`` at all: they belong to its listeners."""


class CannotApply(Exception):
    """The new settings do not fit those that stay until a restart; the message is for the operator."""


def merge(running: Settings, read: Settings) -> tuple[Settings, list[str]]:
    """Return the settings that can be applied now, and what stays as it was, as ``key: old -> new``.

    Raises CannotApply when the two together make no sense.
    """
    stay = [key for key in NEEDS_RESTART if getattr(running, key) != getattr(read, key)]
    if (running.tls is None) != (read.tls is None):
        stay.append("tls")
    if not stay:
        return read, []
    old, new = running.model_dump(mode="json"), read.model_dump(mode="json")
    try:
        merged = Settings.model_validate(new | {key: old[key] for key in stay})
    except ValidationError as error:
        reasons = "; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())
        raise CannotApply(f"{', '.join(stay)} cannot change without a restart, and then: {reasons}") from None
    return merged, [difference(key, old[key], new[key]) for key in stay]
