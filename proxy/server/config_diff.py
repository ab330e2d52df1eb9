"""What a config that is read again changes: what can be applied while the gateway runs, and what takes a restart."""

from __future__ import annotations

import sys
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from proxy.config import Settings

NEEDS_RESTART = ("listen", "admin", "admin_public", "proxy_protocol", "handoff")
"""Settings that a running gateway keeps, beside whether there is ``tls`` at all: they belong to its listeners and to
the service that has its sockets."""

_LONGEST = 200
"""Characters of a value in the log."""

_MOST_ENTRIES = 5
"""Entries of a list that are named of each kind (added, removed, changed); the others are counted."""

_NAME = ("path", "host", "subprotocol")
"""What an entry is known by, if it has any of these: one that keeps them and changes otherwise is the same entry."""


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
    """Return what has changed, in the order of the settings and as the file writes it.

    A value is told as ``key: old -> new``, a list as ``key: added ...; removed ...; changed ...``.
    """
    old, new = _flat(_dumped(before)), _flat(_dumped(after))
    keys = [*old, *(key for key in new if key not in old)]
    return [_change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def _dumped(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain values; entries of lists without what they leave to the defaults."""
    return settings.model_dump(mode="json") | {
        key: [
            entry.model_dump(mode="json", exclude_defaults=True) if isinstance(entry, BaseModel) else entry
            for entry in value
        ]
        for key, value in settings
        if isinstance(value, tuple) and any(isinstance(entry, BaseModel) for entry in value)
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _change(key: str, old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        return f"{key}: {_list_change(old, new)}"
    return f"{key}: {_shown(old)} -> {_shown(new)}"


def _list_change(old: list[Any], new: list[Any]) -> str:
    """Return which entries have come, gone and changed; the ones that stayed are not told."""
    before, after = {_entry(entry): entry for entry in old}, {_entry(entry): entry for entry in new}
    removed = {text: _name(entry) for text, entry in before.items() if text not in after}
    added = {text: _name(entry) for text, entry in after.items() if text not in before}
    successors = {name: text for text, name in added.items() if name}
    pairs = {text: successors[name] for text, name in removed.items() if name in successors}
    kinds = {
        "added": [_cut(text) for text in added if text not in pairs.values()],
        "removed": [_cut(text) for text in removed if text not in pairs],
        "changed": [f"{_cut(one)} -> {_cut(another)}" for one, another in pairs.items()],
    }
    told = "; ".join(f"{kind} {_some(texts)}" for kind, texts in kinds.items() if texts)
    return told or "the same entries in another order"


def _some(texts: list[str]) -> str:
    left_out = len(texts) - _MOST_ENTRIES
    return ", ".join(texts[:_MOST_ENTRIES]) + (f" and {left_out} more" if left_out > 0 else "")


def _name(entry: Any) -> str:
    """Return what an entry is known by; nothing where it is no more than a value."""
    return repr([entry.get(key) for key in _NAME]) if isinstance(entry, dict) else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return _cut(_entry(value))
    return _cut("null" if value is None else str(value).lower() if isinstance(value, bool) else str(value))


def _entry(value: Any) -> str:
    """Return an entry of a list as the file would have it, on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    return text.strip()[1:-1]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
