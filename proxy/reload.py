"""What a config that is read again changes: what can be applied while the gateway runs, and what takes a restart."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from proxy.config import Settings

NEEDS_RESTART = ("listen", "admin", "admin_public", "proxy_protocol", "handoff")
"""Settings that a running gateway keeps, beside whether there is ``tls`` at all: they belong to its listeners and to
the service that has its sockets."""

_LONGEST = 200
"""Characters of a value in the log."""


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
    return merged, [_change(key, old[key], new[key]) for key in stay]


def differences(before: Settings, after: Settings) -> list[str]:
    """Return what has changed, as ``key: old -> new``, in the order of the settings."""
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    keys = [*old, *(key for key in new if key not in old)]
    return [_change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _change(key: str, old: Any, new: Any) -> str:
    return f"{key}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
