"""One line per finished exchange, and one when a WebSocket opens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

from proxy.exchange import Exchange

_SECRET = re.compile(
    r"(?i)(?:token|secret|passw(?:or)?d|sig|signature|credential|key|auth|code|jwt|sid|session|ticket)$"
)
"""The end of the name of a query parameter whose value is not written."""


def text_line(exchange: Exchange) -> str:
    """Write an exchange for people: what was asked, what became of it, how long and how much."""
    x = exchange
    ended = x.ended is not None
    parts = [
        _time(x),
        x.client,
        f'"{x.method} {_redacted(x.target)}"',
        str(x.status or "-"),
    ]
    if _is_websocket(x):
        parts.append(_event(x))
    if x.upstream:
        parts.append(f"-> {x.upstream} ({x.route})")
    if ended:
        parts += [f"{x.duration * 1000:.1f}ms", f"in={x.received}", f"out={x.sent}"]
        parts.append(x.outcome.value)
        if _is_websocket(x):
            parts.append(f"by={x.closed_by} code={x.close_code or '-'}")
    if x.detail:
        parts.append(f"[{x.detail}]")
    parts.append(f"id={x.id}")
    line = " ".join(parts)
    # Whatever came from outside may hold line ends and escape codes.
    return line if line.isascii() and line.isprintable() else ascii(line)[1:-1]


def json_line(exchange: Exchange) -> str:
    """Write an exchange for machines: one JSON object, absent values left out."""
    x = exchange
    fields: dict[str, object] = {
        "time": _time(x),
        "id": x.id,
        "event": _event(x),
        "client": x.client,
        "method": x.method,
        "target": _redacted(x.target),
        "host": x.host,
        "status": x.status or None,
        "upstream": x.upstream,
        "route": x.route,
    }
    if x.ended is not None:
        fields |= {
            "outcome": x.outcome.value,
            "duration": round(x.duration, 6),
            "received": x.received,
            "sent": x.sent,
            "closed_by": x.closed_by,
            "close_code": x.close_code,
            "detail": x.detail,
        }
    return json.dumps({key: value for key, value in fields.items() if value not in ("", None)})


LINES: dict[str, Callable[[Exchange], str]] = {"text": text_line, "json": json_line}
"""The writers of a line, by the name that ``gateway.access_log`` gives them."""


def _is_websocket(exchange: Exchange) -> bool:
    return exchange.is_tunnel or exchange.is_handed_off


def _event(exchange: Exchange) -> str:
    if exchange.is_tunnel:
        return "tunnel open" if exchange.ended is None else "tunnel closed"
    if exchange.is_handed_off:
        return "handed off" if exchange.ended is None else "hand-off closed"
    return "request"


def _time(exchange: Exchange) -> str:
    """Return when the line was written: the end of an exchange, the beginning of a tunnel that has just opened."""
    moment = datetime.fromtimestamp(exchange.when + exchange.duration, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _redacted(target: str) -> str:
    """Hide the values of query parameters that are secrets by their name."""
    path, mark, query = target.partition("?")
    if not query:
        return target
    return path + mark + "&".join(_hidden(parameter) for parameter in query.split("&"))


def _hidden(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}=***" if equals and _SECRET.search(name) else parameter
