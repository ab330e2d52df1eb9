"""One line per finished exchange, and one when a WebSocket opens."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from proxy.exchange import Exchange

_PATIENCE = 0.05
"""Seconds that a line may wait for others. Precedent: nginx without ``buffer=`` writes each at once."""

_BATCH = 512
"""Lines; more are written at once."""

_SECRET = re.compile(
    r"(?i)(?:token|secret|passw(?:or)?d|sig|signature|credential|key|auth|code|jwt|sid|session|ticket)$"
)
"""The end of the name of a query parameter whose value is not written."""


class AccessLog:
    """Writes lines in batches: a system call for each would cost as much as the rest of a small exchange.

    form: of a line, as ``gateway.access_log`` names it. write: takes bytes, whole lines, and does not wait.

    A process that is killed loses the lines of its last ``_PATIENCE`` seconds.
    """

    def __init__(self, form: str, write: Callable[[bytes], None]) -> None:
        self._line = LINES.get(form)
        self._write = write
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def use(self, form: str) -> None:
        """Write the lines of exchanges that end from here on in another form."""
        self._line = LINES.get(form)

    def __call__(self, exchange: Exchange) -> None:
        """Take note of an exchange."""
        if self._line is None:
            return
        self._lines.append(self._line(exchange))
        if len(self._lines) >= _BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self.flush)

    def flush(self) -> None:
        """Write what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            self._write(("\n".join(lines) + "\n").encode())


def text_line(exchange: Exchange) -> str:
    """Write an exchange for people: what was asked, what became of it, how long and how much."""
    x = exchange
    way = f" -> {x.upstream} ({x.route})" if x.upstream else ""
    detail = f" [{x.detail}]" if x.detail else ""
    numbers = "" if x.ended is None else f" {x.duration * 1000:.1f}ms in={x.received} out={x.sent} {x.outcome.value}"
    event = by = ""
    if _is_websocket(x):
        event = f" {_event(x)}"
        by = "" if x.ended is None else f" by={x.closed_by} code={x.close_code or '-'}"
    what = f'"{x.method} {_redacted(x.target)}" {x.status or "-"}'
    line = f"{_time(x)} {x.client} {what}{event}{way}{numbers}{by}{detail} id={x.id}"
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
"""The writers of a line, by the name that ``gateway.access_log`` gives them; ``off`` has none."""


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
    moment = exchange.when + exchange.duration
    second = int(moment)
    return f"{_second(second)}.{int((moment - second) * 1000):03d}Z"


@lru_cache(maxsize=4)
def _second(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _redacted(target: str) -> str:
    """Hide the values of query parameters that are secrets by their name."""
    path, mark, query = target.partition("?")
    if "=" not in query:
        return target
    return path + mark + "&".join(_hidden(parameter) for parameter in query.split("&"))


def _hidden(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}=***" if equals and _SECRET.search(name) else parameter
