"""What a configuration that is read again changes, and how the log says so; for both programs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

import yaml
from pydantic import BaseModel

from ws_service.config.secret import COMPARED
from ws_service.logs.formatter import shortened

_LONGEST = 200
"""Characters of a value in the log."""

_MOST_ENTRIES = 5
"""Entries of a list that are named of each kind (added, removed, changed); the others are counted."""

_NAME = ("path", "host", "subprotocol", "url")
"""What an entry is known by, if it has any of these: one that keeps them and changes otherwise is the same entry."""


def differences(before: BaseModel, after: BaseModel) -> list[str]:
    """Return what has changed between two readings of a section, in the order of the settings and as the file has it.

    A value is written as ``key: old -> new``, a list as ``key: added ...; removed ...; changed ...``.
    """
    old, new = _flat(_dumped(before)), _flat(_dumped(after))
    keys = [*old, *(key for key in new if key not in old)]
    return [difference(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def difference(key: str, old: Any, new: Any) -> str:
    """Return the change of one setting. old, new: as the models dump them for JSON."""
    if isinstance(old, list) and isinstance(new, list):
        return f"{key}: {_list_difference(old, new)}"
    if isinstance(old, list | str) and isinstance(new, list | str) and not isinstance(old, type(new)):
        return f"{key}: {_list_difference(_several(old), _several(new))}"  # one address, or several
    return f"{key}: {_shown(old)} -> {_shown(new)}"


def log_changes(logger: logging.Logger, section: str, changed: Iterable[str], waiting: Iterable[str]) -> None:
    """Log what a configuration that was read again changes: how much in a first line, then each setting.

    changed: what is in force from now on. waiting: what takes a restart.
    """
    changed, waiting = list(changed), list(waiting)
    counts = [f"{len(changed)} changed"] if changed else []
    counts += [f"{len(waiting)} {'takes' if len(waiting) == 1 else 'take'} a restart"] if waiting else []
    logger.info("the configuration was read again; %s", ", ".join(counts) or "nothing changed")
    for change in changed:
        logger.info("changed: %s.%s", section, change)
    for change in waiting:
        logger.warning("takes a restart: %s.%s", section, change)


def log_refusal(logger: logging.Logger, error: Exception) -> None:
    """Log why a configuration that was read again is not used. error: its text has a line for each mistake."""
    for mistake in str(error).splitlines():
        logger.error("%s", mistake)
    logger.error("the configuration was read again and cannot be used; the one before stays in force")


def log_no_file(logger: logging.Logger) -> None:
    """Log that there is nothing to read again."""
    logger.warning("SIGHUP is ignored: there is no config file to read again")


def _dumped(settings: BaseModel) -> dict[str, Any]:
    """Return the settings as JSON has them; entries of lists without what they leave to the defaults."""
    return settings.model_dump(mode="json", context=COMPARED) | {
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


def _several(value: list[Any] | str) -> list[Any]:
    return [value] if isinstance(value, str) else value


def _list_difference(old: list[Any], new: list[Any]) -> str:
    """Return which entries were added, removed and changed."""
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
    parts = "; ".join(f"{kind} {_some(texts)}" for kind, texts in kinds.items() if texts)
    return parts or "the same entries in another order"


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
    return shortened(text, _LONGEST)
