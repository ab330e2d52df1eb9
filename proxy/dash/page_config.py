"""The configuration that a page of Dash carries for its own renderer, read out of the HTML.

Each Dash writes it into its page, as JSON in ``<script id="_dash-config">`` (dash.py, ``_generate_config_html``). What
is not there, or is not what Dash would write, is None: versions differ, and a page may come from any program.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_ID = "_dash-config"

_LONGEST_TAG = 512
"""Characters of the script's opening tag on each side of its id. Dash writes 47 in all."""

_MOST_FOUND = 100
"""Places of the id in a page that are looked at. Each takes up to 20 us, and a page of 1 MiB has room for 90,000."""

_LONGEST_TEXT = 2048
"""Characters of a string that is used. Precedent: the 2 KiB that URLs may have in practice."""

_LONGEST_TIME = 30 * 86_400.0
"""Seconds. setInterval of a browser ends at 24.8 days."""

_TAG = re.compile(r"\sid\s*=\s*[\"']?_dash-config[\"'\s/>]")


@dataclass(frozen=True, slots=True)
class PageSocket:
    """The WebSocket of a Dash whose backend has one (FastAPI, Quart; Dash >= 4.2).

    is_global: all callbacks use it (``websocket_callbacks=True``); False: those that ask for it, if any.
    url: its path, or a whole URL. heartbeat_interval: seconds between two heartbeats of the page.
    """

    is_global: bool
    url: str | None
    heartbeat_interval: float | None


@dataclass(frozen=True, slots=True)
class PageConfig:
    """What the page says.

    dash_version: such as ``4.4.1``; None before Dash 3.
    requests_pathname_prefix: as given to ``dash.Dash``. ``routes_pathname_prefix`` is not in a page.
    has_dev_tools: the debug menu is on the page. has_hot_reload: it asks ``_reload-hash``, and reloads by itself.
    websocket: None: this Dash has no WebSocket.
    """

    dash_version: str | None
    requests_pathname_prefix: str | None
    has_dev_tools: bool
    has_hot_reload: bool
    websocket: PageSocket | None


def read_page(page: str) -> PageConfig | None:
    """Return the configuration in a page of Dash; None where the text is no such page.

    page: the HTML. The time that it takes is linear in its length, whatever it holds.
    """
    text = _config_text(page)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    return PageConfig(
        _text(values, "dash_version"),
        _text(values, "requests_pathname_prefix"),
        values.get("ui") is True,
        isinstance(values.get("hot_reload"), dict),
        _socket(values.get("websocket")),
    )


def _config_text(page: str) -> str | None:
    """Return what is in the script element with Dash's id.

    Found by its id and not by a parser of HTML: html.parser takes quadratic time for some texts (CVE-2025-6069).
    Dash escapes ``<`` and ``/`` in the JSON, so the next ``</script`` is its end.
    """
    found = -1
    for _ in range(_MOST_FOUND):
        found = page.find(_ID, found + 1)
        if found < 0:
            return None
        begin = page.rfind("<script", max(0, found - _LONGEST_TAG), found)
        close = page.find(">", found, found + _LONGEST_TAG)
        if begin >= 0 and close >= 0 and ">" not in page[begin:found] and _TAG.search(page, begin, close + 1):
            end = page.find("</script", close)
            return page[close + 1 : end] if end >= 0 else None
    return None


def _socket(values: Any) -> PageSocket | None:
    if not isinstance(values, dict):
        return None
    return PageSocket(
        values.get("enabled") is True,
        _text(values, "url"),
        _seconds(values.get("heartbeat_interval")),
    )


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable() else None


def _seconds(milliseconds: Any) -> float | None:
    """Return a time that Dash gives in milliseconds, as setInterval takes it; None for what is no time."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    return milliseconds / 1000 if 0 < milliseconds <= _LONGEST_TIME * 1000 else None
